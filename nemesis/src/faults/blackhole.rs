//! `blackhole`: directed links swallow everything, also the end of a connection and every refusal: what
//! a dead switch does. New connections are taken by the kernel, but nobody answers them.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Blackhole,
    name: "blackhole",
    summary: "swallow everything on directed links; new connections get no answer",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Blackhole;

impl Inject for Blackhole {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::install(act, host, Condition::Blackhole, Proof::Hangs))
    }
}
