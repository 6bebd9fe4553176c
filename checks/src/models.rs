//! What objects do: the sequential specifications that histories are held against.

mod alphabet;
mod counter;
mod list;
mod lock;
mod queue;
mod register;
mod set;
mod text;
mod value;

pub use counter::{Counter, CounterOp};
pub use list::{List, ListChains, ListOp};
pub use lock::{Lock, LockOp, LockState};
pub use queue::{Queue, QueueOp};
pub use register::{FailedCas, Register, RegisterOp};
pub use set::{Set, SetOp};
pub use text::{Chains, Text, TextOp};
pub use value::Value;

use std::hash::Hash;

use crate::linearizability::FastMap;

/// The most states that stand for "any state".
const STATES_MAX: usize = 1024;

/// Numbers for values, the initial one first.
struct Numbers<V> {
    numbers: FastMap<V, u32>,
}

fn value_numbers<V: Clone + Eq + Hash>(initial: &V) -> Numbers<V> {
    Numbers { numbers: FastMap::from_iter([(initial.clone(), 0)]) }
}

impl<V: Clone + Eq + Hash> Numbers<V> {
    fn of(&mut self, value: &V) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = crate::linearizability::narrow(self.numbers.len());
        self.numbers.insert(value.clone(), number);
        number
    }

    fn count(&self) -> usize {
        self.numbers.len()
    }
}
