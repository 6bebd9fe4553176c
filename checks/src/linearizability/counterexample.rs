//! Why there is no order: the few operations that cannot be put into one.
//!
//! Operations are not simply deleted until the rest can be ordered: without its write, every read is
//! wrong, and the last thing standing would be an innocent read. They are *relaxed* instead. A
//! relaxed observation is gone; a relaxed change may take effect at any time, or never. Whatever
//! order the whole history had would also be one of the relaxed history, so what is left unrelaxed
//! proves the verdict, and relaxing one more of it would lose the proof.

use super::{
    budget::Pace,
    decide::{Decider, Decision},
    model::Model,
    operation::{NEVER, Timed},
    sort::sort,
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

/// How an operation stands while the counterexample shrinks; one that is gone is not in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// It may take effect at any time, or never.
    Free,
    AfterItsCall,
    Exactly,
}

/// An operation, by its place in the key's list, and how it stands.
#[derive(Clone, Copy, Debug)]
struct Held {
    place: usize,
    hold: Hold,
}

/// Rounds of a search that all questions of a shrinking may take together, and one of them.
const ROUNDS_MAX: u32 = 600;
const ROUNDS_OF_ONE_MAX: u32 = 60;
/// So few operations are relaxed one by one from the start.
const FEW: usize = 16;

/// What is known of whether some operations have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ordered,
    Refuted,
    Unknown,
}

/// A proof that is being shrunk: operations of one key, as places in its list.
struct Shrink<'s, 'a, M: Model> {
    decider: &'s mut Decider<'a, M>,
    ops: &'s [Timed],
    /// What the proof stands on.
    held: Vec<Held>,
    /// Whether every answer was a clear one.
    sure: bool,
    rounds_left: u32,
    /// The last question, kept for its memory.
    asked: Vec<Timed>,
    /// Marks on places of the key's list; none between two uses.
    marked: Vec<bool>,
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
    decider: &mut Decider<'_, M>,
    ops: &[Timed],
    stuck: Option<(usize, usize)>,
    suspects: &[usize],
) -> Shrunk {
    // What a shortcut could not decide as a whole, it can seldom decide in part.
    decider.means.shortcuts &= stuck.is_none();
    let mut shrink = Shrink {
        decider,
        ops,
        held: Vec::new(),
        sure: true,
        rounds_left: ROUNDS_MAX,
        asked: Vec::new(),
        marked: vec![false; ops.len()],
    };
    let (stuck, verified) = match stuck {
        Some((stuck, verified)) => (Some(stuck), Some(verified)),
        None => shrink.first_stuck(),
    };
    shrink.held = shrink.until(stuck.map_or(u64::MAX, |stuck| ops[stuck].ret));
    let returns_before = |at: usize| ops.iter().filter(|op| op.ret < ops[at].ret).count();
    let prefix = Prefix { returns: verified.map_or(0, returns_before), next: stuck };
    let since = shrink.leave_out_the_past();
    if since.is_none() {
        shrink.try_suspects(suspects);
    }
    shrink.relax_all();
    Shrunk { core: shrink.core(), minimal: shrink.sure, since, prefix }
}

impl<M: Model> Shrink<'_, '_, M> {
    fn core(&self) -> Vec<(usize, Bound)> {
        let bound = |held: &Held| match held.hold {
            Hold::Exactly => Some((held.place, Bound::Exactly)),
            Hold::AfterItsCall => Some((held.place, Bound::AfterItsCall)),
            Hold::Free => None,
        };
        let mut core: Vec<(usize, Bound)> = self.held.iter().filter_map(bound).collect();
        core.sort_by_key(|(place, _)| self.ops[*place].call);
        core
    }

    fn observes(&self, place: usize) -> bool {
        self.decider.only_observes(self.ops[place].class)
    }

    /// An operation that is to hold no more than so; a relaxed observation is gone.
    fn relaxed(&self, place: usize, hold: Hold) -> Option<Held> {
        (hold == Hold::Exactly || !self.observes(place)).then_some(Held { place, hold })
    }

    /// Whether operations have an order if they are held so.
    fn ask(&mut self, held: &[Held]) -> Answer {
        if self.decider.means.budget.is_spent() {
            self.sure = false;
            return Answer::Unknown;
        }
        self.asked.clear();
        self.asked.extend(held.iter().map(|Held { place, hold }| {
            let op = self.ops[*place];
            match hold {
                Hold::Exactly => op,
                Hold::AfterItsCall => Timed { ret: NEVER, ..op },
                Hold::Free => Timed { call: 0, ret: NEVER, ..op },
            }
        }));
        let rounds_max = self.rounds_left.min(ROUNDS_OF_ONE_MAX);
        let decision = self.decider.decide_within(&self.asked, rounds_max);
        self.rounds_left = self.rounds_left.saturating_sub(self.decider.rounds);
        match decision {
            Decision::Invalid { .. } => Answer::Refuted,
            Decision::Valid => Answer::Ordered,
            Decision::Unknown { .. } => {
                self.sure = false;
                Answer::Unknown
            }
        }
    }

    fn is_refuted(&mut self, held: &[Held]) -> bool {
        self.ask(held) == Answer::Refuted
    }

    fn is_over(&self) -> bool {
        self.rounds_left == 0 || self.decider.means.budget.is_spent()
    }

    /// What is left of the history if it ends right after a position.
    fn until(&self, position: u64) -> Vec<Held> {
        let held = |(place, op): (usize, &Timed)| {
            let whole = op.ret <= position && !op.is_pending();
            let hold = if whole { Hold::Exactly } else { Hold::AfterItsCall };
            (op.call <= position).then(|| self.relaxed(place, hold)).flatten()
        };
        self.ops.iter().enumerate().filter_map(held).collect()
    }

