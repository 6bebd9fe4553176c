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

use crate::linearizability::{Numbers, hash};

/// The most states that stand for "any state".
const STATES_MAX: usize = 1024;

/// Numbers for values, the initial one first.
struct ValueNumbers<'a> {
    values: Vec<&'a Value>,
    numbers: Numbers,
}

impl<'a> ValueNumbers<'a> {
    fn new(initial: &'a Value) -> Self {
        let mut numbers = Self { values: Vec::new(), numbers: Numbers::new() };
        numbers.of(initial);
        numbers
    }

    fn of(&mut self, value: &'a Value) -> u32 {
        let Self { values, numbers } = self;
        let number = numbers.of(hash(value), values.len(), |at| values[at] == value);
        if number as usize == values.len() {
            values.push(value);
        }
        number
    }

    fn count(&self) -> usize {
        self.values.len()
    }
}
