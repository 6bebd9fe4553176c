//! Why there is no order: the few operations that cannot be put into one.
//!
//! Operations are not simply deleted until the rest can be ordered: without its write, every read is
//! wrong, and the last thing standing would be an innocent read. They are *relaxed* instead. A
//! relaxed observation is gone; a relaxed change may take effect at any time, or never. Whatever
//! order the whole history had would also be one of the relaxed history, so what is left unrelaxed
//! proves the verdict, and relaxing one more of it would lose the proof.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    budget::Budget,
    decide::{Decision, Means, decide},
    model::Model,
    operation::{NEVER, Timed},
};

/// How far an operation of a counterexample binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It takes effect between its call and its return.
    Exactly,
    /// It takes effect after its call or never; its return does not matter, or it has none.
    AfterItsCall,
}

/// The few operations of one key that no order holds, whatever the others did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    pub key: u32,
    /// The operations, as places in the list that was checked, by call.
    pub core: Vec<(usize, Bound)>,
    /// Those of them whose outcome is unknown: what they would have had to do, they were called too
    /// late to do.
    pub unknown: Vec<usize>,
    /// Relaxing any one operation of the core further would lose the proof.
    pub minimal: bool,
    /// Only what was called after this position was needed: the proof holds whatever state the
    /// object was in by then.
    pub since: Option<u64>,
    /// How much of this key's history has an order.
    pub prefix: Prefix,
    /// It all in one sentence.
    pub sentence: String,
}

/// The longest prefix of a key's history that is known to have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// How many operations have returned in it.
    pub returns: usize,
    /// An operation whose return does not fit any more, or was not reached in time, as a place in
    /// the list that was checked.
    pub next: Option<usize>,
}

/// How an operation stands while the counterexample shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Gone,
    Free,
    AfterItsCall,
    Exactly,
}

/// Looks at the budget that all questions of a shrinking may take together, and one of them. A look
/// is about a thousand steps of a search; an answer of a shortcut takes none.
const LOOKS_MAX: u32 = 600;
const LOOKS_OF_ONE_MAX: u32 = 60;

struct Rationed<'a> {
    budget: &'a dyn Budget,
    looks: AtomicU32,
    looks_max: u32,
}

impl Budget for Rationed<'_> {
    fn is_spent(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) >= self.looks_max || self.budget.is_spent()
    }
}

/// A proof that is being shrunk: operations of one key, as places in its list.
struct Shrink<'a, M: Model> {
    model: &'a M,
    classes: &'a [M::Op],
    ops: &'a [Timed],
    means: Means<'a>,
    holds: Vec<Hold>,
    /// Whether every answer was a clear one.
    sure: bool,
    looks_left: u32,
}

/// What [`shrink`] found, in places of the key's list.
pub(crate) struct Shrunk {
    pub(crate) core: Vec<(usize, Bound)>,
    pub(crate) minimal: bool,
    pub(crate) since: Option<u64>,
    pub(crate) prefix: Prefix,
}

/// Finds a counterexample in operations of one key that have no order.
pub(crate) fn shrink<M: Model>(
    model: &M,
    classes: &[M::Op],
    ops: &[Timed],
    stuck: Option<(usize, usize)>,
    suspects: &[usize],
    means: Means<'_>,
) -> Shrunk {
    let mut shrink = Shrink {
        model,
        classes,
        ops,
        means,
        holds: vec![Hold::Exactly; ops.len()],
        sure: true,
        looks_left: LOOKS_MAX,
    };
    for (hold, op) in shrink.holds.iter_mut().zip(ops) {
        if op.is_pending() {
            *hold = Hold::AfterItsCall;
        }
    }
    let (stuck, verified) = match stuck {
        Some((stuck, verified)) => (Some(stuck), Some(verified)),
        None => {
            let first = shrink.first_stuck();
            (first, first)
        }
    };
    if let Some(stuck) = stuck {
        shrink.truncate(ops[stuck].ret);
    }
    let returns_before = |at: usize| ops.iter().filter(|op| op.ret < ops[at].ret).count();
    let prefix = Prefix { returns: verified.map_or(0, returns_before), next: stuck };
    let since = shrink.leave_out_the_past(stuck);
    if since.is_none() {
        shrink.try_suspects(suspects);
    }
    shrink.relax_all();
    Shrunk { core: shrink.core(), minimal: shrink.sure, since, prefix }
}

