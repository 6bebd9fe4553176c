//! `dual-leaders` (S1, S2): at most one node leads a term, and no deposed leader keeps a quorum.
//!
//! **S1**: two different nodes never have `leader-elected` of `established: true` in one term,
//! across all incarnations. Prospective leaders (`established: false`) never count: votes alone can
//! name two winners of one round. Where ballots order the leaders, the proposer's id is part of the
//! ballot, so one counter with two proposers is legal.
//!
//! **S2, for heartbeats**: let a leader of term `e2` be established at time `t`, and let `L` be
//! another node with a term `e1` not above `e2` (below it, where there are ballots). Count the distinct nodes that accept a heartbeat of `L` for
//! `e1` after `t`, and `L` itself if after `t` it holds the tenure of `e1` or sends such a
//! heartbeat. Once these are a quorum, two leaders have a quorum each.
//!
//! Why a correct protocol is never flagged: a quorum `Q` accepted `e2` before `t`, each member in its
//! own program order, and whoever accepted `e2` neither accepts `e1` again nor leads it (nor, if the
//! two are equal, accepts another leader of that term). So all that
//! are counted lie outside `Q`, and what is outside a quorum is no majority. That holds for any time
//! after `t`, therefore the count needs no window, and a minority that was paused or cut off may go
//! on accepting its old leader for as long as it likes. Who votes must be fixed: those of the first
//! configuration that is told count (the header's nodes, if none is), and from the first
//! change of the voters on, S2 is not judged and the verdict says so.
//!
//! Two live nodes that hold established tenures at once are only a warning: a deposed leader keeps
//! its role until it hears.
//!
//! What it cannot see: two leaders that commit or serve reads without heartbeats; those need
//! `commit` and `read` events.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Body, Event, Header, NodeId, NodeRecord, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{duration, has_ballots, list, term_word},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "dual-leaders",
    summary: "one term has one leader, and a deposed leader has no quorum of followers",
    source: "S1 and S2; F-021, F-022, F-035, F-092",
    needs: &["leader-elected"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct DualLeaders {
    word: &'static str,
    ballots: bool,
    members: BTreeSet<NodeId>,
    tells_heartbeats: bool,
    findings: Findings,
    warnings: Findings,
    /// The first established leader of each term (and proposer, where there are ballots).
    established: BTreeMap<(u64, Option<NodeId>), Established>,
    followings: BTreeMap<(u64, NodeId), Following>,
    overlaps: BTreeMap<(NodeId, NodeId), Overlap>,
    /// Where the membership changed.
    membership: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Established {
    leader: NodeId,
    term: u64,
    mark: Mark,
}

/// Who follows one old leader after a later one was established.
#[derive(Debug)]
struct Following {
    newer: Established,
    followers: BTreeMap<NodeId, Mark>,
    found: Option<usize>,
    done: bool,
}

/// Two tenures at once.
#[derive(Debug)]
struct Overlap {
    since: Mark,
    terms: (u64, u64),
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    let members: BTreeSet<NodeId> = header.nodes.iter().copied().collect();
    Box::new(DualLeaders {
        word: term_word(&header.system),
        ballots: has_ballots(&header.system),
        members,
        tells_heartbeats: header.events.iter().any(|event| event == "heartbeat"),
        findings: Findings::default(),
        warnings: Findings::default(),
        established: BTreeMap::new(),
        followings: BTreeMap::new(),
        overlaps: BTreeMap::new(),
        membership: None,
    })
}

impl Check for DualLeaders {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        self.overlap(now, timeline);
        let Body::Node(node) = &record.body else { return };
        if self.membership.is_none() && !timeline.configurations.is_unchanged() {
            self.membership = Some(line);
        }
        match &node.event {
            Event::LeaderElected { in_term, established: true, .. } => {
                self.one_leader_per_term(now, node, *in_term);
            }
            Event::Heartbeat { dir, peer: _, msg_term, leader, .. } => {
                let follows = dir == "accepted" || dir == "sent" && node.node == *leader;
                if follows && self.membership.is_none() {
                    self.follow(now, node.node, *leader, *msg_term, timeline);
                }
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        for (pair, overlap) in std::mem::take(&mut self.overlaps) {
            self.warn(pair, &overlap, timeline.last());
        }
        let note = if !self.tells_heartbeats {
            Some("judged by elections only: this system tells of no heartbeats".to_owned())
        } else {
            let judged = |line| {
                format!("heartbeats were judged up to line {line}, where the membership changes")
            };
            self.membership.map(judged)
        };
        Outcome { findings: self.findings, warnings: self.warnings, note, ..Outcome::default() }
    }
}

impl DualLeaders {
    fn one_leader_per_term(&mut self, now: Mark, node: &NodeRecord, term: u64) {
        let leader = node.node;
        let proposer = self.ballots.then_some(leader);
        let first = *self.established.entry((term, proposer)).or_insert(Established {
            leader,
            term,
            mark: now,
        });
        if first.leader == leader {
            return;
        }
        self.findings.push(Finding {
            sentence: format!(
                "{} and {leader} were both established as leader of {} {term}",
                first.leader, self.word
            ),
            nodes: nodes([first.leader, leader]),
            from_ns: first.mark.t,
            to_ns: now.t,
            lines: lines([first.mark.line, now.line]),
        });
    }

    /// A node accepts (or, as the leader itself, sends) a heartbeat of `leader` for `term`.
    fn follow(&mut self, now: Mark, node: NodeId, leader: NodeId, term: u64, timeline: &Timeline) {
        if !self.members.contains(&node) {
            return;
        }
        if !self.followings.contains_key(&(term, leader)) {
            // The first that was established: it leaves the least time to the old leader.
            let from = if self.ballots { term.saturating_add(1) } else { term };
            let newer = self.established.range((from, None)..).map(|(_, it)| *it);
            let Some(newer) = newer.filter(|it| it.leader != leader).min_by_key(|it| it.mark.line)
            else {
                return;
            };
            let following =
                Following { newer, followers: BTreeMap::new(), found: None, done: false };
            self.followings.insert((term, leader), following);
        }
        let Some(following) = self.followings.get_mut(&(term, leader)) else { return };
        if following.done {
            if let Some(place) = following.found
                && let Some(finding) = self.findings.get_mut(place)
            {
                finding.extend(now.t, now.line);
            }
            return;
        }
        following.followers.entry(node).or_insert(now);
        if self.members.contains(&leader)
            && let Some(tenure) = timeline.leaders.tenure(leader)
            && tenure.term == term
        {
            following.followers.entry(leader).or_insert(tenure.since);
        }
        let followers = following.followers.keys().copied().collect();
        if !timeline.configurations.is_quorum(&followers) {
            return;
        }
        following.done = true;
        let newer = following.newer;
        let others = following.followers.keys().filter(|it| **it != leader);
        let (word, new, newest) = (self.word, newer.leader, newer.term);
        let followers = list(others);
        let sentence = if term == newest {
            format!(
                "{leader} led {word} {term}, followed by {followers}, although {new} had been \
                 established as its leader: each had a quorum"
            )
        } else {
            format!(
                "{leader} went on leading {word} {term}, followed by {followers}, after {new} had \
                 been established as leader of {word} {newest}: each had a quorum"
            )
        };
        let proof = following.followers.values().map(|mark| mark.line);
        following.found = self.findings.push(Finding {
            sentence,
            nodes: nodes(following.followers.keys().copied().chain([newer.leader])),
            from_ns: newer.mark.t,
            to_ns: now.t,
            lines: lines(proof.chain([newer.mark.line, now.line])),
        });
    }

    fn overlap(&mut self, now: Mark, timeline: &Timeline) {
        if timeline.leaders.opened().is_none() && timeline.leaders.closed().is_none() {
            return;
        }
        let tenures: Vec<(NodeId, u64)> =
            timeline.leaders.tenures().map(|it| (it.node, it.term)).collect();
        let mut held = BTreeMap::new();
        for (place, one) in tenures.iter().enumerate() {
            for other in &tenures[place + 1..] {
                if one.1 != other.1 {
                    held.insert((one.0, other.0), (one.1, other.1));
                }
            }
        }
        let over: Vec<(NodeId, NodeId)> = self
            .overlaps
            .iter()
            .filter(|(pair, overlap)| held.get(*pair) != Some(&overlap.terms))
            .map(|(pair, _)| *pair)
            .collect();
        for pair in over {
            if let Some(overlap) = self.overlaps.remove(&pair) {
                self.warn(pair, &overlap, now);
            }
        }
        for (pair, terms) in held {
            self.overlaps.entry(pair).or_insert(Overlap { since: now, terms });
        }
    }

    fn warn(&mut self, (one, other): (NodeId, NodeId), overlap: &Overlap, now: Mark) {
        let (word, (first, second)) = (self.word, overlap.terms);
        self.warnings.push(Finding {
            sentence: format!(
                "{one} ({word} {first}) and {other} ({word} {second}) both held the role of leader \
                 for {}; legal as long as the older one achieves nothing",
                duration(now.t - overlap.since.t)
            ),
            nodes: vec![one, other],
            from_ns: overlap.since.t,
            to_ns: now.t,
            lines: lines([overlap.since.line, now.line]),
        });
    }
}
