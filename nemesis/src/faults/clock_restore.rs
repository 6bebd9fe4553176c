//! `clock-restore`: the clocks of a node run true again. A timer clock that is ahead stays ahead, since it never
//! goes back; the wall clock is set right.

use usurper_history::{Effect, NodeId, control::Command};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::ClockRestore,
    name: "clock-restore",
    summary: "both clocks run true again",
    needs: Needs::Target,
    undo: None,
    effect: Effect::Restored,
};

pub(super) struct ClockRestore;

impl Inject for ClockRestore {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(machine::tell(act, host, &Command::ClockRestore {}))
    }
}
