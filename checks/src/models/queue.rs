//! A first-in, first-out queue.

use std::{collections::VecDeque, sync::Arc};

use super::value::Value;
use crate::linearizability::Model;

/// A queue, empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue;

/// An operation on a queue, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueueOp {
    Enqueue(Value),
    Dequeue(Value),
    /// A dequeue that found nothing.
    DequeueEmpty,
    /// A dequeue of unknown outcome: it may have taken whatever was first.
    DequeueUnknown,
}

impl Model for Queue {
    type Op = QueueOp;
    type State = Arc<VecDeque<Value>>;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> Self::State {
        Arc::default()
    }

    fn step(&self, _: &mut (), state: &Self::State, op: &QueueOp) -> Option<Self::State> {
        let mut next = state.clone();
        match op {
            QueueOp::Enqueue(value) => Arc::make_mut(&mut next).push_back(value.clone()),
            QueueOp::Dequeue(value) if state.front() == Some(value) => {
                Arc::make_mut(&mut next).pop_front();
            }
            QueueOp::DequeueEmpty if state.is_empty() => {}
            QueueOp::DequeueUnknown => {
                if !state.is_empty() {
                    Arc::make_mut(&mut next).pop_front();
                }
            }
            QueueOp::Dequeue(_) | QueueOp::DequeueEmpty => return None,
        }
        Some(next)
    }

    fn only_observes(&self, op: &QueueOp) -> bool {
        matches!(op, QueueOp::DequeueEmpty)
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        state.len() * size_of::<Value>()
    }

    fn describe(&self, op: &QueueOp) -> String {
        match op {
            QueueOp::Enqueue(value) => format!("enqueue {value}"),
            QueueOp::Dequeue(value) => format!("dequeue {value}"),
            QueueOp::DequeueEmpty => "dequeue nothing".to_owned(),
            QueueOp::DequeueUnknown => "dequeue something unknown".to_owned(),
        }
    }
}
