//! `mutual-follow`: whoever is followed leads.
//!
//! Rule: a live follower does not believe in a live, connected node that is itself a follower for
//! longer than `bound-ns`, in one topology without a change. The worst form is a cycle (two nodes
//! follow each other and nobody leads); each node of a cycle is followed and follows, so the rule
//! covers it, and the finding names the whole cycle.
//!
//! A node that is looking, a candidate or a leader may be followed: it is in an election, and those
//! who follow it will hear. Changes in flight are legal, only what persists counts: in Raft a leader that
//! steps down, because it was removed, say, tells nobody, and who heard it last waits for up to two
//! election timeouts. The bound leaves one more to the machine.
//!
//! What it cannot see: a node that follows one that is down or cut off (`no-leader` sees it when the
//! others cannot elect), and a follower of an established leader that ignores it.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Header, NodeId, Record, Role};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::{duration, list},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "mutual-follow",
    summary: "no node keeps following one that follows another",
    source: "`mutual follow`; seed 000 counter-examples to bug B4, F-022",
    needs: &["leader-known", "role-change"],
    options: &[(
        "bound-ns",
        "how long a follower may believe in another follower (default: three times the election timeout)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct MutualFollow {
    bound_ns: u64,
    findings: Findings,
    /// Followers of followers.
    edges: BTreeMap<NodeId, Edge>,
    open: Vec<Open>,
    beliefs: bool,
}

/// A follower whose believed leader is a follower, too.
#[derive(Clone, Copy, Debug)]
struct Edge {
    leader: NodeId,
    since: Mark,
    known: Mark,
    told: bool,
}

/// A finding whose state still lasts.
#[derive(Debug)]
struct Open {
    /// At least one.
    edges: Vec<(NodeId, Edge)>,
    cycle: bool,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let patience = header.timing.election_timeout_ns.saturating_mul(3);
    Box::new(MutualFollow {
        bound_ns: options.get("bound-ns").unwrap_or(patience),
        findings: Findings::default(),
        edges: BTreeMap::new(),
        open: Vec::new(),
        beliefs: false,
    })
}

impl Check for MutualFollow {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        if timeline.is_topology_pending() {
            return;
        }
        let nodes: Vec<NodeId> = self.edges.keys().copied().collect();
        for node in nodes {
            let overdue = |edge: &Edge| self.is_overdue(edge, now, timeline);
            if self.edges.get(&node).is_some_and(|edge| !edge.told && overdue(edge)) {
                self.tell(node, now, timeline);
            }
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        if !timeline.changed() {
            return;
        }
        let now = Mark { t: record.t, line };
        let mut edges = BTreeMap::new();
        for node in timeline.members() {
            let Some(known) = timeline.leaders.known(*node) else { continue };
            self.beliefs = true;
            let follows = |node| timeline.leaders.role(node) == Some(Role::Follower);
            let holds = timeline.is_judged()
                && follows(*node)
                && is_passive(timeline.leaders.role(known.leader))
                && timeline.is_connected(*node, known.leader);
            if !holds {
                continue;
            }
            let new = Edge { leader: known.leader, since: now, known: known.since, told: false };
            let old = self.edges.get(node).copied();
            let lasts = |edge: &Edge| {
                edge.leader == known.leader && edge.since.line >= timeline.topology_changed().line
            };
            edges.insert(*node, old.filter(lasts).unwrap_or(new));
        }
        let lasts = |open: &Open| {
            open.edges.iter().all(|(node, edge)| {
                edges.get(node).is_some_and(|it| it.since.line == edge.since.line)
            })
        };
        let (open, over): (Vec<Open>, Vec<Open>) =
            std::mem::take(&mut self.open).into_iter().partition(lasts);
        self.open = open;
        self.edges = edges;
        over.iter().for_each(|open| self.close(open, now));
    }

    fn found(&self) -> bool {
        !self.open.is_empty() || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        for open in std::mem::take(&mut self.open) {
            self.close(&open, timeline.last());
        }
        let unknown = (!self.beliefs).then(|| "no node ever told whom it follows".to_owned());
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

/// Neither leads nor runs for it.
fn is_passive(role: Option<Role>) -> bool {
    matches!(role, Some(Role::Follower | Role::Learner | Role::Observer))
}

impl MutualFollow {
    fn is_overdue(&self, edge: &Edge, now: u64, timeline: &Timeline) -> bool {
        timeline.stalls.lasted(edge.since.t, now) > self.bound_ns
    }

    /// The state of a node has lasted too long: opens a finding, for its cycle if all of that has.
    fn tell(&mut self, node: NodeId, now: u64, timeline: &Timeline) {
        let cycle = self.cycle(node, now, timeline);
        let path = cycle.clone().unwrap_or_else(|| vec![node]);
        // What was told of single nodes is part of their cycle.
        self.open.retain(|open| open.cycle || !path.contains(&open.edges[0].0));
        let mut edges = Vec::new();
        for node in path {
            if let Some(edge) = self.edges.get_mut(&node) {
                edge.told = true;
                edges.push((node, *edge));
            }
        }
        self.open.push(Open { edges, cycle: cycle.is_some() });
    }

    /// The nodes that follow each other in a circle from this one on, if all do so for too long.
    fn cycle(&self, start: NodeId, now: u64, timeline: &Timeline) -> Option<Vec<NodeId>> {
        let mut path = vec![start];
        let mut seen = BTreeSet::from([start]);
        let mut at = start;
        loop {
            let overdue = |edge: &&Edge| self.is_overdue(edge, now, timeline);
            let edge = self.edges.get(&at).filter(overdue)?;
            if edge.leader == start {
                let least = path.iter().enumerate().min_by_key(|it| it.1).map_or(0, |it| it.0);
                path.rotate_left(least);
                return Some(path);
            }
            if !seen.insert(edge.leader) {
                return None;
            }
            path.push(edge.leader);
            at = edge.leader;
        }
    }

    fn close(&mut self, open: &Open, now: Mark) {
        let since =
            open.edges.iter().map(|(_, edge)| edge.since).fold(Mark::default(), Mark::later);
        let lasted = duration(now.t.saturating_sub(since.t));
        let pairs = open.edges.iter().map(|(node, edge)| format!("{node} follows {}", edge.leader));
        let sentence = if open.cycle {
            format!("{}, for {lasted}: nobody of them leads", list(pairs))
        } else {
            format!("{}, for {lasted}, although that node does not lead", list(pairs))
        };
        let proof = open.edges.iter().flat_map(|(_, edge)| [edge.since.line, edge.known.line]);
        self.findings.push(Finding {
            sentence,
            nodes: nodes(open.edges.iter().flat_map(|(node, edge)| [*node, edge.leader])),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines(proof.chain([now.line])),
        });
    }
}
