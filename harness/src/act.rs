//! Doing one step: the act itself, and the proof that it took effect.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep, timeout},
};
use usurper_history::{Clock, FaultRecord, Link, NodeId, OpRecord, OpType, Outcome, Phase};
use usurper_nemesis::{Fault, Network, Process, Resolved, Step, process_state};

use crate::{
    controller::NodeState,
    system::{Operating, Operation},
};

/// How long a fault may take to show its effect.
const PROOF_MAX: Duration = Duration::from_secs(2);
/// How often a state that the kernel does not announce is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A step that has been begun.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) id: u64,
    /// Its place in the schedule; absent when it heals the cluster at the end.
    pub(crate) index: Option<usize>,
    /// The record of its beginning.
    pub(crate) record: FaultRecord,
    pub(crate) fault: Fault,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) links: Vec<Link>,
    pub(crate) clock: Clock,
}

/// A step that has ended, with the records that say how.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) index: Option<usize>,
    pub(crate) record: FaultRecord,
    pub(crate) ops: Vec<OpRecord>,
}

/// Those nodes of a resolved step that the fault can be done to now, and why not when there is none.
pub(crate) fn able(
    fault: Fault,
    asked: &Resolved,
    nodes: &BTreeMap<NodeId, NodeState>,
) -> (Resolved, Option<String>) {
    let runs = |node: &NodeId| nodes.get(node).is_some_and(|state| state.process.is_some());
    let frozen = |node: &NodeId| nodes.get(node).is_some_and(|state| state.frozen);
    let (fits, otherwise): (Box<dyn Fn(&NodeId) -> bool>, &str) = match fault {
        Fault::Kill | Fault::Advance => (Box::new(runs), "does not run"),
        Fault::Terminate => (Box::new(|n| runs(n) && !frozen(n)), "does not run, or is paused"),
        Fault::Pause => (Box::new(|n| runs(n) && !frozen(n)), "does not run, or is paused already"),
        Fault::Resume => (Box::new(|n| runs(n) && frozen(n)), "is not paused"),
        Fault::Restart => (Box::new(|n| !runs(n)), "runs already"),
        Fault::Cut | Fault::Isolate | Fault::Halves | Fault::Heal | Fault::Wait => {
            let none = asked.links.is_empty() && matches!(fault, Fault::Isolate | Fault::Halves);
            let reason = none.then(|| "there is no link to cut".to_owned());
            return (asked.clone(), reason);
        }
    };
    let able: Vec<_> = asked.nodes.iter().copied().filter(|node| fits(node)).collect();
    let reason = able.is_empty().then(|| {
        let names: Vec<_> = asked.nodes.iter().map(ToString::to_string).collect();
        format!("{} {otherwise}", names.join(", "))
    });
    (Resolved { nodes: able, links: asked.links.clone() }, reason)
}

/// What a step asked for, in the schedule's own words.
pub(crate) fn args(step: &Step) -> Map<String, Value> {
    let mut args = match serde_json::to_value(step) {
        Ok(Value::Object(args)) => args,
        _ => Map::new(),
    };
    args.retain(|key, _| matches!(key.as_str(), "name" | "target" | "links" | "by"));
    args
}

/// The record of a client's operation: its invocation, or its end.
pub(crate) fn op(
    process: u32,
    node: NodeId,
    operation: &Operation,
    end: Option<crate::system::Operated>,
) -> OpRecord {
    let (op_type, value, error) = match end {
        None => (OpType::Invoke, None, None),
        Some(end) => (end.op_type, end.value, end.error),
    };
    OpRecord {
        process,
        op_type,
        f: operation.f.to_owned(),
        key: None,
        value: Some(value.unwrap_or_else(|| operation.value.clone())),
        server: Some(node),
        session: None,
        serial: None,
        error,
    }
}

impl Act {
    /// It was not done.
    pub(crate) fn skipped(self, reason: String) -> Ended {
        self.end(Outcome::Skipped, None, None, Some(reason))
    }

    /// It was done and needs no proof.
    pub(crate) fn done(self, proof: String) -> Ended {
        let acted = self.clock.now_ns();
        self.end(Outcome::Installed, Some(acted), Some(proof), None)
    }

    fn end(
        self,
        outcome: Outcome,
        acted: Option<u64>,
        proof: Option<String>,
        reason: Option<String>,
    ) -> Ended {
        let record = FaultRecord {
            phase: Phase::End,
            args: Map::new(),
            trigger: None,
            outcome: Some(outcome),
            acted,
            proof,
            reason,
            ..self.record
        };
        Ended { index: self.index, record, ops: Vec::new() }
    }

    /// Joins what was proven and what could not be.
    fn proven(self, acted: u64, proofs: Vec<Result<String, String>>) -> Ended {
        let (proven, unclear): (Vec<_>, Vec<_>) = proofs.into_iter().partition(Result::is_ok);
        let join = |all: Vec<Result<String, String>>| {
            let texts: Vec<_> = all.into_iter().map(|one| one.unwrap_or_else(|e| e)).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        };
        let outcome = crate::controller::outcome_of(unclear.is_empty());
        self.end(outcome, Some(acted), join(proven), join(unclear))
    }

