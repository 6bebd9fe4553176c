//! `power`: SIGKILL, and every write that was not synced is gone. The node's own log knows how far it
//! was synced, and drops the rest when it is started again after this.

use nix::sys::signal::Signal;
use usurper_history::{Effect, NodeId};

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    signal::{Brings, send},
};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Power,
    name: "power",
    summary: "SIGKILL, and what the node wrote but did not sync is lost",
    needs: Needs::Target,
    undo: Some(Fault::Restart),
    effect: Effect::Down,
};

pub(super) struct Power;

impl Inject for Power {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_none().then_some("does not run")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        for node in &act.nodes {
            host.expect_exit(*node);
            host.lose_power(*node);
        }
        Ok(send(act, host, Signal::SIGKILL, Brings::Gone))
    }
}
