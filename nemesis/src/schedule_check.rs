//! What is refused before anything starts: a schedule that names what does not exist, undoes what
//! was not done, or cannot end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use usurper_history::NodeId;

use crate::{
    fault::Fault,
    faults::Needs,
    holds::release_of_nothing,
    pattern::{Known, Problem, no_node, not_captured},
    schedule::Step,
    shape::Shape,
    suggest::nearest,
    target::Target,
};

/// A repetition beyond this is taken for a mistake.
const TIMES_MAX: u32 = 100_000;

/// A schedule that cannot run.
#[derive(Debug, thiserror::Error)]
#[error("step {number}{}: {problem}", name.as_ref().map(|name| format!(" (`{name}`)")).unwrap_or_default())]
pub struct ScheduleError {
    /// Its place in the list, from 1.
    pub number: usize,
    pub name: Option<String>,
    /// The key of the step that is wrong, where it is one.
    pub key: Option<&'static str>,
    pub problem: String,
    /// What may help.
    pub hint: Option<String>,
}

/// What is wrong with a step, and with which of its keys.
type Wrong = (Option<&'static str>, Problem);

fn wrong(key: &'static str, what: impl Into<String>) -> Wrong {
    (Some(key), Problem { what: what.into(), hint: None })
}

fn wrong_with(key: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Wrong {
    (Some(key), Problem { what: what.into(), hint: Some(hint.into()) })
}

impl Step {
    /// Checks every step against a cluster before anything starts.
    ///
    /// # Errors
    /// The first step that names what does not exist, lacks what its fault needs, undoes what was
    /// not done, or can never run.
    pub fn validate_all(steps: &[Self], nodes: &[NodeId]) -> Result<(), ScheduleError> {
        let error = |index: usize, (key, problem): Wrong| ScheduleError {
            number: index + 1,
            name: steps[index].name.clone(),
            key,
            problem: problem.what,
            hint: problem.hint,
        };
        let names: Vec<_> = steps.iter().filter_map(|step| step.name.as_deref()).collect();
        let faults: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        let places = places_of(steps);
        let mut earlier = BTreeSet::new();
        let mut captured = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let known = Known { nodes, steps: &names, faults: &faults, captured: &captured };
            step.validate(&known, &earlier).map_err(|wrong| error(index, wrong))?;
            undoes_something(steps, &places, index).map_err(|wrong| error(index, wrong))?;
            if let Some(pattern) = &step.on {
                for (name, node) in pattern.captures() {
                    captured.entry(name).or_insert(node);
                }
            }
            step.validate_captured(&captured).map_err(|wrong| error(index, wrong))?;
            if let Some(name) = &step.name
                && !earlier.insert(name.as_str())
            {
                return Err(error(index, wrong("name", "the name is taken")));
            }
        }
        if let Some((index, what)) = release_of_nothing(steps) {
            return Err(error(index, wrong("links", what)));
        }
        match first_that_never_runs(steps) {
            Some((index, problem)) => Err(error(index, problem)),
            None => Ok(()),
        }
    }

    /// Checks that every step can have begun before a run of this length is over.
    ///
    /// # Errors
    /// The first step that begins too late, even if every event comes at once.
    pub fn validate_time(steps: &[Self], time: Duration) -> Result<(), ScheduleError> {
        let mut ends: BTreeMap<Option<&str>, Duration> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let before = ends.entry(step.track.as_deref()).or_default();
            let after = step.after.unwrap_or_default().0;
            let start = step.at.map_or(*before, |at| at.0) + after;
            let last = start + step.until_last();
            if last > time && !step.optional {
                let what =
                    format!("it begins after {last:?} at the earliest, and the run has {time:?}");
                return Err(ScheduleError {
                    number: index + 1,
                    name: step.name.clone(),
                    key: Some(if step.at.is_some() { "at" } else { "after" }),
                    problem: what,
                    hint: Some("give the run more `time`, or make the step `optional`".to_owned()),
                });
            }
            *before = (*before).max(last + step.lasts.unwrap_or_default().0);
        }
        Ok(())
    }

    fn validate(&self, known: &Known<'_>, earlier: &BTreeSet<&str>) -> Result<(), Wrong> {
        self.validate_times()?;
        self.validate_lasting()?;
        if let Some(pattern) = &self.on {
            pattern.validate(known).map_err(|problem| (Some("on"), problem))?;
        }
        let info = self.fault.info();
        if info.needs == Needs::Target && self.target.is_none() {
            return Err(wrong("do", format!("`{}` needs a `target`", info.name)));
        }
        if info.needs == Needs::Links && self.links.is_empty() {
            let what = format!("`{}` needs `links`, for example [\"n1->n2\"]", info.name);
            return Err(wrong("do", what));
        }
        let takes_links = info.needs == Needs::Links || self.fault == Fault::Heal;
        if !self.links.is_empty() && !takes_links {
            return Err(wrong("links", format!("`{}` takes no `links`", info.name)));
        }
        if self.by.is_some() && self.fault != Fault::Advance {
            return Err(wrong("by", format!("`{}` takes no `by`", info.name)));
        }
        if self.change.is_some() != (self.fault == Fault::Reconfigure) {
            let what = format!(
                "`{}` takes {} `change`",
                info.name,
                if self.change.is_some() { "no" } else { "a" }
            );
            return Err(wrong("change", what));
        }
        self.validate_keys().map_err(|what| (None, Problem { what, hint: None }))?;
        let ends = self.links.iter().flat_map(|link| [&link.from, &link.to]);
        let nobody = |target: &&Target| **target == Target::Not(Box::new(Target::All));
        if let Some(target) = self.target.iter().chain(ends).find(nobody) {
            return Err(wrong("target", format!("`{target}` is nobody")));
        }
        for target in self.targets() {
            match target {
                Target::Node(node) if !known.nodes.contains(node) => {
                    return Err((Some("target"), no_node(*node)));
                }
                Target::Step(name) if !earlier.contains(name.as_str()) => {
                    let near = nearest(name, earlier.iter().copied());
                    let what = format!("there is no earlier step `{name}`");
                    return Err(match near {
                        Some(near) => {
                            wrong_with("target", what, format!("did you mean `step:{near}`?"))
                        }
                        None => wrong("target", what),
                    });
                }
                Target::Trigger if self.on.is_none() => {
                    return Err(wrong("target", "`trigger` needs an `on`"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), Wrong> {
        if self.at.is_some() && self.on.is_some() {
            return Err(wrong("at", "`at` and `on` exclude each other"));
        }
        if self.within.is_some() && self.on.is_none() {
            return Err(wrong("within", "`within` needs an `on`"));
        }
        if self.anyway && self.within.is_none() {
            return Err(wrong("anyway", "`anyway` needs a `within`"));
        }
        if self.every.is_some() && self.times.is_none() {
            let hint = "say how often, for example `times = 5`";
            return Err(wrong_with("every", "`every` without `times` would never end", hint));
        }
        if self.every.is_some_and(|every| every.0.is_zero()) {
            return Err(wrong("every", "`every` is longer than nothing"));
        }
        match self.times {
            Some(0) => Err(wrong("times", "`times` starts at 1")),
            Some(times) if times > TIMES_MAX => {
                Err(wrong("times", format!("`times` is {TIMES_MAX} at most")))
            }
            Some(times)
                if times > 1
                    && (self.every.is_none() && self.on.is_none())
                    && (self.at.is_some() || self.after.is_none()) =>
            {
                let hint = "for example `every = \"500ms\"`";
                Err(wrong_with("times", "`times` needs an `every`, an `after` or an `on`", hint))
            }
            _ => Ok(()),
        }
    }

    fn validate_lasting(&self) -> Result<(), Wrong> {
        if self.lasts.is_some() && self.fault.info().undo.is_none() {
            let what = format!("`{}` takes no `for`: nothing undoes it", self.fault);
            return Err(wrong("for", what));
        }
        if self.in_turn && (self.times.is_none() || self.target.is_none()) {
            let hint = "for example `target = \"all\"`, `times = 3` and `every = \"1s\"`";
            return Err(wrong_with("in-turn", "`in-turn` needs a `target` and `times`", hint));
        }
        Ok(())
    }

    /// Whatever it names as `$name` has been captured by then.
    fn validate_captured(&self, captured: &BTreeMap<String, bool>) -> Result<(), Wrong> {
        for target in self.targets() {
            let Target::Captured(name) = target else { continue };
            match captured.get(name) {
                Some(true) => {}
                Some(false) => {
                    let what = format!("`${name}` is captured from a field that holds no node");
                    return Err(wrong("target", what));
                }
                None => return Err((Some("target"), not_captured(name))),
            }
        }
        Ok(())
    }
}

/// Refuses a step that undoes what no earlier step did.
///
/// A node that ended by itself can be restarted, so a restart is not asked for its kill.
fn undoes_something(
    steps: &[Step],
    places: &BTreeMap<&str, usize>,
    index: usize,
) -> Result<(), Wrong> {
    let step = &steps[index];
    // A reset is over when it is done, but its links count as bad until they are healed.
    let heals_reset = |fault: Fault| (fault, step.fault) == (Fault::Reset, Fault::Heal);
    let undone: Vec<_> = (Fault::ALL.iter())
        .filter(|info| info.info().undo == Some(step.fault) || heals_reset(**info))
        .map(|info| info.name())
        .collect();
    if undone.is_empty() || step.fault == Fault::Restart {
        return Ok(());
    }
    let does = |other: &&Step| undone.contains(&other.fault.name());
    let name = step.fault.name();
    // By time, not by place: a step with `at` may stand anywhere.
    let comes_before = |place: usize| match (step.at, steps[place].at) {
        (Some(at), Some(other)) => other <= at,
        _ => place < index || step.track != steps[place].track,
    };
    // The nearest ones first, because the one that is undone mostly is.
    let earlier = || {
        let places = (0..index).rev().chain(index + 1..steps.len());
        places.filter(|place| comes_before(*place)).map(|place| &steps[place]).filter(does)
    };
    let list = undone.join("` or `");
    if earlier().next().is_none() {
        let what = format!("`{name}` undoes nothing: no step before it does `{list}`");
        return Err(wrong("do", what));
    }
    for target in step.targets() {
        match target {
            Target::Step(hit) => {
                if let Some(named) = places.get(hit.as_str()).map(|place| &steps[*place])
                    && !does(&named)
                {
                    let what = format!("`{name}` does not undo `{}` of step `{hit}`", named.fault);
                    return Err(wrong("target", what));
                }
            }
            // A partition heals around nodes that it does not name.
            Target::Node(node) if step.fault == Fault::Resume => {
                let may_hit = |other: &Step| {
                    other.targets().iter().any(|t| !matches!(t, Target::Node(n) if n != node))
                };
                if !earlier().any(may_hit) {
                    let what = format!("no step before it does `{list}` to {node}");
                    return Err(wrong("target", what));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first step that waits for itself, or for a step that waits for it.
fn first_that_never_runs(steps: &[Step]) -> Option<(usize, Wrong)> {
    let mut can_end = vec![false; steps.len()];
    let places: BTreeMap<_, _> = places_of(steps);
    loop {
        let before = can_end.clone();
        // Whether every step so far can end, by track.
        let mut tracks: BTreeMap<Option<&str>, bool> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let track = tracks.entry(step.track.as_deref()).or_insert(true);
            let comes = |name: &str| places.get(name).is_some_and(|i| can_end[*i]);
            let triggered = step.on.as_ref().is_none_or(|on| on.can_come(&comes));
            // One that gives up after a while goes on without its event.
            can_end[index] = (step.at.is_some() || *track) && (triggered || step.within.is_some());
            *track &= can_end[index];
        }
        if can_end == before {
            break;
        }
    }
    let index = can_end.iter().position(|can| !can)?;
    let waits = steps[index].on.as_ref().map(|on| on.steps().join("`, `")).unwrap_or_default();
    let what = format!("it can never run: it waits for step `{waits}`, which waits for it");
    let hint = "put the steps in tracks of their own (`track = \"…\"`), or wait for an earlier one";
    Some((index, wrong_with("on", what, hint)))
}

fn places_of(steps: &[Step]) -> BTreeMap<&str, usize> {
    let named = steps.iter().enumerate().filter_map(|(i, step)| Some((step.name.as_deref()?, i)));
    // Of two of the same name, which is refused elsewhere, the first.
    named.rev().collect()
}

/// Whether a fault cuts links by a shape, and which.
pub(crate) fn shape_of(fault: Fault) -> Option<Shape> {
    fault.name().parse().ok()
}