    /// Sends the signal of a process fault to each node and waits for its effect.
    pub(crate) async fn signal(self, processes: Vec<(NodeId, Process)>) -> Ended {
        let signal = match self.fault {
            Fault::Kill => Signal::SIGKILL,
            Fault::Terminate => Signal::SIGTERM,
            Fault::Pause => Signal::SIGSTOP,
            _ => Signal::SIGCONT,
        };
        let mut sent = Vec::new();
        for (_, process) in &processes {
            sent.push(process.signal(signal).await);
        }
        let acted = self.clock.now_ns();
        let mut proofs = Vec::new();
        for ((node, process), sent) in processes.iter().zip(sent) {
            proofs.push(match sent {
                Ok(()) => prove_signal(self.fault, *node, process).await,
                Err(error) => Err(format!("{node}: {signal} could not be sent: {error}")),
            });
        }
        self.proven(acted, proofs)
    }

    /// Waits until restarted nodes answer.
    pub(crate) async fn await_ready(
        self,
        nodes: Vec<(NodeId, watch::Receiver<bool>, Process)>,
        time: Duration,
    ) -> Ended {
        let acted = self.clock.now_ns();
        let end = Instant::now() + time;
        let mut proofs = Vec::new();
        for (node, mut ready, process) in nodes {
            let pid = process.pid();
            let answer = async {
                tokio::select! {
                    _ = ready.wait_for(|ready| *ready) => Ok(format!("{node} answers as pid {pid}")),
                    exit = process.ended() => Err(format!("{node} ended with {exit}")),
                }
            };
            proofs.push(
                tokio::time::timeout_at(end, answer)
                    .await
                    .unwrap_or_else(|_| Err(format!("{node} does not answer after {time:?}"))),
            );
        }
        self.proven(acted, proofs)
    }

    /// Cuts or heals the links. Returns how many frames had been dropped before.
    pub(crate) fn switch(&self, network: &Network) -> (u64, u64) {
        let dropped = network.frames_dropped();
        if self.fault == Fault::Heal {
            network.heal(&self.links);
        } else {
            network.cut(&self.links);
        }
        (dropped, self.clock.now_ns())
    }

    /// Knocks at the doors to see whether the links are what they should be.
    pub(crate) async fn prove_links(self, network: &Network, before: (u64, u64)) -> Ended {
        let (dropped, acted) = before;
        let healed = self.fault == Fault::Heal;
        let mut answers = tokio::task::JoinSet::new();
        let mut wrong = Vec::new();
        // A knock needs both directions, so a healed link whose other half is cut stays refused.
        let cut = network.cut_links();
        for link in self.links.clone() {
            let back = Link { from: link.to, to: link.from };
            if healed && cut.contains(&back) {
                continue;
            }
            let door = network.door(link.to);
            answers.spawn(async move { (link, usurper_nemesis::Network::knock(door, link).await) });
        }
        let mut right = 0;
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok((_, Ok(let_in))) if let_in == healed => right += 1,
                Ok((link, Ok(_))) => wrong.push(format!("{link} is not what it should be")),
                Ok((link, Err(error))) => wrong.push(format!("{link}: {error}")),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let proof = if healed {
            format!("{right} links let a knock in, {dropped} frames were dropped until then")
        } else {
            format!("{right} links refuse a knock")
        };
        let mut proofs = vec![Ok(proof)];
        proofs.extend(wrong.into_iter().map(Err));
        self.proven(acted, proofs)
    }

    /// Waits for a client's reply.
    pub(crate) async fn operate(
        self,
        process: u32,
        operation: Operation,
        operating: Operating,
    ) -> Ended {
        let node = self.nodes[0];
        let end = operating.await;
        let acted = self.clock.now_ns();
        let (outcome, reason) = match end.op_type {
            OpType::Ok => (Outcome::Installed, None),
            OpType::Fail => (Outcome::Skipped, end.error.clone()),
            OpType::Info | OpType::Invoke => (Outcome::Indeterminate, end.error.clone()),
        };
        let proof = end.value.as_ref().map(|value| format!("{node} answered {value}"));
        let record = op(process, node, &operation, Some(end));
        Ended { ops: vec![record], ..self.end(outcome, Some(acted), proof, reason) }
    }
}

/// Waits until the kernel shows that a signal had its effect.
async fn prove_signal(fault: Fault, node: NodeId, process: &Process) -> Result<String, String> {
    let pid = process.pid();
    match fault {
        Fault::Kill | Fault::Terminate => match timeout(PROOF_MAX, process.ended()).await {
            Ok(exit) => Ok(format!("{node}: pid {pid} is gone, {exit}")),
            Err(_) => Err(format!("{node}: pid {pid} still runs after {PROOF_MAX:?}")),
        },
        _ => {
            let stopped = fault == Fault::Pause;
            let end = Instant::now() + PROOF_MAX;
            loop {
                let state = process_state(pid);
                match state {
                    Some(letter) if (letter == 'T') == stopped => {
                        return Ok(format!("{node}: pid {pid} is in state {letter}"));
                    }
                    None => return Err(format!("{node}: pid {pid} is gone")),
                    Some(letter) if Instant::now() >= end => {
                        return Err(format!("{node}: pid {pid} is still in state {letter}"));
                    }
                    Some(_) => sleep(LOOK).await,
                }
            }
        }
    }
}
