//! Decides one key: by the model's shortcut, or by a search.

use super::{
    budget::Budget,
    model::{Machine, Model, Shortcut},
    operation::Timed,
    plan::Plan,
    search::{Ending, Strategy, search},
};

/// The most operations of known outcome that may be open at once.
pub const OPEN_MAX: usize = 1024;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Valid,
    Invalid {
        /// The operation whose return no order reaches, where a search says so, and the one whose
        /// return is reached by one.
        stuck: Option<(usize, usize)>,
        /// Operations that are roughly enough to show it, where a shortcut says so.
        suspects: Vec<usize>,
    },
    Unknown {
        why: Why,
        /// The operation before whose return the search stopped.
        reached: Option<usize>,
    },
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The budget was spent.
    Time,
    /// The search did not fit in the memory it was given.
    Memory,
    /// More operations than [`OPEN_MAX`] were open at once.
    Concurrency,
}

/// What a decision may spend, and how.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) budget: &'a dyn Budget,
    pub(crate) bytes_max: usize,
    /// Off, every key is searched.
    pub(crate) shortcuts: bool,
    pub(crate) strategy: Strategy,
    /// The past is left out: the object may start in any state.
    pub(crate) any_start: bool,
}

/// Decides operations of one key; what equal operations are is in `classes`.
pub(crate) fn decide<M: Model>(
    model: &M,
    classes: &[M::Op],
    ops: &[Timed],
    means: Means<'_>,
) -> Decision {
    if means.shortcuts && !means.any_start {
        match model.shortcut(classes, ops) {
            Shortcut::Valid => return Decision::Valid,
            Shortcut::Invalid { suspects } => return Decision::Invalid { stuck: None, suspects },
            Shortcut::Inapplicable => {}
        }
    }
    let mut machine = Machine::new(model, classes);
    let plan = Plan::new(ops, |class| machine.only_observes(class));
    let initial = if means.any_start { machine.any_state() } else { None };
    let initial = initial.unwrap_or_else(|| vec![machine.initial()]);
    let (budget, bytes_max, way) = (means.budget, means.bytes_max, means.strategy);
    let ending = match plan.slots {
        0..=64 => search::<1, M>(&mut machine, &plan, &initial, budget, bytes_max, way),
        65..=128 => search::<2, M>(&mut machine, &plan, &initial, budget, bytes_max, way),
        129..=256 => search::<4, M>(&mut machine, &plan, &initial, budget, bytes_max, way),
        257..=OPEN_MAX => search::<16, M>(&mut machine, &plan, &initial, budget, bytes_max, way),
        _ => return Decision::Unknown { why: Why::Concurrency, reached: None },
    };
    let op = |level: u32| plan.levels.get(level as usize).map(|level| level.op as usize);
    match ending {
        Ending::Found => Decision::Valid,
        Ending::Refuted { level, verified } => {
            Decision::Invalid { stuck: op(level).zip(op(verified)), suspects: Vec::new() }
        }
        Ending::OutOfTime { level } => Decision::Unknown { why: Why::Time, reached: op(level) },
        Ending::OutOfMemory { level } => Decision::Unknown { why: Why::Memory, reached: op(level) },
    }
}
