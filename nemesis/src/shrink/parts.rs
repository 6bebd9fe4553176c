//! What a schedule is made of, and how it becomes less.

use std::collections::BTreeSet;

use super::WAIT_SHORT;
use crate::{
    fault::Fault,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// The sets of so many of the numbers below `count`, each in order.
pub(super) fn sets_of(count: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let with_last = |last: usize| {
        let smaller = sets_of(last, size - 1).into_iter();
        smaller.map(move |set| [set, vec![last]].concat())
    };
    (size - 1..count).flat_map(with_last).collect()
}

/// Steps that do the same less often, with what that is; the least first.
pub(super) fn lesser(step: &Step) -> Vec<(String, Step)> {
    let mut lesser = Vec::new();
    // Once is the least, half of it is worth a try where once is not enough.
    let fewer =
        |count: u64| [1, count / 2].into_iter().filter(move |less| (1..count).contains(less));
    for less in fewer(step.times.unwrap_or(1).into()) {
        let times = u32::try_from(less).ok();
        lesser.push((format!("{less} times"), Step { times, ..step.clone() }));
    }
    for less in fewer(step.count.unwrap_or(1)) {
        lesser.push((format!("with count {less}"), Step { count: Some(less), ..step.clone() }));
    }
    for less in fewer(step.by.unwrap_or(1)) {
        lesser.push((format!("by {less}"), Step { by: Some(less), ..step.clone() }));
    }
    if let Some(on) = &step.on {
        for less in fewer(on.nth().unwrap_or(1).into()) {
            let nth = u32::try_from(less).unwrap_or(1);
            let on = Some(on.clone().counted(nth));
            lesser.push((format!("on event {nth}"), Step { on, ..step.clone() }));
        }
    }
    lesser
}

/// Part of a wait, in quarters; nothing at all where that is hardly anything.
pub(super) fn part(wait: Option<TimeSpan>, quarters: u32) -> Option<TimeSpan> {
    let wait = wait?.0;
    if quarters == 0 || (quarters < 4 && wait < WAIT_SHORT) {
        return None;
    }
    let part = wait * quarters / 4;
    Some(TimeSpan::millis(u64::try_from(part.as_millis()).unwrap_or(u64::MAX)))
}

/// The steps that are left, with their old places.
///
/// The first step that is left after some that go takes over what they waited for first, unless it
/// waits for something itself; with `keep_waits`, their waits, too.
pub(super) fn remove(
    steps: &[Step],
    removed: &BTreeSet<usize>,
    keep_waits: bool,
) -> (Vec<usize>, Schedule) {
    let mut left = Vec::new();
    let mut kept = Schedule::new();
    for (index, step) in steps.iter().enumerate() {
        if removed.contains(&index) {
            continue;
        }
        let mut step = step.clone();
        if step.on.is_none() && step.at.is_none() {
            let before = (0..index).rev().filter(|before| steps[*before].track == step.track);
            let gone = before.take_while(|before| removed.contains(before));
            for gone in gone.map(|before| &steps[before]) {
                if keep_waits {
                    let sum = step.after.unwrap_or_default().0 + gone.after.unwrap_or_default().0;
                    step.after = Some(TimeSpan(sum)).filter(|after| !after.0.is_zero());
                }
                if gone.on.is_some() {
                    (step.on, step.within) = (gone.on.clone(), gone.within);
                    step.anyway = gone.anyway;
                }
            }
        }
        left.push(index);
        kept.push(step);
    }
    (left, kept)
}

/// The steps in groups: a fault with all that undoes it, everything else alone.
pub(super) fn units(steps: &[Step]) -> Vec<Vec<usize>> {
    let mut units: Vec<Vec<usize>> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let named = step.target.iter().flat_map(Target::parts).find_map(|part| match part {
            Target::Step(name) => Some(name),
            _ => None,
        });
        let undone = |unit: &&mut Vec<usize>| {
            let first = &steps[unit[0]];
            match named {
                // A crash at a failpoint is undone twice: the failpoint, and the crash.
                Some(name) => unit.iter().any(|step| steps[*step].name.as_ref() == Some(name)),
                None => {
                    unit.len() == 1
                        && first.fault.info().undo == Some(step.fault)
                        && (step.fault == Fault::Heal || step.target == first.target)
                }
            }
        };
        match units.iter_mut().rev().find(undone) {
            Some(unit) => unit.push(index),
            None => units.push(vec![index]),
        }
    }
    units
}

/// Some steps, for a person.
pub(super) fn name_of(steps: &[Step], places: &[usize]) -> String {
    let name = |index: &usize| {
        let step = &steps[*index];
        let target = step.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
        format!("{}{target}", step.fault)
    };
    match places {
        [] => "nothing".to_owned(),
        [first, rest @ ..] if rest.len() < 3 => {
            rest.iter().fold(name(first), |text, index| format!("{text}, {}", name(index)))
        }
        [first, ..] => format!("{} and {} more", name(first), places.len() - 1),
    }
}
