//! `throttle`: a link carries so many bytes per second. A message leaves as a whole when the link is
//! free, and keeps it busy for as long as its bytes take.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Throttle,
    name: "throttle",
    summary: "carry no more than `rate` bytes per second",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Throttle;

impl Inject for Throttle {
    fn keys(&self) -> &'static [&'static str] {
        &["rate"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        let needs = || "`throttle` needs a `rate`, for example \"100KB\"".to_owned();
        step.rate.map(|_| ()).ok_or_else(needs)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        let Some(rate) = step.rate else { return Err("a throttle without a `rate`".into()) };
        let pending = links::install(act, host, Condition::Throttle { rate }, Proof::InForce);
        Ok(pending)
    }
}
