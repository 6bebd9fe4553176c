//! `term-rollback` (S4): what a node has promised it still knows after a restart.
//!
//! Rule: the term, the accepted epoch and the current epoch of a node never decrease: neither in
//! memory (`term-change`), nor on the disk (`persist`), nor from what an earlier incarnation stored or
//! told others (`ack` of an epoch, a vote) to what `node-start` finds. What an incarnation had in
//! memory only is no promise: its disk may have failed, or its power, before anybody heard of it.
//!
//! The round of fast leader election is no promise, and begins anew at each start. A node whose disk a
//! fault has wiped begins anew as well; what it does with its second chance is for `double-vote`.
//!
//! In the logs of servers (`etcd`) one that begins with an empty disk begins anew, because nobody tells who
//! emptied it.
//!
//! What it cannot see: a promise that a node tells to others without any event.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, Outcome::Skipped, Phase, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    phrase::tells_before_storing,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "term-rollback",
    summary: "no term or epoch of a node decreases, also over a restart",
    source: "S4; F-010, F-050",
    needs: &["node-start", "persist"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct TermRollback {
    findings: Findings,
    /// What was stored or told, over all incarnations.
    highest: BTreeMap<(NodeId, &'static str), (u64, Mark)>,
    /// What the running incarnation had in memory.
    in_memory: BTreeMap<(NodeId, &'static str), (u64, Mark)>,
    /// Nobody tells who empties a disk: one that is found empty is taken for a new node's.
    takes_fresh_for_new: bool,
}

const TERM: &str = "term";
const ACCEPTED: &str = "accepted epoch";
const CURRENT: &str = "current epoch";
/// How a value is said to have come, if it is in memory only.
const IN_MEMORY: &str = "went to";

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    let takes_fresh_for_new = tells_before_storing(&header.system);
    Box::new(TermRollback { takes_fresh_for_new, ..TermRollback::default() })
}

impl Check for TermRollback {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        if let Body::Fault(fault) = &record.body
            && fault.fault == "wipe"
            && fault.phase == Phase::End
            && fault.outcome != Some(Skipped)
        {
            // Whose disk was taken away has not forgotten anything by itself.
            self.highest.retain(|(node, _), _| !fault.nodes.contains(node));
        }
        let Body::Node(event) = &record.body else { return };
        let (now, node) = (Mark { t: record.t, line }, event.node);
        match &event.event {
            Event::NodeStart { persisted, fresh, .. } => {
                self.in_memory.retain(|(of, _), _| *of != node);
                if *fresh && self.takes_fresh_for_new {
                    self.highest.retain(|(of, _), _| *of != node);
                }
                let found = [
                    (TERM, persisted.term),
                    (ACCEPTED, persisted.accepted_epoch),
                    (CURRENT, persisted.current_epoch),
                ];
                for (what, value) in found {
                    if let Some(value) = value {
                        self.see(now, node, what, value, "started with");
                    }
                }
            }
            Event::Persist { what, value: Some(value), ok: true, .. } => {
                if let Some(what) = kind(what) {
                    self.see(now, node, what, *value, "stored");
                }
            }
            Event::TermChange { kind: what, to, .. } => {
                if let Some(what) = kind(what) {
                    self.see(now, node, what, *to, IN_MEMORY);
                    self.in_memory.insert((node, what), (*to, now));
                }
            }
            Event::Ack { kind, in_term, .. } if kind == "ackepoch" => {
                self.raise(now, node, ACCEPTED, *in_term);
            }
            Event::Ack { kind, in_term, .. } if kind == "vote" => {
                self.raise(now, node, TERM, *in_term);
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

fn kind(name: &str) -> Option<&'static str> {
    match name {
        "term" | "hard-state" => Some(TERM),
        "accepted-epoch" => Some(ACCEPTED),
        "current-epoch" => Some(CURRENT),
        _ => None,
    }
}

impl TermRollback {
    fn raise(&mut self, now: Mark, node: NodeId, what: &'static str, value: u64) {
        let highest = self.highest.entry((node, what)).or_insert((value, now));
        if value > highest.0 {
            *highest = (value, now);
        }
    }

    fn see(&mut self, now: Mark, node: NodeId, what: &'static str, value: u64, how: &str) {
        let seen = [&self.highest, &self.in_memory].map(|it| it.get(&(node, what)).copied());
        if let Some((highest, since)) = seen.into_iter().flatten().max_by_key(|(value, _)| *value)
            && value < highest
        {
            self.findings.push(Finding {
                sentence: format!("{node} {how} {what} {value} although it had been at {highest}"),
                nodes: vec![node],
                from_ns: since.t,
                to_ns: now.t,
                lines: lines([since.line, now.line]),
            });
            // What follows is measured against where it is now.
            self.highest.insert((node, what), (value, now));
            self.in_memory.remove(&(node, what));
            return;
        }
        if how != IN_MEMORY {
            self.raise(now, node, what, value);
        }
    }
}
