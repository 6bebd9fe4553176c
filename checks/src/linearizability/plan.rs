//! The history of one key, cut at its returns.
//!
//! Only at a return does something have to have happened, so a search moves from return to return
//! (the just-in-time linearization of Lowe 2017). Between two returns operations are only called,
//! which adds to what is open.

use super::operation::{Span, Timed, narrow};

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
}

/// Operations whose outcome is unknown and that are equal.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) class: u32,
    /// The level from which each is available, ascending.
    pub(crate) from: Vec<u32>,
}

/// The returns of a history with what is open at each.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) levels: Vec<Level>,
    open: Vec<Open>,
    /// By the first level at which they are available.
    pub(crate) groups: Vec<Group>,
    /// The most operations with a known outcome that are open at once.
    pub(crate) slots: usize,
}

impl Plan {
    /// `observes` says of a class whether it changes nothing.
    pub(crate) fn new(ops: &[Timed], observes: impl Fn(u32) -> bool) -> Self {
        let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(ops.len() * 2);
        for (place, op) in ops.iter().enumerate() {
            // An observation that nobody saw says nothing.
            if op.is_pending() && observes(op.class) {
                continue;
            }
            events.push((op.call, false, narrow(place)));
            if !op.is_pending() {
                events.push((op.ret, true, narrow(place)));
            }
        }
        // Calls before returns: at the same position they overlap.
        events.sort_unstable();
        let mut plan = Self { levels: Vec::new(), open: Vec::new(), groups: Vec::new(), slots: 0 };
        let mut groups: super::model::FastMap<u32, usize> = Default::default();
        let mut free: Vec<u32> = Vec::new();
        let mut slot_of = vec![0; ops.len()];
        let mut changing: Vec<(u64, Open)> = Vec::new();
        let mut observing: Vec<Open> = Vec::new();
        for (_, is_return, place) in events {
            let op = ops[place as usize];
            if op.is_pending() {
                let group = *groups.entry(op.class).or_insert_with(|| {
                    plan.groups.push(Group { class: op.class, from: Vec::new() });
                    plan.groups.len() - 1
                });
                plan.groups[group].from.push(narrow(plan.levels.len()));
                continue;
            }
            if !is_return {
                let slot = free.pop().unwrap_or_else(|| {
                    plan.slots += 1;
                    narrow(plan.slots - 1)
                });
                slot_of[place as usize] = slot;
                let open = Open { slot, class: op.class };
                if observes(op.class) {
                    observing.push(open);
                } else {
                    let at = changing.partition_point(|(ret, _)| *ret <= op.ret);
                    changing.insert(at, (op.ret, open));
                }
                continue;
            }
            let target = Open { slot: slot_of[place as usize], class: op.class };
            let start = plan.open.len();
            plan.open.extend(changing.iter().map(|(_, open)| *open));
            let middle = plan.open.len();
            plan.open.extend(&observing);
            plan.levels.push(Level {
                op: place,
                target,
                changing: Span::new(start..middle),
                observing: Span::new(middle..plan.open.len()),
            });
            changing.retain(|(_, open)| *open != target);
            observing.retain(|open| *open != target);
            free.push(target.slot);
        }
        plan
    }

    pub(crate) fn changing(&self, level: &Level) -> &[Open] {
        level.changing.of(&self.open)
    }

    pub(crate) fn observing(&self, level: &Level) -> &[Open] {
        level.observing.of(&self.open)
    }
}
