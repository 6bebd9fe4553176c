//! `kill`: SIGKILL. What the node wrote survives in the page cache, synced or not.

use nix::sys::signal::Signal;
use usurper_history::{Effect, NodeId};

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    signal::{Brings, send},
};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Kill,
    name: "kill",
    summary: "SIGKILL; what the node wrote survives, synced or not",
    needs: Needs::Target,
    undo: Some(Fault::Restart),
    effect: Effect::Down,
};

pub(super) struct Kill;

impl Inject for Kill {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_none().then_some("does not run")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        act.nodes.iter().for_each(|node| host.expect_exit(*node));
        Ok(send(act, host, Signal::SIGKILL, Brings::Gone))
    }
}
