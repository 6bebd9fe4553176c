//! A register: read, write, compare-and-set.

use super::value::Value;
use crate::linearizability::{
    Budget, Model, Pace, Shortcut, Spent, Timed,
    zones::{Access, zones},
};

/// How to take a compare-and-set that the system answered with a plain no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCas {
    /// It saw a value other than the expected one, at some moment between call and return.
    SawAnother,
    /// It did not happen, and says nothing about the value: so Jepsen's `:fail` is defined.
    DidNotHappen,
}

impl FailedCas {
    /// The convention in words, for a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::SawAnother => "a failed cas saw another value",
            Self::DidNotHappen => "a failed cas did not happen",
        }
    }
}

/// One register.
#[derive(Clone, Debug)]
pub struct Register {
    /// What it holds at first.
    pub initial: Value,
    pub failed_cas: FailedCas,
}

/// An operation on a register, with its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    Read(Value),
    Write(Value),
    /// A compare-and-set that succeeded, or whose outcome is unknown.
    Cas {
        from: Value,
        to: Value,
    },
    /// A compare-and-set that failed because the value differed, as far as the system said.
    CasFailed {
        from: Value,
    },
}

impl Model for Register {
    type Op = RegisterOp;
    type State = Value;
    type Arena = ();

    fn initial(&self, _: &mut ()) -> Value {
        self.initial.clone()
    }

    fn step(&self, _: &mut (), state: &Value, op: &RegisterOp) -> Option<Value> {
        match op {
            RegisterOp::Read(value) => (value == state).then(|| state.clone()),
            RegisterOp::Write(value) => Some(value.clone()),
            RegisterOp::Cas { from, to } => (from == state).then(|| to.clone()),
            RegisterOp::CasFailed { from } => match self.failed_cas {
                FailedCas::SawAnother => (from != state).then(|| state.clone()),
                FailedCas::DidNotHappen => Some(state.clone()),
            },
        }
    }

    fn only_observes(&self, op: &RegisterOp) -> bool {
        match op {
            RegisterOp::Read(_) | RegisterOp::CasFailed { .. } => true,
            RegisterOp::Write(_) => false,
            RegisterOp::Cas { from, to } => from == to,
        }
    }

    fn describe(&self, op: &RegisterOp) -> String {
        match op {
            RegisterOp::Read(value) => format!("read {value}"),
            RegisterOp::Write(value) => format!("write {value}"),
            RegisterOp::Cas { from, to } => format!("cas {from} to {to}"),
            RegisterOp::CasFailed { from } => format!("failed cas from {from}"),
        }
    }

    fn shortcut(&self, classes: &[RegisterOp], ops: &[Timed], budget: &dyn Budget) -> Shortcut {
        match self.accesses(classes, ops, &mut Pace::new(budget)) {
            Ok((values, accesses)) => zones(values, &accesses, ops, budget),
            Err(Spent) => Shortcut::OutOfTime,
        }
    }

    fn states(&self, classes: &[RegisterOp]) -> Option<Vec<Value>> {
        let mut states = std::collections::BTreeSet::from([self.initial.clone()]);
        for op in classes {
            match op {
                RegisterOp::Read(value)
                | RegisterOp::Write(value)
                | RegisterOp::CasFailed { from: value } => {
                    states.insert(value.clone());
                }
                RegisterOp::Cas { from, to } => {
                    states.insert(from.clone());
                    states.insert(to.clone());
                }
            }
            if states.len() > super::STATES_MAX {
                return None;
            }
        }
        Some(states.into_iter().collect())
    }
}

impl Register {
    /// How many values there are, and what each operation does.
    fn accesses(
        &self,
        classes: &[RegisterOp],
        ops: &[Timed],
        pace: &mut Pace<'_>,
    ) -> Result<(usize, Vec<Access>), Spent> {
        let mut numbers = super::ValueNumbers::new(&self.initial);
        let mut access_of = Vec::with_capacity(classes.len());
        for op in classes {
            pace.step()?;
            access_of.push(match op {
                RegisterOp::Read(value) => Access::Reads(numbers.of(value)),
                RegisterOp::Write(value) => Access::Writes(numbers.of(value)),
                RegisterOp::Cas { from, to } if from == to => Access::Reads(numbers.of(from)),
                RegisterOp::Cas { from, to } => Access::Moves(numbers.of(from), numbers.of(to)),
                RegisterOp::CasFailed { .. } => match self.failed_cas {
                    FailedCas::SawAnother => Access::Unusable,
                    FailedCas::DidNotHappen => Access::Ignored,
                },
            });
        }
        let mut accesses = Vec::with_capacity(ops.len());
        for op in ops {
            pace.step()?;
            accesses.push(access_of[op.class as usize]);
        }
        Ok((numbers.count(), accesses))
    }
}
