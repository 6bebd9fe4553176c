//! What a search may spend.

/// Says when to stop. The checks read no clock, so the caller brings one.
///
/// It is asked every few hundred steps of a search and every few thousand operations of a pass over
/// them, about a millisecond apart at most.
pub trait Budget: Sync {
    /// Whether the time is up.
    fn is_spent(&self) -> bool;
}

impl<F: Fn() -> bool + Sync> Budget for F {
    fn is_spent(&self) -> bool {
        self()
    }
}

/// A budget that never ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn is_spent(&self) -> bool {
        false
    }
}

/// The time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

/// Looks at the budget now and then during a pass over many operations.
pub(crate) struct Pace<'a> {
    budget: &'a dyn Budget,
    steps: usize,
}

pub(crate) const PACE_STEPS: usize = 4096;

impl<'a> Pace<'a> {
    pub(crate) fn new(budget: &'a dyn Budget) -> Self {
        Self { budget, steps: 0 }
    }

    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), Spent> {
        self.steps(1)
    }

    /// Work of so many steps is being done.
    #[inline]
    pub(crate) fn steps(&mut self, steps: usize) -> Result<(), Spent> {
        self.steps += steps;
        if self.steps < PACE_STEPS {
            return Ok(());
        }
        self.steps = 0;
        if self.budget.is_spent() { Err(Spent) } else { Ok(()) }
    }
}
