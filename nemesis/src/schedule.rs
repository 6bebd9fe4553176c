//! A schedule: steps, each with when it runs, what it does, and to whom. Plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use usurper_history::{
    Effect, NodeId,
    control::{ClockName, DiskError, DiskOp, FailpointAct},
};

use crate::{
    fault::Fault,
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
/// before it in its track have ended; with `on`, also for an event that happens after the step
/// before it in its track has begun. Tracks run side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// By which other steps can name this one, or whom it hit (`step:NAME`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The steps of one track run one after another; those without one are a track, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// Time since the run phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<TimeSpan>,
    /// How long to wait once the step could run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TimeSpan>,
    /// How long `on` may take, from when the step is armed; then the step is missed, and the steps
    /// after it go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<TimeSpan>,
    /// Run all the same once `within` is over, instead of being missed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyway: bool,
    /// How long it lasts: then it is undone where it was done, and only then the step has ended.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<TimeSpan>,
    /// From the begin of one repetition to the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<TimeSpan>,
    /// How often the step runs; with `on` and without `every`, each time waits for its own event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Each time it hits the next one of its targets, in their order, and begins again with the first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_turn: bool,
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
    /// For `reconfigure`: who the members are to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// The run's verdict does not depend on whether this step ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What to wait for. Last, because TOML wants tables after values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Pattern>,
}

/// A change of the members: whole lists, or who comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Change {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub voters: Vec<NodeId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learners: Vec<NodeId>,
    /// As voters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<NodeId>,
    /// As learners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learn: Vec<NodeId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<NodeId>,
    /// Through a joint configuration, also where one step would do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joint: bool,
}

impl Step {
    /// A step that only has a fault and a target.
    pub fn new(fault: Fault, target: Option<Target>) -> Self {
        Self {
            name: None,
            track: None,
            at: None,
            after: None,
            within: None,
            anyway: false,
            lasts: None,
            every: None,
            times: None,
            in_turn: false,
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
            change: None,
            optional: false,
            on: None,
        }
    }

    /// What ends it after its time, if it has one and can be undone. Whom it hits is known only then.
    pub(crate) fn undo(&self) -> Option<Self> {
        let undo = self.lasts.and(self.fault.info().undo)?;
        Some(Self { track: self.track.clone(), ..Self::new(undo, None) })
    }

    /// How long it takes by the clock from when it runs first to when it runs for the last time.
    pub(crate) fn until_last(&self) -> Duration {
        let (after, lasts) = (self.after.unwrap_or_default().0, self.lasts.unwrap_or_default().0);
        let each = self.every.map_or(after + lasts, |every| every.0.max(lasts));
        each * self.times.unwrap_or(1).saturating_sub(1)
    }

    /// Every target that it names.
    pub(crate) fn targets(&self) -> Vec<&Target> {
        let ends = self.links.iter().flat_map(|link| [&link.from, &link.to]);
        self.target.iter().chain(ends).flat_map(Target::parts).collect()
    }

    /// What it does to the nodes and links that it names.
    pub fn effect(&self) -> Effect {
        self.fault.effect(self)
    }

    /// Whether it can be done only to links that carry our own frames.
    pub fn needs_frames(&self) -> bool {
        self.fault.needs_frames() || !self.kinds.is_empty()
    }

    /// Checks the keys that only some faults take.
    ///
    /// # Errors
    /// What is wrong with the first one that does not fit.
    pub(crate) fn validate_keys(&self) -> Result<(), String> {
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
