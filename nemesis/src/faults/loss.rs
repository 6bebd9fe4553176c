//! `loss`: messages are dropped by chance, one by one. Foreign bytes cannot be lost that way, because
//! TCP would send them again.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Loss,
    name: "loss",
    summary: "drop messages with a `probability`",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Loss;

impl Inject for Loss {
    fn keys(&self) -> &'static [&'static str] {
        &["probability", "kinds", "count"]
    }

    fn needs_frames(&self) -> bool {
        true
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let needs = || "`loss` needs a `probability`, for example 0.3".to_owned();
        step.probability.map(|_| ()).ok_or_else(needs)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        Ok(links::install(act, host, Condition::Loss(links::chance(step)), Proof::InForce))
    }
}