    /// What is left of the held operations if the history begins right after a position.
    fn since(&self, position: u64) -> Vec<Held> {
        let held = |held: &Held| {
            let op = self.ops[held.place];
            if op.ret <= position {
                None
            } else if op.call <= position {
                self.relaxed(held.place, Hold::Free)
            } else {
                Some(*held)
            }
        };
        self.held.iter().filter_map(held).collect()
    }

    /// An operation whose return no order reaches, and one before whose return there is an order,
    /// by bisection; they are the same one unless an answer was missing.
    fn first_stuck(&mut self) -> (Option<usize>, Option<usize>) {
        let ops = self.ops;
        let mut returns: Vec<usize> =
            (0..ops.len()).filter(|place| !ops[*place].is_pending()).collect();
        let mut pace = Pace::new(self.decider.means.budget);
        if sort(&mut returns, 1, |place| ops[*place].ret, &mut pace).is_err() {
            self.sure = false;
            return (None, None);
        }
        // So many returns have an order; what is asked lies between the other two.
        let (mut ordered, mut low, mut high) = (0, 0, returns.len());
        while low < high {
            if self.is_over() {
                self.sure = false;
                break;
            }
            let middle = low + (high - low) / 2;
            let held = self.until(ops[returns[middle]].ret);
            match self.ask(&held) {
                Answer::Refuted => high = middle,
                Answer::Ordered => {
                    low = middle + 1;
                    ordered = low;
                }
                Answer::Unknown => low = middle + 1,
            }
        }
        (returns.get(high).copied(), returns.get(ordered).copied())
    }

    /// Finds the shortest stretch of what is held that has no order whatever came before.
    ///
    /// What is called after everything left out has returned comes after it in any order, so an
    /// arbitrary state stands for all of it. What was open at the cut may come at any time.
    fn leave_out_the_past(&mut self) -> Option<u64> {
        if !self.decider.start_anywhere() {
            return None;
        }
        let mut calls: Vec<u64> = self.held.iter().map(|held| self.ops[held.place].call).collect();
        let mut pace = Pace::new(self.decider.means.budget);
        if sort(&mut calls, 1, |call| *call, &mut pace).is_err() {
            self.decider.start_initially();
            self.sure = false;
            return None;
        }
        let cut = |back: usize| calls[calls.len() - back].checked_sub(1);
        let (sure, mut back) = (self.sure, 1);
        let (mut low, mut high, mut best) = loop {
            if let Some(position) = cut(back) {
                let held = self.since(position);
                if self.is_refuted(&held) {
                    break (back / 2, back, held);
                }
            }
            if back == calls.len() || self.is_over() {
                self.decider.start_initially();
                self.sure = sure;
                return None;
            }
            back = (back * 2).min(calls.len());
        };
        while low + 1 < high && !self.is_over() {
            let middle = low + (high - low) / 2;
            let Some(position) = cut(middle) else { break };
            let held = self.since(position);
            if self.is_refuted(&held) {
                (high, best) = (middle, held);
            } else {
                low = middle;
            }
        }
        self.sure = sure; // a longer stretch than need be costs time, not truth
        self.held = best;
        cut(high)
    }

    /// Relaxes everything but the suspects at once, if that still proves it.
    fn try_suspects(&mut self, suspects: &[usize]) {
        if suspects.is_empty() {
            return;
        }
        self.mark(suspects, true);
        let held = |held: &Held| match self.marked[held.place] {
            true => Some(*held),
            false => self.relaxed(held.place, Hold::Free),
        };
        let held: Vec<Held> = self.held.iter().filter_map(held).collect();
        self.mark(suspects, false);
        if self.is_refuted(&held) {
            self.held = held;
        }
    }

    /// Relaxes ever smaller groups of operations, down to single ones. What could not be relaxed
    /// cannot be later either, when even more is relaxed, so one pass is enough.
    fn relax_all(&mut self) {
        let few = self.core().len() <= FEW;
        let mut size = if few { 1 } else { self.core().len().next_power_of_two() / 2 };
        loop {
            let core: Vec<usize> = self.core().into_iter().map(|(place, _)| place).collect();
            for places in core.chunks(size) {
                if self.is_over() {
                    self.sure = false;
                    return;
                }
                self.relax(places);
            }
            if size == 1 {
                return;
            }
            size /= 2;
        }
    }

    fn relax(&mut self, places: &[usize]) {
        self.mark(places, true);
        let with = |hold: Hold| -> Vec<Held> {
            let held = |held: &Held| match self.marked[held.place] {
                true => self.relaxed(held.place, hold),
                false => Some(*held),
            };
            self.held.iter().filter_map(held).collect()
        };
        let free = with(Hold::Free);
        let after = match places {
            [place] if self.is_exact(*place) && !self.observes(*place) => {
                Some(with(Hold::AfterItsCall))
            }
            _ => None,
        };
        self.mark(places, false);
        if self.is_refuted(&free) {
            self.held = free;
        } else if let Some(after) = after
            && self.is_refuted(&after)
        {
            self.held = after;
        }
    }

    fn mark(&mut self, places: &[usize], mark: bool) {
        places.iter().for_each(|place| self.marked[*place] = mark);
    }

    fn is_exact(&self, place: usize) -> bool {
        self.held.iter().any(|held| held.place == place && held.hold == Hold::Exactly)
    }
}
