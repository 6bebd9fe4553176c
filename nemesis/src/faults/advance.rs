//! `advance`: a client command that logs transactions on one node only, so that nodes differ and an
//! election has something to choose from.

use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, ask};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Advance,
    name: "advance",
    summary: "a client command: log `by` transactions on a node, so that nodes differ",
    needs: Needs::Target,
    undo: None,
    effect: Effect::None,
};

pub(super) struct Advance;

impl Inject for Advance {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        ask::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let by = act.step.by.unwrap_or(1);
        ask::ask(act, host, "advance", &by.into(), ask::answered)
    }
}
