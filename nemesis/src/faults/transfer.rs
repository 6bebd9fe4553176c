//! `transfer`: a node asks its leader to hand over to it, as an operator would before maintenance.

use serde_json::Value;
use usurper_history::{Effect, NodeId, OpType};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
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
        host.process(node).is_none().then_some("does not run")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut operations = Vec::new();
        for node in &act.nodes {
            operations.push((*node, host.operate(*node, "transfer", Value::Null)?));
        }
        let clock = act.clock;
        Ok(Box::pin(async move {
            let mut seen = Seen::new(clock.now_ns());
            for (node, operation) in operations {
                let op = operation.await;
                let why = op.error.clone().unwrap_or_default();
                match op.op_type {
                    OpType::Ok => seen.proofs.push(format!("{node} asked for it")),
                    OpType::Fail => seen.refused = Some(format!("{node}: {why}")),
                    OpType::Info | OpType::Invoke => seen.unclear.push(format!("{node}: {why}")),
                }
                seen.ops.push(op);
            }
            seen
        }))
    }
}
