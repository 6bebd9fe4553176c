//! `pause`: SIGSTOP. The process is not dead: its sockets stay open and fill.

use nix::sys::signal::Signal;
use usurper_history::{Effect, NodeId};

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    signal::{Brings, send},
};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Pause,
    name: "pause",
    summary: "SIGSTOP; sockets stay open and fill",
    needs: Needs::Target,
    undo: Some(Fault::Resume),
    effect: Effect::Frozen,
};

pub(super) struct Pause;

impl Inject for Pause {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        match host.process(node) {
            None => Some("does not run"),
            Some(_) => host.is_frozen(node).then_some("is paused already"),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        act.nodes.iter().for_each(|node| host.set_frozen(*node, true));
        Ok(send(act, host, Signal::SIGSTOP, Brings::Stopped))
    }
}
