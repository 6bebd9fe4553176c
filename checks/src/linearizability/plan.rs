//! The history of one key, cut at its returns.
//!
//! Only at a return does something have to have happened, so a search moves from return to return
//! (the just-in-time linearization of Lowe 2017). Between two returns operations are only called,
//! which adds to what is open.
//!
//! Where a model divides its state into [parts](super::Model::part), only the part of the operation
//! that returns is looked at, a partial order reduction (Godefroid, LNCS 1032, 1996). Why that loses
//! nothing: take any order of the whole history. What it has before the returning operation and on
//! other parts has not returned yet, or it was taken care of at its own return; so it may as well
//! come after the returning operation, with which it commutes. That fails if something open is
//! about all parts, because it may tell the order of two operations which by themselves commute;
//! then everything is looked at.

use super::{
    budget::{Budget, Pace, Spent},
    decide::Why,
    model::{FastMap, Kind},
    operation::{Span, Timed, narrow},
    sort::sort,
};

/// An open operation: the bit that stands for it while it is open, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) slot: u32,
    pub(crate) class: u32,
}

/// One return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// The operation that returns, as a place in the list that the plan was made from.
    pub(crate) op: u32,
    pub(crate) target: Open,
    /// Open operations that change states, the target included; those that return first, first.
    changing: Span,
    /// Open operations that only observe, the target included.
    observing: Span,
    /// Of these groups so many are available.
    groups: (u32, u32),
}

/// Operations whose outcome is unknown and that are equal.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) class: u32,
    /// The level from which each is available, ascending; most groups have one.
    first: u32,
    more: Vec<u32>,
}

impl Group {
    /// The level from which one more is available after so many.
    #[inline]
    pub(crate) fn from(&self, used: u32) -> Option<u32> {
        match used.checked_sub(1) {
            None => Some(self.first),
            Some(at) => self.more.get(at as usize).copied(),
        }
    }
}

/// The returns of a history with what is open at each.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) levels: Vec<Level>,
    open: Vec<Open>,
    /// By the first level at which they are available.
    pub(crate) groups: Vec<Group>,
    /// Lists of groups, each by the first level: all of them, and those of each part.
    lists: Vec<Vec<u32>>,
    /// The most operations with a known outcome that are open at once.
    pub(crate) slots: usize,
    /// What is kept between two plans, to make the next without new memory.
    draft: Draft,
}

#[derive(Debug, Default)]
struct Draft {
    calls: Vec<u32>,
    returns: Vec<(u64, u32)>,
    free: Vec<u32>,
    slot_of: Vec<u32>,
    changing: Vec<(u64, Open)>,
    observing: Vec<Open>,
    /// By class, [`NOBODY`] where there is none.
    group_of: Vec<u32>,
    list_of: FastMap<u64, u32>,
    /// Whether a group is about all parts.
    unknown_is_whole: bool,
}

const NOBODY: u32 = u32::MAX;

impl Plan {
    /// Makes this the plan of operations; `kinds` says what their classes are.
    pub(crate) fn make(
        &mut self,
        ops: &[Timed],
        kinds: &[Kind],
        slots_max: usize,
        bytes_max: usize,
        budget: &dyn Budget,
    ) -> Result<(), Why> {
        let mut pace = Pace::new(budget);
        self.forget();
        self.order(ops, kinds, &mut pace)?;
        let calls = std::mem::take(&mut self.draft.calls);
        let returns = std::mem::take(&mut self.draft.returns);
        let mut called = calls.iter().copied().peekable();
        for (ret, place) in &returns {
            // Calls before returns: at the same position they overlap.
            while let Some(place) = called.next_if(|place| ops[*place as usize].call <= *ret) {
                pace.step()?;
                self.call(place, ops[place as usize], kinds);
            }
            if self.slots > slots_max {
                return Err(Why::Concurrency);
            }
            if self.bytes() > bytes_max {
                return Err(Why::Memory);
            }
            // What is open is looked at one by one.
            pace.steps(1 + (self.draft.changing.len() + self.draft.observing.len()) / 8)?;
            self.ret(*place, ops[*place as usize], kinds);
        }
        (self.draft.calls, self.draft.returns) = (calls, returns);
        Ok(())
    }

