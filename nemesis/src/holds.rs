//! Whether a schedule releases what it never holds: such a step is a mistake, and is refused before
//! anything starts.
//!
//! Targets are known only when a step runs, so a release is refused only where no hold before it can
//! have been meant.

use crate::{
    fault::Fault,
    link::Kinds,
    schedule::Step,
    target::{LinkTarget, Target},
};

/// The first step that releases what no step before it holds, by its place, and what is wrong.
pub(crate) fn release_of_nothing(steps: &[Step]) -> Option<(usize, String)> {
    steps.iter().enumerate().filter(|(_, step)| step.fault == Fault::Release).find_map(
        |(index, release)| {
            if holds_before(steps, index).any(|hold| may_be_meant(hold, release)) {
                return None;
            }
            let links: Vec<_> = release.links.iter().map(ToString::to_string).collect();
            let what = format!("{} on {}", kinds(release), links.join(", "));
            Some((index, format!("no step before it holds {what}")))
        },
    )
}

/// The holds that can be in force when a step runs. Steps with a time of their own are not bound to
/// the order of the list.
fn holds_before(steps: &[Step], index: usize) -> impl Iterator<Item = &Step> {
    let timed = |step: &Step| step.at.is_some();
    let release = &steps[index];
    let healed = steps[..index].iter().rposition(|step| {
        step.fault == Fault::Heal && step.links.is_empty() && step.target.is_none() && !timed(step)
    });
    steps.iter().enumerate().filter_map(move |(place, step)| {
        let possible = match (step.at, release.at) {
            (Some(hold), Some(release)) => hold <= release,
            (None, None) => place < index && healed.is_none_or(|healed| healed < place),
            _ => true,
        };
        (step.fault == Fault::Hold && possible).then_some(step)
    })
}

fn may_be_meant(hold: &Step, release: &Step) -> bool {
    let links = hold.links.iter().flat_map(|held| release.links.iter().map(move |r| (held, r)));
    kinds(hold).meets(&kinds(release)) && { links }.any(|(held, released)| may_meet(held, released))
}

fn may_meet(one: &LinkTarget, other: &LinkTarget) -> bool {
    let same = |from: &Target, to: &Target| may_be(from, &other.from) && may_be(to, &other.to);
    same(&one.from, &one.to) || ((one.both || other.both) && same(&one.to, &one.from))
}

/// Whether two targets can mean the same node.
fn may_be(one: &Target, other: &Target) -> bool {
    !matches!((one, other), (Target::Node(one), Target::Node(other)) if one != other)
}

fn kinds(step: &Step) -> Kinds {
    Kinds::of(step.kinds.iter().map(|kind| kind.0))
}
