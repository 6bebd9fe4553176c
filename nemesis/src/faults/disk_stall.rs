//! `disk-stall`: each sync of a node blocks until the disk is restored. With it blocks the node, as programs do
//! that sync on the thread that also answers.

use usurper_history::{Effect, NodeId, control::Command};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskStall,
    name: "disk-stall",
    summary: "syncs block until the disk is restored",
    needs: Needs::Target,
    undo: Some(Fault::DiskRestore),
    effect: Effect::Degraded,
};

pub(super) struct DiskStall;

impl Inject for DiskStall {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(machine::tell(act, host, &Command::DiskStall {}))
    }
}