    fn forget(&mut self) {
        self.levels.clear();
        self.open.clear();
        for group in self.groups.drain(..) {
            self.draft.group_of[group.class as usize] = NOBODY;
        }
        self.lists.truncate(1);
        self.lists.resize_with(1, Vec::new);
        self.lists[0].clear();
        self.slots = 0;
        let draft = &mut self.draft;
        draft.calls.clear();
        draft.returns.clear();
        draft.free.clear();
        draft.changing.clear();
        draft.observing.clear();
        draft.list_of.clear();
        draft.unknown_is_whole = false;
    }

    /// Puts calls and returns in their order.
    fn order(&mut self, ops: &[Timed], kinds: &[Kind], pace: &mut Pace<'_>) -> Result<(), Spent> {
        let Draft { calls, returns, slot_of, group_of, .. } = &mut self.draft;
        slot_of.resize(ops.len(), 0);
        group_of.resize(kinds.len(), NOBODY);
        for (place, op) in (0..).zip(ops) {
            pace.step()?;
            if !op.is_pending() {
                returns.push((op.ret, place));
            } else if kinds[op.class as usize].observes {
                continue; // an observation that nobody saw says nothing
            }
            calls.push(place);
        }
        sort(calls, 1, |place| ops[*place as usize].call, pace)?;
        sort(returns, 1, |ret| *ret, pace)
    }

    fn call(&mut self, place: u32, op: Timed, kinds: &[Kind]) {
        let kind = kinds[op.class as usize];
        let draft = &mut self.draft;
        if op.is_pending() {
            let (groups, lists) = (&mut self.groups, &mut self.lists);
            let level = narrow(self.levels.len());
            let group = &mut draft.group_of[op.class as usize];
            if *group != NOBODY {
                groups[*group as usize].more.push(level);
                return;
            }
            *group = narrow(groups.len());
            groups.push(Group { class: op.class, first: level, more: Vec::new() });
            lists[0].push(*group);
            match kind.part {
                None => draft.unknown_is_whole = true,
                Some(part) => {
                    let list = *draft.list_of.entry(part).or_insert_with(|| {
                        lists.push(Vec::new());
                        narrow(lists.len() - 1)
                    });
                    lists[list as usize].push(*group);
                }
            }
            return;
        }
        let slot = draft.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            narrow(self.slots - 1)
        });
        draft.slot_of[place as usize] = slot;
        let open = Open { slot, class: op.class };
        if kind.observes {
            draft.observing.push(open);
        } else {
            let at = draft.changing.partition_point(|(ret, _)| *ret <= op.ret);
            draft.changing.insert(at, (op.ret, open));
        }
    }

    fn ret(&mut self, place: u32, op: Timed, kinds: &[Kind]) {
        let draft = &mut self.draft;
        let target = Open { slot: draft.slot_of[place as usize], class: op.class };
        let part = |open: &Open| kinds[open.class as usize].part;
        let only = part(&target).filter(|_| {
            !draft.unknown_is_whole
                && draft.changing.iter().all(|(_, open)| part(open).is_some())
                && draft.observing.iter().all(|open| part(open).is_some())
        });
        let looked_at = |open: &&Open| only.is_none() || part(open) == only;
        let start = self.open.len();
        self.open.extend(draft.changing.iter().map(|(_, open)| open).filter(looked_at));
        let middle = self.open.len();
        self.open.extend(draft.observing.iter().filter(looked_at));
        let list = only.map(|part| draft.list_of.get(&part).copied());
        let groups = match list {
            None => (0, narrow(self.lists[0].len())),
            Some(None) => (0, 0),
            Some(Some(list)) => (list, narrow(self.lists[list as usize].len())),
        };
        self.levels.push(Level {
            op: place,
            target,
            changing: Span::new(start..middle),
            observing: Span::new(middle..self.open.len()),
            groups,
        });
        if kinds[op.class as usize].observes {
            draft.observing.retain(|open| *open != target);
        } else {
            draft.changing.retain(|(_, open)| *open != target);
        }
        draft.free.push(target.slot);
    }

    pub(crate) fn changing(&self, level: &Level) -> &[Open] {
        level.changing.of(&self.open)
    }

    pub(crate) fn observing(&self, level: &Level) -> &[Open] {
        level.observing.of(&self.open)
    }

    /// The groups of which something is available at a level.
    pub(crate) fn groups_at(&self, level: &Level) -> &[u32] {
        &self.lists[level.groups.0 as usize][..level.groups.1 as usize]
    }

    fn bytes(&self) -> usize {
        self.levels.len() * size_of::<Level>() + self.open.len() * size_of::<Open>()
    }
}
