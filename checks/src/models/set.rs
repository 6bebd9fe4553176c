//! A set: add, remove, contains, read all.

use std::{collections::BTreeSet, sync::Arc};

use super::value::Value;
use crate::linearizability::{Model, hash};

/// A set, empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

/// An operation on a set, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    Add(Value),
    Remove(Value),
    Contains { value: Value, is_there: bool },
    ReadAll(BTreeSet<Value>),
}

/// What a state takes beside its values.
const STATE_BYTES: usize = 256;

impl Model for Set {
    type Op = SetOp;
    type State = Arc<BTreeSet<Value>>;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> Self::State {
        Arc::default()
    }

    fn step(&self, _: &mut (), state: &Self::State, op: &SetOp) -> Option<Self::State> {
        match op {
            SetOp::Add(value) => {
                let mut next = state.clone();
                if !next.contains(value) {
                    Arc::make_mut(&mut next).insert(value.clone());
                }
                Some(next)
            }
            SetOp::Remove(value) => {
                let mut next = state.clone();
                if next.contains(value) {
                    Arc::make_mut(&mut next).remove(value);
                }
                Some(next)
            }
            SetOp::Contains { value, is_there } => {
                (state.contains(value) == *is_there).then(|| state.clone())
            }
            SetOp::ReadAll(values) => (**state == *values).then(|| state.clone()),
        }
    }

    fn only_observes(&self, op: &SetOp) -> bool {
        matches!(op, SetOp::Contains { .. } | SetOp::ReadAll(_))
    }

    /// Elements come and go without each other.
    fn part(&self, op: &SetOp) -> Option<u64> {
        match op {
            SetOp::Add(value) | SetOp::Remove(value) | SetOp::Contains { value, .. } => {
                Some(hash(value))
            }
            SetOp::ReadAll(_) => None,
        }
    }

    fn heap_bytes(&self, state: &Self::State) -> usize {
        STATE_BYTES + state.len() * 2 * size_of::<Value>()
    }

    fn describe(&self, op: &SetOp) -> String {
        match op {
            SetOp::Add(value) => format!("add {value}"),
            SetOp::Remove(value) => format!("remove {value}"),
            SetOp::Contains { value, is_there: true } => format!("see {value} there"),
            SetOp::Contains { value, is_there: false } => format!("see {value} missing"),
            SetOp::ReadAll(values) => match values.len() {
                0 => "read nothing".to_owned(),
                1..=8 => format!("read {}", crate::phrase::list(values)),
                more => format!("read {more} elements"),
            },
        }
    }
}
