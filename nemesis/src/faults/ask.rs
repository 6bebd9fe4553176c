//! What a client asks of a node as a step of a schedule: `advance`, `reconfigure` and `transfer`.

use serde_json::Value;
use usurper_history::{NodeId, OpRecord, OpType};

use super::{Act, Host, HostError, Pending, Seen};

/// Who does not run cannot be asked.
pub(super) fn misfit(node: NodeId, host: &dyn Host) -> Option<&'static str> {
    host.process(node).is_none().then_some("does not run")
}

/// Asks each node, and waits for all answers; `proof` is what a node is said to have done that did it.
pub(super) fn ask(
    act: &Act,
    host: &mut dyn Host,
    f: &'static str,
    value: &Value,
    proof: fn(&OpRecord) -> String,
) -> Result<Pending, HostError> {
    let mut operations = Vec::new();
    for node in &act.nodes {
        operations.push((*node, host.operate(*node, f, value.clone())?));
    }
    let clock = act.clock;
    Ok(Box::pin(async move {
        let mut seen = Seen::new(clock.now_ns());
        for (node, operation) in operations {
            let op = operation.await;
            let why = op.error.clone().unwrap_or_default();
            match op.op_type {
                OpType::Ok => seen.proofs.push(format!("{node} {}", proof(&op))),
                OpType::Fail => seen.refused = Some(format!("{node}: {why}")),
                OpType::Info | OpType::Invoke => seen.unclear.push(format!("{node}: {why}")),
            }
            seen.ops.push(op);
        }
        seen
    }))
}

/// What came back.
pub(super) fn answered(op: &OpRecord) -> String {
    let answer = op.value.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("answered {answer}")
}
