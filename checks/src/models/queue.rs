//! A first-in, first-out queue.

use std::sync::Arc;

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

/// What a state takes beside its values.
const STATE_BYTES: usize = 32;

impl Model for Queue {
    type Op = QueueOp;
    type State = Arc<[Value]>;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> Self::State {
        Arc::new([])
    }

    fn step(&self, _: &mut (), state: &Self::State, op: &QueueOp) -> Option<Self::State> {
        match op {
            QueueOp::Enqueue(value) => Some(state.iter().cloned().chain([value.clone()]).collect()),
            QueueOp::Dequeue(value) if state.first() == Some(value) => Some(state[1..].into()),
            QueueOp::DequeueUnknown if !state.is_empty() => Some(state[1..].into()),
            QueueOp::DequeueUnknown => Some(state.clone()),
            QueueOp::DequeueEmpty if state.is_empty() => Some(state.clone()),
            QueueOp::Dequeue(_) | QueueOp::DequeueEmpty => None,
        }
    }

    fn only_observes(&self, op: &QueueOp) -> bool {
        matches!(op, QueueOp::DequeueEmpty)
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        STATE_BYTES + size_of_val(&**state)
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
