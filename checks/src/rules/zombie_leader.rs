//! `zombie-leader` (L8): a leader that reaches no majority gives up within the bound.
//!
//! Rule: a node that runs and holds an established tenure does not hold it for longer than `bound-ns`
//! while the nodes that it could hear from, itself included, are no quorum, neither of its own configuration
//! nor of any other that may be in force (see [`crate::configurations`]): the
//! others are down, stopped, or cut off from it in one direction or both. What is merely slow still
//! counts as reachable, and while a fault is between its begin and its end nothing is judged.
//!
//! What it cannot see: a leader that reaches a majority and does nothing for it.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Body, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    phrase::{duration, list},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "zombie-leader",
    summary: "a leader that reaches no majority gives up within the bound",
    source: "L8; F-035",
    needs: &["leader-elected", "role-change"],
    options: &[(
        "bound-ns",
        "how long a leader may lead without a majority (default: four times the election timeout)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct ZombieLeader {
    bound_ns: u64,
    findings: Findings,
    lonely: BTreeMap<NodeId, Lonely>,
}

/// A leader without a majority.
#[derive(Clone, Debug)]
struct Lonely {
    since: Mark,
    topology: Mark,
    reaches: Vec<NodeId>,
    overdue: bool,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let bound_ns = header.timing.election_timeout_ns.saturating_mul(4);
    Box::new(ZombieLeader {
        bound_ns: options.get("bound-ns").unwrap_or(bound_ns),
        findings: Findings::default(),
        lonely: BTreeMap::new(),
    })
}

impl Check for ZombieLeader {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        if timeline.is_topology_pending() {
            return;
        }
        for lonely in self.lonely.values_mut() {
            lonely.overdue |= timeline.stalls.lasted(lonely.since.t, now) > self.bound_ns;
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        // What a leader itself takes for the configuration may change without anything else.
        let tells =
            matches!(&record.body, Body::Node(node) if matches!(node.event, Event::Config { .. }));
        if !tells && !timeline.changed() {
            return;
        }
        let topology = timeline.topology_changed();
        for leader in timeline.members() {
            let lonely = Self::lonely_reach(*leader, timeline);
            let before = self.lonely.get(leader);
            let goes_on = lonely.is_some() && before.is_some_and(|it| it.topology == topology);
            if goes_on {
                continue;
            }
            self.close(*leader, now);
            if let Some(reaches) = lonely {
                let lonely = Lonely { since: now, topology, reaches, overdue: false };
                self.lonely.insert(*leader, lonely);
            }
        }
    }

    fn found(&self) -> bool {
        self.lonely.values().any(|it| it.overdue) || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        for leader in timeline.members() {
            self.close(*leader, timeline.last());
        }
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

impl ZombieLeader {
    /// Whom a leader reaches, itself included, if they are no quorum.
    fn lonely_reach(leader: NodeId, timeline: &Timeline) -> Option<Vec<NodeId>> {
        timeline.leaders.tenure(leader)?;
        let judged = timeline.is_judged() && !timeline.is_topology_pending();
        if !judged || !timeline.is_usable(leader) {
            return None;
        }
        let reached = |node: &NodeId| *node == leader || !timeline.is_severed(leader, *node);
        let reaches: BTreeSet<NodeId> =
            timeline.members().iter().copied().filter(reached).collect();
        let lonely = !timeline.configurations.may_be_quorum(leader, &reaches);
        lonely.then(|| reaches.into_iter().collect())
    }

    fn close(&mut self, leader: NodeId, now: Mark) {
        let Some(lonely) = self.lonely.remove(&leader).filter(|it| it.overdue) else { return };
        let others: Vec<_> = lonely.reaches.iter().filter(|node| **node != leader).collect();
        let whom = if others.is_empty() { "nobody".to_owned() } else { list(others) };
        self.findings.push(Finding {
            sentence: format!(
                "{leader} went on leading for {} although it reached {whom} (at most {} are allowed)",
                duration(now.t - lonely.since.t),
                duration(self.bound_ns)
            ),
            nodes: vec![leader],
            from_ns: lonely.since.t,
            to_ns: now.t,
            lines: lines([lonely.topology.line, lonely.since.line, now.line]),
        });
    }
}
