//! `reorder`: a message waits until the next one has overtaken it, or for `delay` if none comes.

use std::time::Duration;

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Reorder,
    name: "reorder",
    summary: "let messages be overtaken by the next one, with a `probability` (1 if not given)",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

/// A longer wait is a mistake: no run lasts for that.
const DELAY_MAX: Duration = Duration::from_secs(600);
/// How long a message waits to be overtaken.
const WITHIN: Duration = Duration::from_millis(100);

pub(super) struct Reorder;

impl Inject for Reorder {
    fn keys(&self) -> &'static [&'static str] {
        &["probability", "kinds", "count", "delay"]
    }

    fn needs_frames(&self) -> bool {
        true
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let long = step.delay.is_some_and(|delay| delay.0 > DELAY_MAX);
        if long { Err(format!("`delay` is at most {DELAY_MAX:?}")) } else { Ok(()) }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        let within = step.delay.map_or(WITHIN, |delay| delay.0);
        let condition = Condition::Reorder { chance: links::chance(step), within };
        Ok(links::install(act, host, condition, Proof::InForce))
    }
}
