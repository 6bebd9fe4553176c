//! `reconfigure`: a client asks a node to change who the members are.

use usurper_history::{Effect, NodeId, OpType};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
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
        host.process(node).is_none().then_some("does not run")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let change = act.step.change.clone().unwrap_or_default();
        let value = serde_json::to_value(change).expect("a change is plain data");
        let mut operations = Vec::new();
        for node in &act.nodes {
            operations.push((*node, host.operate(*node, "reconfigure", value.clone())?));
        }
        let clock = act.clock;
        Ok(Box::pin(async move {
            let mut seen = Seen::new(clock.now_ns());
            for (node, operation) in operations {
                let op = operation.await;
                let why = op.error.clone().unwrap_or_default();
                match op.op_type {
                    OpType::Ok => {
                        let answer = op.value.as_ref().map(ToString::to_string).unwrap_or_default();
                        seen.proofs.push(format!("{node} answered {answer}"));
                    }
                    OpType::Fail => seen.refused = Some(format!("{node}: {why}")),
                    OpType::Info | OpType::Invoke => seen.unclear.push(format!("{node}: {why}")),
                }
                seen.ops.push(op);
            }
            seen
        }))
    }
}
