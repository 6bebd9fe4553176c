//! `failpoint-release`: disarms every failpoint of a node, and lets it go on where it stands still.

use usurper_history::{Effect, NodeId, control::Command};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::FailpointRelease,
    name: "failpoint-release",
    summary: "disarm all failpoints, and let go on who stands still at one",
    needs: Needs::Target,
    undo: None,
    effect: Effect::Restored,
};

pub(super) struct FailpointRelease;

impl Inject for FailpointRelease {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(machine::tell(act, host, &Command::FailpointRelease {}))
    }
}
