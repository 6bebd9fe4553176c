//! `duplicate`: messages are sent twice, one right after the other.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Duplicate,
    name: "duplicate",
    summary: "send messages twice, with a `probability` (1 if not given)",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Duplicate;

impl Inject for Duplicate {
    fn keys(&self) -> &'static [&'static str] {
        &["probability", "kinds", "count"]
    }

    fn needs_frames(&self) -> bool {
        true
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        Ok(links::install(act, host, Condition::Duplicate(links::chance(step)), Proof::InForce))
    }
}
