//! `restart`: starts a node that is down, with the disk that it left, and waits until it answers.

use tokio::time::Duration;
use usurper_history::{Effect, NodeId};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
use crate::{deadline::within, fault::Fault};

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
            let mut answers = Vec::new();
            let answered = async {
                for (node, started) in &mut starting {
                    let pid = started.process.pid();
                    answers.push(tokio::select! {
                        _ = started.ready.wait_for(|ready| *ready) => {
                            Ok(format!("{node} answers as pid {pid}"))
                        }
                        exit = started.process.ended() => Err(format!("{node} ended with {exit}")),
                    });
                }
            };
            // They start at once, and have as much time together as each of them.
            _ = within(READY_MAX, answered).await;
            let late = starting.iter().skip(answers.len()).map(|(node, started)| {
                let ready = *started.ready.borrow();
                let late = || format!("{node} does not answer after {READY_MAX:?}");
                let pid = started.process.pid();
                ready.then(|| format!("{node} answers as pid {pid}")).ok_or_else(late)
            });
            answers.iter().cloned().chain(late).for_each(|answer| seen.add(answer));
            seen
        }))
    }
}
