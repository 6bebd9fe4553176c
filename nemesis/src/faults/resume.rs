//! `resume`: SIGCONT. The node meets its backlog in one burst, which is the test.

use nix::sys::signal::Signal;
use usurper_history::{Effect, NodeId};

use super::{
    Act, FaultInfo, Host, HostError, Inject, Needs, Pending,
    signal::{Brings, send},
};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Resume,
    name: "resume",
    summary: "SIGCONT; the node meets its backlog in one burst",
    needs: Needs::Target,
    undo: None,
    effect: Effect::Thawed,
};

pub(super) struct Resume;

impl Inject for Resume {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        let paused = host.process(node).is_some() && host.is_frozen(node);
        (!paused).then_some("is not paused")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        act.nodes.iter().for_each(|node| host.set_frozen(*node, false));
        Ok(send(act, host, Signal::SIGCONT, Brings::Running))
    }
}
