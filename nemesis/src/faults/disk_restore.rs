//! `disk-restore`: the disk of a node works again, and damage to its log is undone unless the node has
//! written to it since.

use usurper_history::{Effect, NodeId, control::Command};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, damage, machine};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskRestore,
    name: "disk-restore",
    summary: "the disk works again; a damaged log of a node that is down is put right",
    needs: Needs::Target,
    undo: None,
    effect: Effect::Restored,
};

pub(super) struct DiskRestore;

impl Inject for DiskRestore {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut repairs = Vec::new();
        for node in &act.nodes {
            // Nobody writes to the files of a node that runs but itself.
            if host.process(*node).is_none() {
                repairs.extend(damage::repair(*node, host).transpose());
            }
        }
        let told = machine::tell(act, host, &Command::DiskRestore {});
        Ok(Box::pin(async move {
            let mut seen = told.await;
            repairs.into_iter().for_each(|repair| seen.add(repair));
            seen
        }))
    }
}
