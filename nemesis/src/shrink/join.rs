//! Steps that belong together, as one step: the same with fewer steps for a reader.

use std::time::Duration;

use super::parts::units;
use crate::{
    fault::Fault,
    generator::whole_millis,
    pattern::Pattern,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// Two places of a schedule that one step can stand for, and that step.
struct Pair {
    first: usize,
    second: usize,
    joined: Step,
}

/// The same in fewer steps: what is undone by the clock before anything else happens in its track lasts so
/// long, and what comes after a wait comes later.
pub(super) fn said_shortly(steps: &[Step]) -> Schedule {
    let mut kept = apply(steps, &undone_in_time(steps));
    while let Some(pair) = waits_for_nothing(&kept) {
        kept = apply(&kept, &[pair]);
    }
    kept
}

/// Ways to say nearly the same with fewer steps, with what that is.
pub(super) fn joins(steps: &[Step]) -> Vec<(String, Schedule)> {
    let both = |pair: Pair| {
        let what = format!("{} after both events", pair.joined.fault);
        (what, apply(steps, &[pair]))
    };
    waits_for_both(steps).into_iter().map(both).chain(in_turn(steps)).collect()
}

fn apply(steps: &[Step], pairs: &[Pair]) -> Schedule {
    let kept = steps.iter().enumerate().filter_map(|(place, step)| {
        let gone = |pair: &&Pair| pair.second == place || pair.first == place;
        match pairs.iter().find(gone) {
            // What waits for both stands where the second of them did.
            Some(pair) if pair.joined.fault == steps[pair.second].fault => {
                (pair.second == place).then(|| pair.joined.clone())
            }
            Some(pair) => (pair.first == place).then(|| pair.joined.clone()),
            None => Some(step.clone()),
        }
    });
    kept.collect()
}

/// The next step of the same track.
fn next_of(steps: &[Step], place: usize) -> Option<usize> {
    (place + 1..steps.len()).find(|next| steps[*next].track == steps[place].track)
}

fn once(step: &Step) -> bool {
    step.at.is_none() && step.times.unwrap_or(1) == 1
}

/// Faults that are undone by the clock, before anything else happens in their track.
fn undone_in_time(steps: &[Step]) -> Vec<Pair> {
    let pair = |unit: Vec<usize>| {
        let [first, second, ..] = unit[..] else { return None };
        let (fault, undo) = (&steps[first], &steps[second]);
        let fits = next_of(steps, first) == Some(second)
            && fault.fault.info().undo == Some(undo.fault)
            && (once(fault) && once(undo))
            && (fault.lasts.is_none() && undo.on.is_none())
            && hits_the_same(fault, undo);
        let joined = || Step { lasts: Some(undo.after.unwrap_or_default()), ..fault.clone() };
        fits.then(|| Pair { first, second, joined: joined() })
    };
    units(steps).into_iter().filter_map(pair).collect()
}

/// Whether an undo certainly undoes all that a step did, and nothing else.
fn hits_the_same(fault: &Step, undo: &Step) -> bool {
    let by_name = |target: &Target| match target {
        Target::Step(name) => fault.name.as_ref() == Some(name),
        target => fault.target.as_ref() == Some(target) && target.parts().iter().all(is_fixed),
    };
    match &undo.target {
        Some(target) => by_name(target),
        // Without any links, everything is healed.
        None => !undo.links.is_empty() && undo.links == fault.links && links_are_fixed(fault),
    }
}

/// Whether it means the same at any time.
fn is_fixed(target: &&Target) -> bool {
    matches!(target, Target::Node(_) | Target::All | Target::Step(_) | Target::Captured(_))
}

fn links_are_fixed(step: &Step) -> bool {
    let ends = step.links.iter().flat_map(|link| [&link.from, &link.to]);
    ends.flat_map(Target::parts).all(|part| is_fixed(&part))
}

/// A wait by the clock, and a step that does not wait for an event.
fn waits_for_nothing(steps: &[Step]) -> Option<Pair> {
    (0..steps.len()).find_map(|first| {
        let second = next_of(steps, first)?;
        let (wait, step) = (&steps[first], &steps[second]);
        let fits = wait.fault == Fault::Wait
            && (wait.on.is_none() && step.on.is_none())
            && (once(wait) && once(step))
            && (wait.name.is_none() && wait.lasts.is_none());
        let after = wait.after.unwrap_or_default().0 + step.after.unwrap_or_default().0;
        let joined = || Step { after: Some(TimeSpan(after)), ..step.clone() };
        fits.then(|| Pair { first, second, joined: joined() })
    })
}

/// A wait for an event, and a step that waits for another one after it: then for both.
fn waits_for_both(steps: &[Step]) -> Vec<Pair> {
    let pair = |first: usize| {
        let second = next_of(steps, first)?;
        let (wait, step) = (&steps[first], &steps[second]);
        let both = [wait.on.as_ref()?, step.on.as_ref()?];
        if wait.fault != Fault::Wait || !once(wait) || !once(step) {
            return None;
        }
        let all = both.into_iter().flat_map(|on| match on {
            Pattern::AllOf(all) => all.clone(),
            on => vec![on.clone()],
        });
        let within = match (wait.within, step.within) {
            (Some(first), Some(second)) => Some(TimeSpan(first.0 + second.0)),
            _ => None,
        };
        let anyway = wait.anyway && step.anyway && within.is_some();
        let on = Some(Pattern::AllOf(all.collect()));
        let joined = Step { on, within, anyway, ..step.clone() };
        Some(Pair { first, second, joined })
    };
    (0..steps.len()).filter_map(pair).collect()
}

/// The same done to one node after another: once, to each in turn.
fn in_turn(steps: &[Step]) -> Vec<(String, Schedule)> {
    let mut found = Vec::new();
    let mut seen = vec![false; steps.len()];
    for first in 0..steps.len() {
        let mut row = vec![first];
        while let Some(next) = next_of(steps, *row.last().unwrap_or(&first))
            && goes_on(&steps[first], &steps[next])
        {
            row.push(next);
        }
        if seen[first] || row.len() < 2 || !matches!(steps[first].target, Some(Target::Node(_))) {
            continue;
        }
        row.iter().for_each(|place| seen[*place] = true);
        let rest = || row.iter().map(|place| &steps[*place]);
        let mean = |of: fn(&Step) -> Option<TimeSpan>, skip: usize| {
            let sum: Duration = rest().skip(skip).map(|step| of(step).unwrap_or_default().0).sum();
            whole_millis(sum / u32::try_from(row.len() - skip).unwrap_or(u32::MAX))
        };
        let joined = Step {
            name: None,
            target: Some(Target::Several(rest().filter_map(|step| step.target.clone()).collect())),
            after: Some(mean(|step| step.after, 1).max(TimeSpan::millis(1))),
            lasts: steps[first].lasts.and(Some(mean(|step| step.lasts, 0))),
            times: u32::try_from(row.len()).ok(),
            in_turn: true,
            ..steps[first].clone()
        };
        let kept = steps.iter().enumerate().filter_map(|(place, step)| match place {
            _ if place == first => Some(joined.clone()),
            _ if row.contains(&place) => None,
            _ => Some(step.clone()),
        });
        found.push((format!("{} {} in turn", joined.fault, row.len()), kept.collect()));
    }
    found
}

/// Whether a step does the same as another one, to another node.
fn goes_on(first: &Step, next: &Step) -> bool {
    let bare = |step: &Step| Step {
        name: None,
        target: None,
        after: None,
        lasts: step.lasts.and(Some(TimeSpan::default())),
        ..step.clone()
    };
    let node = matches!(next.target, Some(Target::Node(_)));
    node && once(first) && first.on.is_none() && bare(first) == bare(next)
}
