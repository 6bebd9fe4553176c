//! `reconfigure`: a client asks a node to change who the members are.

use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, ask};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Reconfigure,
    name: "reconfigure",
    summary: "ask a node for a `change` of the members, for example { add = [\"n4\"] }",
    needs: Needs::Target,
    undo: None,
    effect: Effect::None,
};

pub(super) struct Reconfigure;

impl Inject for Reconfigure {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        ask::misfit(node, host)
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let change = act.step.change.clone().unwrap_or_default();
        let value = serde_json::to_value(change).expect("a change is plain data");
        ask::ask(act, host, "reconfigure", &value, ask::answered)
    }
}
