//! `double-vote` (S3): a node gives its one vote of a term to one candidate, across restarts.
//!
//! Rule: per node and term there is one beneficiary of what a node can do only once. In Raft that is
//! its vote (`vote-cast` that is no prevote, `persist` of a `vote`, or of a `hard-state` for somebody).
//! In Zab and `fle` votes are changed
//! freely, and what is given once is the acceptance of an epoch: `persist` of `accepted-epoch` for a
//! leader, `ack` of kind `ackepoch`, and what `node-start` found.
//!
//! Where a system tells of a vote before it is on the disk (`etcd`, whose log is that of a program that
//! knows nothing of us), a vote that was only cast binds its incarnation: the next one may not know of
//! it, if nobody heard it. A `persist` binds all. There, too, two candidates that each counted the vote
//! of one node (`vote-msg` with `granted`) prove it, whatever that node's own log says.
//!
//! A node that comes back with an empty disk under its old id is not excused: it gives twice.
//!
//! What it cannot see: votes of protocols whose ballots contain the proposer, which cannot be given
//! twice.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Body, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{has_ballots, tells_before_storing, term_word},
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
    /// Whether a vote that was only cast may be forgotten by a restart.
    early: bool,
    findings: Findings,
    /// What each node gave in each term: for ever, or in one incarnation.
    given: BTreeMap<(NodeId, u64, Option<u32>), (NodeId, Mark)>,
    /// Who counted a node's vote in a term.
    counted: BTreeMap<(NodeId, u64), (NodeId, Mark)>,
    found: BTreeSet<(NodeId, u64)>,
}

/// A node, what it gave, and the incarnation that it binds, unless it binds all.
struct Given {
    node: NodeId,
    whom: NodeId,
    term: u64,
    inc: Option<u32>,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    let word = term_word(&header.system);
    Box::new(DoubleVote {
        word,
        epochs: word == "epoch",
        ballots: has_ballots(&header.system),
        early: tells_before_storing(&header.system),
        findings: Findings::default(),
        given: BTreeMap::new(),
        counted: BTreeMap::new(),
        found: BTreeSet::new(),
    })
}

impl Check for DoubleVote {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        let Body::Node(node) = &record.body else { return };
        let now = Mark { t: record.t, line };
        let mut inc = None;
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
                inc = Some(node.inc).filter(|_| self.early);
                Some((*candidate, *in_term))
            }
            Event::VoteMsg { dir, peer, kind, msg_term, granted: Some(true), .. }
                if self.early && dir == "recv" && kind == "vote-resp" =>
            {
                self.count(now, *peer, node.node, *msg_term);
                None
            }
            _ => None,
        };
        if let Some((whom, term)) = given.filter(|_| !self.ballots) {
            self.give(now, &Given { node: node.node, whom, term, inc });
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        let nothing = self.given.is_empty() && self.counted.is_empty() && !self.ballots;
        let unknown = nothing.then(|| {
            let what = if self.epochs { "accepted an epoch" } else { "voted" };
            format!("no node told that it {what}")
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl DoubleVote {
    fn give(&mut self, now: Mark, given: &Given) {
        let Given { node, whom, term, inc } = *given;
        let (first, since) = *self.given.entry((node, term, inc)).or_insert((whom, now));
        let stored = self.given.get(&(node, term, None)).copied().unwrap_or((whom, now));
        let (first, since) = if first == whom { stored } else { (first, since) };
        if first == whom {
            return;
        }
        // One sentence for each change of mind.
        self.given.insert((node, term, inc), (whom, now));
        self.given.entry((node, term, None)).and_modify(|stored| *stored = (whom, now));
        self.found.insert((node, term));
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

    /// A candidate counts the vote of a node.
    fn count(&mut self, now: Mark, voter: NodeId, candidate: NodeId, term: u64) {
        let (first, since) = *self.counted.entry((voter, term)).or_insert((candidate, now));
        if first == candidate || !self.found.insert((voter, term)) {
            return;
        }
        let word = self.word;
        self.findings.push(Finding {
            sentence: format!("{voter} voted for {first} and for {candidate} as leader of {word} {term}: both counted it"),
            nodes: nodes([voter, first, candidate]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
