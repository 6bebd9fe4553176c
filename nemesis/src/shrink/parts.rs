//! What a schedule is made of, and how it becomes less.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use usurper_history::NodeId;

use super::WAIT_SHORT;
use crate::{
    fault::Fault,
    generator::whole_millis,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

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
    Some(whole_millis(wait * quarters / 4))
}

/// What becomes of the waits of steps that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// They go, too.
    Gone,
    /// What is left is as far apart as it was, but begins at once.
    Between,
    /// What is left happens when it did.
    Kept,
}

/// The steps without some of them, and without what leans on those.
pub(super) fn without(
    steps: &[Step],
    mut removed: BTreeSet<usize>,
    waits: Waits,
    nodes: &[NodeId],
) -> Schedule {
    loop {
        let (left, kept) = remove(steps, &removed, waits);
        match Step::validate_all(&kept, nodes) {
            Ok(()) => return kept,
            Err(error) => {
                removed.insert(left[error.number - 1]);
            }
        }
    }
}

/// How long a step takes by the clock.
pub(super) fn time_of(step: &Step) -> Duration {
    step.after.unwrap_or_default().0 + step.until_last() + step.lasts.unwrap_or_default().0
}

/// The steps that are left, with their old places.
///
/// The first step that is left after some that go takes over what they waited for first, unless it
/// waits for something itself; and their waits, if they are kept.
fn remove(steps: &[Step], removed: &BTreeSet<usize>, waits: Waits) -> (Vec<usize>, Schedule) {
    let mut left = Vec::new();
    let mut kept = Schedule::new();
    // The first steps of their tracks that are left, with the waits of those before them.
    let mut leading: Vec<(usize, Duration)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if removed.contains(&index) {
            continue;
        }
        let mut step = step.clone();
        if step.on.is_none() && step.at.is_none() {
            let before: Vec<_> =
                (0..index).rev().filter(|before| steps[*before].track == step.track).collect();
            let gone = before.iter().take_while(|before| removed.contains(before));
            let gone: Vec<_> = gone.map(|before| &steps[*before]).collect();
            let wait: Duration = gone.iter().copied().map(time_of).sum();
            if waits != Waits::Gone && !wait.is_zero() {
                step.after = Some(TimeSpan(step.after.unwrap_or_default().0 + wait));
            }
            if gone.len() == before.len() {
                leading.push((kept.len(), wait));
            }
            for gone in gone.iter().filter(|gone| gone.on.is_some()) {
                (step.on, step.within) = (gone.on.clone(), gone.within);
                step.anyway = gone.anyway;
            }
        }
        left.push(index);
        kept.push(step);
    }
    if waits == Waits::Between {
        let earlier = leading.iter().map(|(_, wait)| *wait).min().unwrap_or_default();
        for (place, _) in leading {
            let after = kept[place].after.unwrap_or_default().0.saturating_sub(earlier);
            kept[place].after = Some(TimeSpan(after)).filter(|after| !after.0.is_zero());
        }
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

/// The steps with a node in place of what an event said; nothing if they do not mention it.
pub(super) fn with_node(steps: &[Step], name: &str, node: NodeId) -> Option<Schedule> {
    let mut value = serde_json::to_value(steps).ok()?;
    let (name, node) = (format!("${name}"), node.to_string());
    put(&mut value, &name, &node).then(|| serde_json::from_value(value).ok())?
}

/// Puts a word in place of another one, and says whether it was there.
fn put(value: &mut Value, word: &str, other: &str) -> bool {
    // Not `$f1` in `$f12`.
    let ends = |rest: &str| {
        !rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c))
            || rest.starts_with("->")
    };
    match value {
        Value::String(text) => {
            let parts: Vec<_> = text.split(word).collect();
            let mut changed = parts[0].to_owned();
            for rest in &parts[1..] {
                changed.push_str(if ends(rest) { other } else { word });
                changed.push_str(rest);
            }
            let put = changed != *text;
            *text = changed;
            put
        }
        Value::Array(list) => list.iter_mut().fold(false, |any, one| any | put(one, word, other)),
        Value::Object(map) => map.values_mut().fold(false, |any, one| any | put(one, word, other)),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Waits, remove};
    use crate::{fault::Fault, schedule::Step, time_span::TimeSpan};

    #[test]
    fn what_is_left_happens_when_it_did_or_as_far_apart_or_at_once() {
        let wait = |(track, ms): (Option<&str>, u64)| {
            let mut step = Step::new(Fault::Wait, None);
            step.track = track.map(str::to_owned);
            step.after = Some(TimeSpan::millis(ms));
            step
        };
        // The other track begins 2 s later than what is left of this one.
        let steps =
            [(None, 1_000), (None, 100), (None, 30), (None, 4), (Some("a"), 3_000), (Some("a"), 7)];
        let steps: Vec<Step> = steps.into_iter().map(wait).collect();
        let left = |waits| {
            let kept = remove(&steps, &BTreeSet::from([0, 2, 4]), waits).1;
            kept.iter().map(|step| step.after.unwrap().0.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(left(Waits::Kept), [1_100, 34, 3_007]);
        assert_eq!(left(Waits::Between), [100, 34, 2_007]);
        assert_eq!(left(Waits::Gone), [100, 4, 7]);
    }
}
