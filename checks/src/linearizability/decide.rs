//! Decides one key: by the model's shortcut, or by a search.

use super::{
    budget::{Budget, Pace, Spent},
    model::{Machine, Model, Shortcut},
    operation::{Timed, narrow},
    plan::Plan,
    search::{Ending, Limits, Memory, Strategy, search},
};

/// The most operations of known outcome that may be open at once.
pub const OPEN_MAX: usize = 1024;

/// To go over so many operations a few times takes about as long as a round of a search.
const PASS_OPERATIONS: usize = 1024;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
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
pub struct Means<'a> {
    pub budget: &'a dyn Budget,
    pub bytes_max: usize,
    /// Off, every key is searched.
    pub shortcuts: bool,
    pub strategy: Strategy,
}

/// Decides operations of one key, and others made from the same classes. It remembers what the
/// model said, so that many small questions cost little. [`check`](super::check) is what a whole
/// history is given to.
pub struct Decider<'a, M: Model> {
    pub(crate) model: &'a M,
    pub(crate) classes: &'a [M::Op],
    pub(crate) means: Means<'a>,
    machine: Machine<'a, M>,
    plan: Plan,
    memory: Memory<1>,
    /// Where the past is left out: every state that the object may start in.
    starts: Option<Vec<u32>>,
    /// About how much work the last question was, in rounds of a search.
    pub(crate) rounds: u32,
}

impl<'a, M: Model> Decider<'a, M> {
    /// Equal operations are one class; operations name theirs by its place in `classes`.
    ///
    /// # Errors
    /// The budget was spent.
    pub fn new(model: &'a M, classes: &'a [M::Op], means: Means<'a>) -> Result<Self, Spent> {
        let machine = Machine::new(model, classes, &mut Pace::new(means.budget))?;
        let (plan, memory) = (Plan::default(), Memory::new());
        Ok(Self { model, classes, means, machine, plan, memory, starts: None, rounds: 0 })
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

    /// Decides operations of one key.
    pub fn decide(&mut self, ops: &[Timed]) -> Decision {
        self.decide_within(ops, u32::MAX)
    }

    /// Decides within so many rounds of a search.
    pub(crate) fn decide_within(&mut self, ops: &[Timed], rounds_max: u32) -> Decision {
        let unknown = |why| Decision::Unknown { why, reached: None };
        let Means { budget, bytes_max, strategy, shortcuts } = self.means;
        self.rounds = narrow(ops.len() / PASS_OPERATIONS);
        if shortcuts && self.starts.is_none() {
            match self.model.shortcut(self.classes, ops, budget) {
                Shortcut::Valid => return Decision::Valid,
                Shortcut::Invalid { suspects } => {
                    return Decision::Invalid { stuck: None, suspects };
                }
                Shortcut::OutOfTime => return unknown(Why::Time),
                Shortcut::Inapplicable => {}
            }
        }
        let kinds = self.machine.kinds();
        if let Err(why) = self.plan.make(ops, kinds, OPEN_MAX, bytes_max / 4, budget) {
            return unknown(why);
        }
        let initially = [self.machine.initial()];
        let starts = self.starts.as_deref().unwrap_or(&initially);
        let (machine, plan) = (&mut self.machine, &self.plan);
        let limits = Limits { budget, bytes_max, rounds_max };
        let (ending, rounds) = match plan.slots {
            0..=64 => search(machine, plan, starts, &mut self.memory, strategy, limits),
            65..=128 => search(machine, plan, starts, &mut Memory::<2>::new(), strategy, limits),
            129..=256 => search(machine, plan, starts, &mut Memory::<4>::new(), strategy, limits),
            _ => search(machine, plan, starts, &mut Memory::<16>::new(), strategy, limits),
        };
        self.rounds += rounds;
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
