//! `restart`: starts a node that is down, with the disk that it left, and waits until it answers.

use tokio::time::{Duration, Instant, timeout_at};
use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Restart,
    name: "restart",
    summary: "start a node that is down, with the disk that it left",
    needs: Needs::Target,
    undo: None,
    effect: Effect::Up,
};

/// How long a node may take until it answers.
const READY_MAX: Duration = Duration::from_secs(10);

pub(super) struct Restart;

impl Inject for Restart {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        host.process(node).is_some().then_some("runs already")
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let mut starting = Vec::new();
        for node in &act.nodes {
            starting.push((*node, host.start(*node)?));
        }
        let clock = act.clock;
        Ok(Box::pin(async move {
            let mut seen = Seen::new(clock.now_ns());
            let end = Instant::now() + READY_MAX;
            for (node, mut started) in starting {
                let pid = started.process.pid();
                let answer = async {
                    tokio::select! {
                        _ = started.ready.wait_for(|ready| *ready) => {
                            Ok(format!("{node} answers as pid {pid}"))
                        }
                        exit = started.process.ended() => Err(format!("{node} ended with {exit}")),
                    }
                };
                seen.add(timeout_at(end, answer).await.unwrap_or_else(|_| {
                    Err(format!("{node} does not answer after {READY_MAX:?}"))
                }));
            }
            seen
        }))
    }
}
