//! `cannot-rejoin` (L3): a node that can reach the leader follows it within the bound.
//!
//! Rule: while an established leader works with a connected majority, a node of that majority does not
//! go without knowing it as its leader, in its term, for longer than `bound-ns`, in one topology without a
//! change.
//! Restarted, healed or late: what a node was before does not matter.
//!
//! Where a node joins by the word of a majority (`fle`, ZooKeeper), it is judged only while it reaches a
//! quorum besides itself: the leader alone cannot tell it.
//!
//! A node that is no voter and no learner of every configuration that may be in force (see
//! [`crate::configurations`]) is not judged.
//!
//! What it cannot see: a follower that never catches up with the leader's log.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    phrase::{duration, joins_by_majority},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "cannot-rejoin",
    summary: "a node that can reach the leader follows it within the bound",
    source: "L3; F-045, F-047",
    needs: &["leader-elected", "role-change", "leader-known"],
    options: &[(
        "bound-ns",
        "how long a node may do without the leader (default: the header's leader bound)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct CannotRejoin {
    bound_ns: u64,
    joins_by_majority: bool,
    findings: Findings,
    outside: BTreeMap<NodeId, Outside>,
}

/// A node that does not follow the leader.
#[derive(Clone, Copy, Debug)]
struct Outside {
    leader: NodeId,
    term: u64,
    since: Mark,
    topology: Mark,
    overdue: bool,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    Box::new(CannotRejoin {
        bound_ns: options.get("bound-ns").unwrap_or(header.timing.leader_bound_ns),
        joins_by_majority: joins_by_majority(&header.system),
        findings: Findings::default(),
        outside: BTreeMap::new(),
    })
}

impl Check for CannotRejoin {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        if timeline.is_topology_pending() {
            return;
        }
        for outside in self.outside.values_mut() {
            outside.overdue |= timeline.stalls.lasted(outside.since.t, now) > self.bound_ns;
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        if !timeline.changed() {
            return;
        }
        let topology = timeline.topology_changed();
        for node in timeline.members() {
            let lacks = self.lacks(*node, timeline);
            let goes_on = self
                .outside
                .get(node)
                .is_some_and(|it| lacks == Some((it.leader, it.term)) && it.topology == topology);
            if goes_on {
                continue;
            }
            self.close(*node, now);
            if let Some((leader, term)) = lacks {
                let outside = Outside { leader, term, since: now, topology, overdue: false };
                self.outside.insert(*node, outside);
            }
        }
    }

    fn found(&self) -> bool {
        self.outside.values().any(|it| it.overdue) || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        for node in timeline.members() {
            self.close(*node, timeline.last());
        }
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

impl CannotRejoin {
    /// The leader that a node could follow and does not.
    fn lacks(&self, node: NodeId, timeline: &Timeline) -> Option<(NodeId, u64)> {
        if !timeline.is_judged() || !timeline.configurations.is_member(node) {
            return None;
        }
        let leader = timeline.leader()?;
        let term = timeline.leaders.tenure(leader)?.term;
        let meshed = timeline.connected_majority().contains(&node);
        let follows = timeline.leaders.follows(node, leader, term);
        let lacks = meshed && node != leader && !follows && timeline.is_connected(node, leader);
        (lacks && self.can_be_told(node, timeline)).then_some((leader, term))
    }

    fn can_be_told(&self, node: NodeId, timeline: &Timeline) -> bool {
        let heard = |other: &NodeId| *other != node && timeline.is_connected(node, *other);
        let tellers: BTreeSet<NodeId> = timeline.members().iter().copied().filter(heard).collect();
        !self.joins_by_majority || timeline.configurations.is_quorum(&tellers)
    }

    fn close(&mut self, node: NodeId, now: Mark) {
        let Some(outside) = self.outside.remove(&node).filter(|it| it.overdue) else { return };
        self.findings.push(Finding {
            sentence: format!(
                "{node} did not come to follow {} for {} although it could reach it (at most {} are \
                 allowed)",
                outside.leader,
                duration(now.t - outside.since.t),
                duration(self.bound_ns)
            ),
            nodes: vec![node, outside.leader],
            from_ns: outside.since.t,
            to_ns: now.t,
            lines: lines([outside.topology.line, outside.since.line, now.line]),
        });
    }
}
