//! `terminate`: SIGTERM, which asks a node to stop cleanly.

use nix::sys::signal::Signal;
use usurper_history::{Effect, NodeId};

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    signal::{Brings, send},
};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Terminate,
    name: "terminate",
    summary: "SIGTERM, and wait for a clean stop",
    needs: Needs::Target,
    undo: Some(Fault::Restart),
    effect: Effect::Down,
};

pub(super) struct Terminate;

impl Inject for Terminate {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        match host.process(node) {
            None => Some("does not run"),
            // It would hear the signal only when it is resumed.
            Some(_) => host.is_frozen(node).then_some("is paused"),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        act.nodes.iter().for_each(|node| host.expect_exit(*node));
        Ok(send(act, host, Signal::SIGTERM, Brings::Gone))
    }
}
