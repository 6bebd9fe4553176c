//! `advance`: a client command that logs transactions on one node only, so that nodes differ and an
//! election has something to choose from.

use usurper_history::{Effect, NodeId, OpType};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
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
        host.process(node).is_none().then_some("does not run")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let by = act.step.by.unwrap_or(1);
        let mut operations = Vec::new();
        for node in &act.nodes {
            operations.push((*node, host.operate(*node, "advance", by.into())?));
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
