//! `delay`: messages are late. Those under the same delays stay in order, whatever the jitter.

use std::time::Duration;

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Delay,
    name: "delay",
    summary: "make messages late by `delay` and, by chance, by up to `jitter` more",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

/// A longer wait is a mistake: no run lasts for that.
const DELAY_MAX: Duration = Duration::from_secs(600);

pub(super) struct Delay;

impl Inject for Delay {
    fn keys(&self) -> &'static [&'static str] {
        &["delay", "jitter", "kinds"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.delay {
            Some(delay) if delay.0 + step.jitter.unwrap_or_default().0 <= DELAY_MAX => Ok(()),
            Some(_) => Err(format!("`delay` and `jitter` are at most {DELAY_MAX:?} together")),
            None => Err("`delay` needs a `delay`, for example \"200ms\"".to_owned()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let step = &act.step;
        let (delay, jitter) = (step.delay.unwrap_or_default().0, step.jitter.unwrap_or_default().0);
        let condition = Condition::Delay { delay, jitter, kinds: links::kinds(step) };
        Ok(links::install(act, host, condition, Proof::InForce))
    }
}
