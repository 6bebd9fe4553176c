//! What the faults of a node's machine share: telling the node, and its answer as the proof.

use tokio::task::JoinSet;
use usurper_history::{NodeId, control::Command};

use super::{Act, Host, Pending, Seen};

/// Why a node cannot be told now, or nothing: one that is down learns it when it starts.
pub(super) fn misfit(node: NodeId, host: &dyn Host) -> Option<&'static str> {
    host.is_frozen(node).then_some("is paused")
}

/// Tells each node of the step, all at once.
pub(super) fn tell(act: &Act, host: &mut dyn Host, command: &Command) -> Pending {
    let mut answers = JoinSet::new();
    for node in act.nodes.iter().copied() {
        let bending = host.bend(node, command);
        answers.spawn(async move {
            match bending.await {
                Ok(text) => Ok(format!("{node}: {text}")),
                Err(why) => Err(format!("{node}: {why}")),
            }
        });
    }
    let clock = act.clock;
    Box::pin(async move {
        let mut seen = Seen::new(0);
        while let Some(answer) = answers.join_next().await {
            seen.add(answer.unwrap_or_else(|error| Err(error.to_string())));
        }
        seen.acted_ns = clock.now_ns();
        seen.proofs.sort();
        seen
    })
}