impl<M: Model> Shrink<'_, M> {
    fn core(&self) -> Vec<(usize, Bound)> {
        let bound = |hold: &Hold| match hold {
            Hold::Exactly => Some(Bound::Exactly),
            Hold::AfterItsCall => Some(Bound::AfterItsCall),
            Hold::Free | Hold::Gone => None,
        };
        let held = self.holds.iter().enumerate();
        let mut core: Vec<(usize, Bound)> =
            held.filter_map(|(place, hold)| Some((place, bound(hold)?))).collect();
        core.sort_by_key(|(place, _)| self.ops[*place].call);
        core
    }

    fn observes(&self, place: usize) -> bool {
        self.model.only_observes(&self.classes[self.ops[place].class as usize])
    }

    /// Whether the operations have no order with these holds. No answer counts as no.
    fn refuted(&mut self, holds: &[Hold]) -> bool {
        let mut ops = Vec::new();
        for (place, (op, hold)) in self.ops.iter().zip(holds).enumerate() {
            match hold {
                Hold::Exactly => ops.push(*op),
                Hold::Gone => {}
                _ if self.observes(place) => {}
                Hold::AfterItsCall => ops.push(Timed { ret: NEVER, ..*op }),
                Hold::Free => ops.push(Timed { call: 0, ret: NEVER, ..*op }),
            }
        }
        let budget = Rationed {
            budget: self.means.budget,
            looks: AtomicU32::new(0),
            looks_max: self.looks_left.min(LOOKS_OF_ONE_MAX),
        };
        let means = Means { budget: &budget, ..self.means };
        let decision = decide(self.model, self.classes, &ops, means);
        self.looks_left = self.looks_left.saturating_sub(budget.looks.into_inner());
        match decision {
            Decision::Invalid { .. } => true,
            Decision::Valid => false,
            Decision::Unknown { .. } => {
                self.sure = false;
                false
            }
        }
    }

    /// Forgets what was called after a position and what returned after it.
    fn truncate(&mut self, position: u64) {
        let holds = truncated(self.ops, &self.holds, position);
        self.holds = holds;
    }

    /// The operation whose return is the first that no order reaches, by bisection.
    fn first_stuck(&mut self) -> Option<usize> {
        let mut returns: Vec<usize> =
            (0..self.ops.len()).filter(|place| !self.ops[*place].is_pending()).collect();
        returns.sort_unstable_by_key(|place| self.ops[*place].ret);
        let (mut low, mut high) = (0, returns.len());
        while low < high {
            if self.means.budget.is_spent() {
                return None;
            }
            let middle = low + (high - low) / 2;
            let holds = truncated(self.ops, &self.holds, self.ops[returns[middle]].ret);
            if self.refuted(&holds) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        returns.get(low).copied()
    }

    /// Finds the shortest stretch before the stuck return that has no order whatever came before.
    ///
    /// What is called after everything left out has returned comes after it in any order, so an
    /// arbitrary state stands for all of it. What was open at the cut may come at any time.
    fn leave_out_the_past(&mut self, stuck: Option<usize>) -> Option<u64> {
        let stuck = stuck?;
        self.model.states(self.classes)?;
        self.means.any_start = true;
        let mut calls: Vec<u64> = self.ops.iter().map(|op| op.call).collect();
        calls.retain(|call| *call <= self.ops[stuck].ret);
        calls.sort_unstable();
        let cut = |back: usize| calls[calls.len() - back] - 1;
        let mut back = 1;
        let mut shortest = None;
        loop {
            if calls[calls.len() - back] > 0 {
                let holds = since(self.ops, &self.holds, cut(back));
                if self.refuted(&holds) {
                    shortest = Some((back, holds));
                    break;
                }
            }
            if back == calls.len() || self.looks_left == 0 || self.means.budget.is_spent() {
                break;
            }
            back = (back * 2).min(calls.len());
        }
        let Some((mut high, mut best)) = shortest else {
            self.means.any_start = false;
            return None;
        };
        let mut low = high / 2;
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            let holds = since(self.ops, &self.holds, cut(middle));
            if self.refuted(&holds) {
                (high, best) = (middle, holds);
            } else {
                low = middle;
            }
        }
        self.sure = true; // a longer stretch than need be costs time, not truth
        self.holds = best;
        Some(cut(high))
    }

    /// Relaxes everything but the suspects at once, if that still proves it.
    fn try_suspects(&mut self, suspects: &[usize]) {
        if suspects.is_empty() {
            return;
        }
        let mut holds = self.holds.clone();
        let mut suspect = vec![false; holds.len()];
        suspects.iter().for_each(|place| suspect[*place] = true);
        for (hold, suspect) in holds.iter_mut().zip(suspect) {
            if *hold != Hold::Gone && !suspect {
                *hold = Hold::Free;
            }
        }
        if self.refuted(&holds) {
            self.holds = holds;
        }
    }

    /// Relaxes ever smaller groups of operations, down to single ones. What could not be relaxed
    /// cannot be later either, when even more is relaxed, so one pass is enough.
    fn relax_all(&mut self) {
        let mut size = self.core().len().next_power_of_two();
        loop {
            let core: Vec<usize> = self.core().into_iter().map(|(place, _)| place).collect();
            for places in core.chunks(size) {
                if self.looks_left == 0 || self.means.budget.is_spent() {
                    self.sure = false;
                    return;
                }
                // The whole core relaxed is no proof.
                if places.len() < core.len() || size == 1 {
                    self.relax(places);
                }
            }
            if size == 1 {
                return;
            }
            size /= 2;
        }
    }

    fn relax(&mut self, places: &[usize]) {
        let with = |to: Hold| {
            let mut holds = self.holds.clone();
            places.iter().for_each(|place| holds[*place] = to);
            holds
        };
        let (free, after) = (with(Hold::Free), with(Hold::AfterItsCall));
        if self.refuted(&free) {
            self.holds = free;
        } else if let [place] = places
            && self.holds[*place] == Hold::Exactly
            && !self.observes(*place)
            && self.refuted(&after)
        {
            self.holds = after;
        }
    }
}

/// What is left of a history that ends right after a position.
fn truncated(ops: &[Timed], holds: &[Hold], position: u64) -> Vec<Hold> {
    let hold = |(op, hold): (&Timed, &Hold)| match hold {
        _ if op.call > position => Hold::Gone,
        Hold::Exactly if op.ret > position => Hold::AfterItsCall,
        hold => *hold,
    };
    ops.iter().zip(holds).map(hold).collect()
}

/// What is left of a history that begins right after a position.
fn since(ops: &[Timed], holds: &[Hold], position: u64) -> Vec<Hold> {
    let hold = |(op, hold): (&Timed, &Hold)| match hold {
        Hold::Gone => Hold::Gone,
        _ if op.ret <= position => Hold::Gone,
        _ if op.call <= position => Hold::Free,
        hold => *hold,
    };
    ops.iter().zip(holds).map(hold).collect()
}
