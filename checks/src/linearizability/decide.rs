//! Decides one key: by the model's shortcut, or by a search.

use super::{
    budget::{Budget, Spent},
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

impl From<Spent> for Why {
    fn from(_: Spent) -> Self {
        Self::Time
    }
}

/// What a decision may spend, and how.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) budget: &'a dyn Budget,
    pub(crate) bytes_max: usize,
    /// Off, every key is searched.
    pub(crate) shortcuts: bool,
    pub(crate) strategy: Strategy,
}

/// Decides operations of one key, and others made from the same classes. It remembers what the
/// model said, so that many small questions cost little.
pub(crate) struct Decider<'a, M: Model> {
    pub(crate) model: &'a M,
    pub(crate) classes: &'a [M::Op],
    pub(crate) means: Means<'a>,
    machine: Machine<'a, M>,
    plan: Plan,
    /// Where the past is left out: every state that the object may start in.
    starts: Option<Vec<u32>>,
}

impl<'a, M: Model> Decider<'a, M> {
    /// Equal operations are one class; operations name theirs by its place in `classes`.
    pub(crate) fn new(model: &'a M, classes: &'a [M::Op], means: Means<'a>) -> Self {
        let machine = Machine::new(model, classes);
        Self { model, classes, means, machine, plan: Plan::default(), starts: None }
    }

    /// Lets the object start in any state, if the model can name them all.
    pub(crate) fn start_anywhere(&mut self) -> bool {
        self.starts = self.machine.any_state();
        self.starts.is_some()
    }

    /// Lets the object start as the model says.
    pub(crate) fn start_initially(&mut self) {
        self.starts = None;
    }

    pub(crate) fn only_observes(&self, class: u32) -> bool {
        self.machine.only_observes(class)
    }

    pub(crate) fn decide(&mut self, ops: &[Timed]) -> Decision {
        let budget = self.means.budget;
        self.decide_within(ops, budget)
    }

    /// Decides within another budget than usual.
    pub(crate) fn decide_within(&mut self, ops: &[Timed], budget: &dyn Budget) -> Decision {
        let unknown = |why| Decision::Unknown { why, reached: None };
        if self.means.shortcuts && self.starts.is_none() {
            match self.model.shortcut(self.classes, ops, budget) {
                Shortcut::Valid => return Decision::Valid,
                Shortcut::Invalid { suspects } => {
                    return Decision::Invalid { stuck: None, suspects };
                }
                Shortcut::OutOfTime => return unknown(Why::Time),
                Shortcut::Inapplicable => {}
            }
        }
        let Means { bytes_max, strategy, .. } = self.means;
        let kinds = self.machine.kinds();
        if let Err(why) = self.plan.make(ops, kinds, OPEN_MAX, bytes_max / 4, budget) {
            return unknown(why);
        }
        let initially = [self.machine.initial()];
        let starts = self.starts.as_deref().unwrap_or(&initially);
        let (machine, plan) = (&mut self.machine, &self.plan);
        let ending = match plan.slots {
            0..=64 => search::<1, M>(machine, plan, starts, budget, bytes_max, strategy),
            65..=128 => search::<2, M>(machine, plan, starts, budget, bytes_max, strategy),
            129..=256 => search::<4, M>(machine, plan, starts, budget, bytes_max, strategy),
            _ => search::<16, M>(machine, plan, starts, budget, bytes_max, strategy),
        };
        let op = |level: u32| plan.levels.get(level as usize).map(|level| level.op as usize);
        match ending {
            Ending::Found => Decision::Valid,
            Ending::Refuted { level, verified } => {
                Decision::Invalid { stuck: op(level).zip(op(verified)), suspects: Vec::new() }
            }
            Ending::OutOfTime { level } => Decision::Unknown { why: Why::Time, reached: op(level) },
            Ending::OutOfMemory { level } => {
                Decision::Unknown { why: Why::Memory, reached: op(level) }
            }
        }
    }
}
