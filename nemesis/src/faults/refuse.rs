//! `refuse`: nodes cannot make new connections to others; those that are open carry on. The direction
//! is that of the dial.

use usurper_history::Effect;

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    links::{self, Proof},
};
use crate::{fault::Fault, link::Condition};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Refuse,
    name: "refuse",
    summary: "refuse new connections that the first node of a link makes to the second",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Degraded,
};

pub(super) struct Refuse;

impl Inject for Refuse {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::install(act, host, Condition::Refuse, Proof::Refuses))
    }
}
