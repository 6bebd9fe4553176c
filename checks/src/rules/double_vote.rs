//! `double-vote` (S3): a node gives its one vote of a term to one candidate, across restarts.
//!
//! Rule: per node and term there is one beneficiary of what a node can do only once. In Raft that is
//! its vote (`vote-cast` that is no prevote, `persist` of a `vote`, or of a `hard-state` for somebody).
//! In Zab and `fle` votes are changed
//! freely, and what is given once is the acceptance of an epoch: `persist` of `accepted-epoch` for a
//! leader, `ack` of kind `ackepoch`, and what `node-start` found.
//!
//! A node that comes back with an empty disk under its old id is not excused: it gives twice.
//!
//! What it cannot see: votes of protocols whose ballots contain the proposer, which cannot be given
//! twice.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{has_ballots, term_word},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "double-vote",
    summary: "a node supports one leader per term, also after a restart",
    source: "S3; F-010",
    needs: &["persist"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct DoubleVote {
    word: &'static str,
    /// Whether votes may be changed, and only an acceptance is final.
    epochs: bool,
    ballots: bool,
    findings: Findings,
    given: BTreeMap<(NodeId, u64), (NodeId, Mark)>,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    let word = term_word(&header.system);
    Box::new(DoubleVote {
        word,
        epochs: word == "epoch",
        ballots: has_ballots(&header.system),
        findings: Findings::default(),
        given: BTreeMap::new(),
    })
}

impl Check for DoubleVote {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        let Body::Node(node) = &record.body else { return };
        let given = match &node.event {
            Event::NodeStart { persisted, .. } if self.epochs => {
                persisted.accepted_leader.zip(persisted.accepted_epoch)
            }
            Event::NodeStart { persisted, .. } => persisted.vote.zip(persisted.term),
            Event::Persist { what, value: Some(term), bound_to: Some(whom), ok: true, .. } => {
                let final_acts: &[&str] =
                    if self.epochs { &["accepted-epoch"] } else { &["vote", "hard-state"] };
                final_acts.contains(&what.as_str()).then_some((*whom, *term))
            }
            Event::Ack { to, kind, in_term, .. } if self.epochs && kind == "ackepoch" => {
                Some((*to, *in_term))
            }
            Event::VoteCast { candidate, in_term, prevote: false, .. } if !self.epochs => {
                Some((*candidate, *in_term))
            }
            _ => None,
        };
        if let Some((whom, term)) = given.filter(|_| !self.ballots) {
            self.give(Mark { t: record.t, line }, node.node, whom, term);
        }
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

impl DoubleVote {
    fn give(&mut self, now: Mark, node: NodeId, whom: NodeId, term: u64) {
        let (first, since) = *self.given.entry((node, term)).or_insert((whom, now));
        if first == whom {
            return;
        }
        // One sentence for each change of mind.
        self.given.insert((node, term), (whom, now));
        let word = self.word;
        let what = if self.epochs { "accepted" } else { "voted for" };
        self.findings.push(Finding {
            sentence: format!("{node} {what} {first} and then {whom} as leader of {word} {term}"),
            nodes: nodes([node, first, whom]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
