//! A schedule: steps, each with when it runs, what it does, and to whom. Plain data.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use usurper_history::{
    Effect, NodeId,
    control::{ClockName, DiskError, DiskOp, FailpointAct},
};

use crate::{
    fault::Fault,
    faults::Needs,
    holds,
    link::{ByteRate, MessageKind},
    pattern::Pattern,
    target::{LinkTarget, Target},
    time_span::{Jump, TimeSpan},
};

/// The steps of a run, in their order.
pub type Schedule = Vec<Step>;

/// One step.
///
/// A step with `at` runs at that time and waits for nobody. Any other step waits until all steps
/// before it in the list have ended; with `on`, also for an event that happens after the step before
/// it has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// By which later steps can name whom this one hit (`step:NAME`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Time since the run phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<TimeSpan>,
    /// How long to wait once the step could run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TimeSpan>,
    #[serde(rename = "do")]
    pub fault: Fault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkTarget>,
    /// For `advance`: how many transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<TimeSpan>,
    /// How often, and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// For `failpoint`: the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// For `failpoint`: what happens then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<FailpointAct>,
    /// For `disk-fail`: what fails; syncs if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<DiskOp>,
    /// For `disk-fail`: with what; `eio` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<DiskError>,
    /// For `disk-flip`: which byte of the log, from 0; the middle one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// For `disk-truncate`: how many bytes; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// For the clock faults: which one; `timer` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockName>,
    /// For `clock-jump`: how far, and whether forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Jump>,
    /// For `clock-rate`: a multiple of real time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// For link faults: only messages of these kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<MessageKind>,
    /// For `delay`: by how much more, by chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<TimeSpan>,
    /// For `throttle`: bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<ByteRate>,
    /// Of one message, above 0 and up to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The run's verdict does not depend on whether this step ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The event to wait for. Last, because TOML wants tables after values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Pattern>,
}

/// A schedule that cannot run.
#[derive(Debug, thiserror::Error)]
#[error("step {number}{}: {problem}", name.as_ref().map(|name| format!(" (`{name}`)")).unwrap_or_default())]
pub struct ScheduleError {
    /// Its place in the list, from 1.
    pub number: usize,
    pub name: Option<String>,
    pub problem: String,
}

impl Step {
    /// A step that only has a fault and a target.
    pub fn new(fault: Fault, target: Option<Target>) -> Self {
        Self {
            name: None,
            at: None,
            after: None,
            fault,
            target,
            links: Vec::new(),
            by: None,
            delay: None,
            count: None,
            point: None,
            act: None,
            op: None,
            error: None,
            byte: None,
            bytes: None,
            clock: None,
            jump: None,
            speed: None,
            kinds: Vec::new(),
            jitter: None,
            rate: None,
            probability: None,
            optional: false,
            on: None,
        }
    }

    /// Checks every step against a cluster before anything starts.
    ///
    /// # Errors
    /// The first step that names what does not exist, or lacks what its fault needs.
    pub fn validate_all(steps: &[Self], nodes: &[NodeId]) -> Result<(), ScheduleError> {
        let mut names = BTreeSet::new();
        for (index, step) in steps.iter().enumerate() {
            let number = index + 1;
            step.validate(nodes, &names).map_err(|problem| ScheduleError {
                number,
                name: step.name.clone(),
                problem,
            })?;
            if let Some(name) = &step.name
                && !names.insert(name.as_str())
            {
                let (name, problem) = (step.name.clone(), "the name is taken".to_owned());
                return Err(ScheduleError { number, name, problem });
            }
        }
        match holds::release_of_nothing(steps) {
            Some((index, problem)) => {
                let name = steps[index].name.clone();
                Err(ScheduleError { number: index + 1, name, problem })
            }
            None => Ok(()),
        }
    }

    fn validate(&self, nodes: &[NodeId], earlier: &BTreeSet<&str>) -> Result<(), String> {
        if self.at.is_some() && self.on.is_some() {
            return Err("`at` and `on` exclude each other".to_owned());
        }
        if let Some(pattern) = &self.on {
            pattern.validate(nodes)?;
        }
        let info = self.fault.info();
        if info.needs == Needs::Target && self.target.is_none() {
            return Err(format!("`{}` needs a `target`", info.name));
        }
        if info.needs == Needs::Links && self.links.is_empty() {
            return Err(format!("`{}` needs `links`, for example [\"n1->n2\"]", info.name));
        }
        let takes_links = info.needs == Needs::Links || self.fault == Fault::Heal;
        if !self.links.is_empty() && !takes_links {
            return Err(format!("`{}` takes no `links`", info.name));
        }
        if self.by.is_some() && self.fault != Fault::Advance {
            return Err(format!("`{}` takes no `by`", info.name));
        }
        self.validate_keys()?;
        let ends = self.links.iter().flat_map(|link| [&link.from, &link.to]);
        for target in self.target.iter().chain(ends) {
            match target {
                Target::Node(node) if !nodes.contains(node) => {
                    return Err(format!("there is no node `{node}` in this cluster"));
                }
                Target::Step(name) if !earlier.contains(name.as_str()) => {
                    return Err(format!("there is no earlier step `{name}`"));
                }
                Target::Trigger if self.on.is_none() => {
                    return Err("`trigger` needs an `on`".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What it does to the nodes and links that it names.
    pub fn effect(&self) -> Effect {
        self.fault.effect(self)
    }

    /// Whether it can be done only to links that carry our own frames.
    pub fn needs_frames(&self) -> bool {
        self.fault.needs_frames() || !self.kinds.is_empty()
    }

    /// The keys that only some faults take.
    fn validate_keys(&self) -> Result<(), String> {
        let given = [
            ("delay", self.delay.is_some()),
            ("count", self.count.is_some()),
            ("point", self.point.is_some()),
            ("act", self.act.is_some()),
            ("op", self.op.is_some()),
            ("error", self.error.is_some()),
            ("byte", self.byte.is_some()),
            ("bytes", self.bytes.is_some()),
            ("clock", self.clock.is_some()),
            ("jump", self.jump.is_some()),
            ("speed", self.speed.is_some()),
            ("kinds", !self.kinds.is_empty()),
            ("jitter", self.jitter.is_some()),
            ("rate", self.rate.is_some()),
            ("probability", self.probability.is_some()),
        ];
        let mut given = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key);
        if let Some(key) = given.find(|key| !self.fault.keys().contains(key)) {
            return Err(format!("`{}` takes no `{key}`", self.fault));
        }
        if self.probability.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return Err("`probability` is above 0 and at most 1".to_owned());
        }
        if self.count == Some(0) {
            return Err("`count` starts at 1".to_owned());
        }
        self.fault.check(self)
    }
}
