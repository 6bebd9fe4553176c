//! What the process faults share: a signal to each node, and the kernel's word that it had its
//! effect.

use nix::sys::signal::Signal;
use tokio::time::{Duration, sleep};
use usurper_history::NodeId;

use super::{Act, Host, Pending, Seen};
use crate::{
    deadline::within,
    process::{Process, process_state},
};

/// How long a signal may take to show its effect.
const PROOF_MAX: Duration = Duration::from_secs(2);
/// How often a state that the kernel does not announce is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// What a signal is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brings {
    Gone,
    Stopped,
    Running,
}

pub(super) fn send(act: &Act, host: &dyn Host, signal: Signal, brings: Brings) -> Pending {
    let processes: Vec<_> =
        act.nodes.iter().filter_map(|node| Some((*node, host.process(*node)?))).collect();
    let clock = act.clock;
    Box::pin(async move {
        let mut sent = Vec::new();
        for (_, process) in &processes {
            sent.push(process.signal(signal).await);
        }
        let mut seen = Seen::new(clock.now_ns());
        for ((node, process), sent) in processes.iter().zip(sent) {
            seen.add(match sent {
                Ok(()) => look(*node, process, brings).await,
                Err(error) => Err(format!("{node}: {signal} could not be sent: {error}")),
            });
        }
        seen
    })
}

async fn look(node: NodeId, process: &Process, brings: Brings) -> Result<String, String> {
    let pid = process.pid();
    if brings == Brings::Gone {
        return match within(PROOF_MAX, process.ended()).await {
            Some(exit) => Ok(format!("{node}: pid {pid} is gone, {exit}")),
            None => Err(format!("{node}: pid {pid} still runs after {PROOF_MAX:?}")),
        };
    }
    let mut last = '?';
    let seen = async {
        loop {
            match process_state(pid) {
                Some(letter) if (letter == 'T') == (brings == Brings::Stopped) => {
                    return Ok(format!("{node}: pid {pid} is in state {letter}"));
                }
                None => return Err(format!("{node}: pid {pid} is gone")),
                Some(letter) => last = letter,
            }
            sleep(LOOK).await;
        }
    };
    let seen = within(PROOF_MAX, seen).await;
    seen.unwrap_or_else(|| Err(format!("{node}: pid {pid} is still in state {last}")))
}
