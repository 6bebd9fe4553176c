//! `stale-leader-heartbeat` (S13): nobody accepts a heartbeat of a leader that is not his.
//!
//! Rule: a heartbeat is accepted only if
//!
//! 1. its term is not below the highest term that the acceptor had: in the envelope of its events,
//!    in a heartbeat that it accepted or in its `leader-known`, all within one incarnation, and over
//!    all incarnations what it persisted (`persist` of `hard-state`, `current-epoch`, `term` or
//!    `promise`, and what `node-start` says it found);
//! 2. its sender is the leader that it names;
//! 3. that leader is the one that the acceptor knows for this term, the one from whom it accepted
//!    heartbeats of this term before, and the one that was established in this term, as far as any
//!    of these is recorded. (Where ballots order the leaders, a higher proposer id of the same
//!    counter is a newer leader.)
//!
//! The highest term is kept apart from `leader-known`, so a node that first changes its mind and then
//! accepts is caught as well. A late heartbeat of an old term is normal; accepting it is not.
//!
//! The accepted epoch of Zab is no term here: a node that accepted an epoch which was never
//! established has not left the current one.
//!
//! What it cannot see: heartbeats that a node accepts without telling, and a term that was in memory
//! only when the node ended.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, Header, NodeId, NodeRecord, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{counted, has_ballots, term_word},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "stale-leader-heartbeat",
    summary: "nobody accepts a heartbeat of an older term or of a node that does not lead",
    source: "S13; seed 000 bug B4, F-022",
    needs: &["heartbeat"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct StaleLeaderHeartbeat {
    word: &'static str,
    findings: Findings,
    acceptors: BTreeMap<NodeId, Acceptor>,
    established: BTreeMap<u64, (NodeId, Mark)>,
    groups: BTreeMap<(NodeId, u32, NodeId, u64), Group>,
    accepted: u64,
}

/// A term and what shows it.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    term: u64,
    mark: Mark,
}

#[derive(Debug, Default)]
struct Acceptor {
    inc: u32,
    /// The highest term of the running incarnation.
    volatile: Floor,
    /// The highest term that any incarnation has put to its disk.
    durable: Floor,
    /// The leader of each term from whom a heartbeat was accepted first (of a ballot's counter:
    /// the highest).
    followed: BTreeMap<u64, (NodeId, Mark)>,
}

/// Wrongly accepted heartbeats of one kind.
#[derive(Debug)]
struct Group {
    place: Option<usize>,
    count: u64,
    why: String,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(StaleLeaderHeartbeat {
        word: term_word(&header.system),
        findings: Findings::default(),
        acceptors: BTreeMap::new(),
        established: BTreeMap::new(),
        groups: BTreeMap::new(),
        accepted: 0,
    })
}

impl Check for StaleLeaderHeartbeat {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(node) = &record.body else { return };
        let now = Mark { t: record.t, line };
        let acceptor = self.acceptors.entry(node.node).or_default();
        if node.inc > acceptor.inc {
            acceptor.inc = node.inc;
            acceptor.volatile = Floor::default();
        }
        // The last events of an ended incarnation can only have been written before its end.
        let running = node.inc == acceptor.inc;
        if running {
            acceptor.volatile.raise(node.term, now);
        }
        match &node.event {
            Event::NodeStart { persisted, .. } => {
                let terms = [persisted.term, persisted.current_epoch, persisted.promised];
                terms.into_iter().flatten().for_each(|term| acceptor.durable.raise(term, now));
            }
            Event::Persist { what, value: Some(term), ok: true, .. }
                if matches!(what.as_str(), "hard-state" | "current-epoch" | "promise") =>
            {
                acceptor.durable.raise(*term, now);
            }
            Event::LeaderKnown { leader: Some(_), in_term } if running => {
                acceptor.volatile.raise(*in_term, now);
            }
            Event::LeaderElected { in_term, established: true, .. }
                if !has_ballots(&node.proto) =>
            {
                self.established.entry(*in_term).or_insert((node.node, now));
            }
            Event::Heartbeat { dir, peer, msg_term, leader, .. } if dir == "accepted" => {
                self.accepted += 1;
                self.accept(now, node, *peer, *leader, *msg_term, timeline);
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        for ((acceptor, _, leader, term), group) in &self.groups {
            if let Some(finding) = group.place.and_then(|place| self.findings.get_mut(place)) {
                finding.sentence = format!(
                    "{acceptor} accepted {} of {leader} for {} {term} although {}",
                    counted(group.count, "heartbeat"),
                    self.word,
                    group.why
                );
            }
        }
        let unknown = (self.accepted == 0)
            .then(|| "nobody accepted a heartbeat, so none could be wrong".to_owned());
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl StaleLeaderHeartbeat {
    fn accept(
        &mut self,
        now: Mark,
        node: &NodeRecord,
        peer: Option<NodeId>,
        leader: NodeId,
        term: u64,
        timeline: &Timeline,
    ) {
        let sender = peer.unwrap_or(leader);
        let stale = self.why_stale(node, sender, leader, term, timeline);
        let acceptor = self.acceptors.entry(node.node).or_default();
        let Some((why, proof)) = stale else {
            let first = acceptor.followed.entry(term).or_insert((leader, now));
            if has_ballots(&node.proto) && leader > first.0 {
                *first = (leader, now);
            }
            if node.inc == acceptor.inc {
                acceptor.volatile.raise(term, now);
            }
            return;
        };
        let key = (node.node, node.inc, sender, term);
        if let Some(group) = self.groups.get_mut(&key) {
            group.count += 1;
            if let Some(finding) = group.place.and_then(|place| self.findings.get_mut(place)) {
                finding.extend(now.t, now.line);
            }
            return;
        }
        let place = self.findings.push(Finding {
            sentence: String::new(),
            nodes: nodes([node.node, sender]),
            from_ns: now.t,
            to_ns: now.t,
            lines: lines([proof.line, now.line]),
        });
        self.groups.insert(key, Group { place, count: 1, why });
    }

    /// Why an accepted heartbeat should not have been, and what shows it.
    fn why_stale(
        &self,
        node: &NodeRecord,
        sender: NodeId,
        leader: NodeId,
        term: u64,
        timeline: &Timeline,
    ) -> Option<(String, Mark)> {
        let acceptor = self.acceptors.get(&node.node)?;
        let word = self.word;
        let floor = if acceptor.volatile.term >= acceptor.durable.term {
            acceptor.volatile
        } else {
            acceptor.durable
        };
        if term < floor.term {
            return Some((format!("it had been in {word} {}", floor.term), floor.mark));
        }
        if sender != leader {
            return Some((format!("it names {leader} as the leader"), Mark::default()));
        }
        let known = timeline.leaders.known(node.node).filter(|_| node.inc == acceptor.inc);
        let rivals = [
            known.filter(|it| it.term == term).map(|it| ("it knew", it.leader, it.since)),
            acceptor.followed.get(&term).map(|it| ("it had followed", it.0, it.1)),
            self.established.get(&term).map(|it| ("the cluster had established", it.0, it.1)),
        ];
        let supersedes = |other: NodeId| has_ballots(&node.proto) && leader > other;
        let rival = rivals.into_iter().flatten().find(|it| it.1 != leader && !supersedes(it.1))?;
        Some((format!("{} {} as leader of that {word}", rival.0, rival.1), rival.2))
    }
}

impl Floor {
    fn raise(&mut self, term: u64, mark: Mark) {
        if term > self.term {
            *self = Self { term, mark };
        }
    }
}
