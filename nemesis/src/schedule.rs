//! A schedule: steps, each with when it runs, what it does, and to whom. Plain data.

use serde::{Deserialize, Serialize};

use crate::{
    fault::Fault,
    pattern::Pattern,
    target::{LinkTarget, Target},
    time_span::TimeSpan,
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
    /// From the begin of one repetition to the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<TimeSpan>,
    /// How often the step runs; with `on` and without `every`, each time waits for its own event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    #[serde(rename = "do")]
    pub fault: Fault,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkTarget>,
    /// For `advance`: how many transactions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<u64>,
    /// The run's verdict does not depend on whether this step ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What to wait for. Last, because TOML wants tables after values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Pattern>,
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
            every: None,
            times: None,
            fault,
            target,
            links: Vec::new(),
            by: None,
            optional: false,
            on: None,
        }
    }

    /// Every target that it names.
    pub(crate) fn targets(&self) -> Vec<&Target> {
        let ends = self.links.iter().flat_map(|link| [&link.from, &link.to]);
        self.target.iter().chain(ends).flat_map(Target::parts).collect()
    }
}
