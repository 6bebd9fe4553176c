//! `transfer`: a node asks its leader to hand over to it, as an operator would before maintenance.

use serde_json::Value;
use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, ask};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Transfer,
    name: "transfer",
    summary: "ask for leadership to be handed over to a node",
    needs: Needs::Target,
    undo: None,
    effect: Effect::None,
};

pub(super) struct Transfer;

impl Inject for Transfer {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        ask::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        ask::ask(act, host, "transfer", &Value::Null, |_| "asked for it".to_owned())
    }
}
