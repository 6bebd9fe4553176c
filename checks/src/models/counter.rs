//! A counter: add and read.

use crate::linearizability::Model;

/// A counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    pub initial: i64,
}

/// An operation on a counter, with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterOp {
    Add(i64),
    Read(i64),
    /// Adds, and returns what the counter then is.
    AddAndGet {
        add: i64,
        now: i64,
    },
}

impl Model for Counter {
    type Op = CounterOp;
    type State = i64;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> i64 {
        self.initial
    }

    fn step(&self, _: &mut (), state: &i64, op: &CounterOp) -> Option<i64> {
        match op {
            CounterOp::Add(add) => state.checked_add(*add),
            CounterOp::Read(value) => (value == state).then_some(*state),
            CounterOp::AddAndGet { add, now } => state.checked_add(*add).filter(|sum| sum == now),
        }
    }

    fn only_observes(&self, op: &CounterOp) -> bool {
        match op {
            CounterOp::Read(_) => true,
            CounterOp::Add(add) | CounterOp::AddAndGet { add, .. } => *add == 0,
        }
    }

    fn describe(&self, op: &CounterOp) -> String {
        match op {
            CounterOp::Add(add) => format!("add {add}"),
            CounterOp::Read(value) => format!("read {value}"),
            CounterOp::AddAndGet { add, now } => format!("add {add} giving {now}"),
        }
    }
}
