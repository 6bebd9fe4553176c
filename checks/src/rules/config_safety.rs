//! `config-safety` (S14): decisions are made by the configuration in force, and configurations
//! follow each other so that their majorities meet.
//!
//! A configuration is in force on a node from when its entry is in the node's log (`config` of
//! `append`, or `revert` where that one is in force again; at the start `node-start.persisted`, else
//! the header's nodes). A joint one decides by a majority of its voters and one of the outgoing.
//!
//! Rule:
//!
//! 1. the `quorum` of a `commit` and the `votes` of an established `leader-elected` hold a quorum of
//!    the configuration in force on that node; who is no voter of it does not count;
//! 2. of two configurations that follow each other in a log, or among those committed, every quorum
//!    of one meets every quorum of the other, and one index is committed as one configuration;
//! 3. a leader appends a configuration of its own only once the one before is committed, and, in
//!    Raft, an entry of its own term (Ongaro 2014, §4.1; the second condition is his correction of
//!    2015: without it two leaders can each change the same configuration, and their majorities need
//!    not meet);
//! 4. a leader that has committed its own removal decides nothing any more: no later commit, no entry
//!    of its own, and no heartbeat after two intervals (§4.2.2).
//!
//! What it cannot see: a change that a node was told of by a snapshot is not held against what it
//! skipped, and the voters of a snapshot are taken as not joint. Whether a new voter had caught up
//! is a matter of `write-outage`.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Body, EntryId, Event, Header, NodeId, NodeRecord, Record, Role};

use crate::{
    check::{Check, CheckInfo, Options},
    configurations::Voters,
    findings::{Findings, Outcome, lines, nodes},
    phrase::list,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

/// Up to so many nodes all ways to split them are tried.
const SPLIT_NODES_MAX: usize = 16;

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "config-safety",
    summary: "decisions count the configuration in force, and configurations follow each other safely",
    source: "S14; F-023, F-024, F-059, F-073",
    needs: &["node-start", "leader-elected", "commit", "config"],
    options: &[],
    choices: &[],
    make,
};

/// Whether quorums of two configurations meet.
enum Meeting {
    Always,
    /// These two do not.
    Apart(BTreeSet<NodeId>, BTreeSet<NodeId>),
    /// Too many nodes to try.
    TooLarge,
}

/// A configuration, its entry, and where it was first told of.
#[derive(Clone, Debug)]
struct Placed {
    id: EntryId,
    voters: Voters,
    mark: Mark,
}

#[derive(Debug, Default)]
struct Node {
    inc: u32,
    /// The configurations in its log.
    log: Vec<Placed>,
    commit: EntryId,
    /// Since when it leads although its removal is committed.
    removed: Option<(Mark, EntryId)>,
}

#[derive(Debug)]
struct ConfigSafety {
    members: BTreeSet<NodeId>,
    heartbeat_ns: u64,
    findings: Findings,
    nodes: BTreeMap<NodeId, Node>,
    /// By index, as first committed.
    committed: BTreeMap<u64, (NodeId, Placed)>,
    /// Pairs that were held against each other.
    compared: BTreeSet<(EntryId, EntryId)>,
    decisions: u64,
    changes: BTreeSet<EntryId>,
    large: bool,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(ConfigSafety {
        members: header.nodes.iter().copied().collect(),
        heartbeat_ns: header.timing.heartbeat_ns,
        findings: Findings::default(),
        nodes: BTreeMap::new(),
        committed: BTreeMap::new(),
        compared: BTreeSet::new(),
        decisions: 0,
        changes: BTreeSet::new(),
        large: false,
    })
}

impl Voters {
    /// Whether every quorum of one meets every quorum of the other.
    fn meets(&self, other: &Self) -> Meeting {
        let sets = [&self.voters, &self.outgoing, &other.voters, &other.outgoing];
        let all: Vec<NodeId> =
            sets.into_iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if all.len() > SPLIT_NODES_MAX {
            return Meeting::TooLarge;
        }
        for split in 0_u32..1 << all.len() {
            let (one, rest): (Vec<_>, Vec<_>) =
                (0..).zip(&all).partition(|(bit, _)| split & 1 << bit != 0);
            let side = |nodes: Vec<(u32, &NodeId)>| nodes.into_iter().map(|(_, it)| *it).collect();
            let (one, rest) = (side(one), side(rest));
            if self.is_quorum(&one) && other.is_quorum(&rest) {
                return Meeting::Apart(one, rest);
            }
        }
        Meeting::Always
    }

    fn words(&self) -> String {
        match self.outgoing.is_empty() {
            true => list(&self.voters),
            false => format!("{} jointly with {}", list(&self.voters), list(&self.outgoing)),
        }
    }
}

impl Check for ConfigSafety {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let now = Mark { t: record.t, line };
        if let Event::NodeStart { persisted, .. } = &event.event {
            let nodes_of = |name: &str| {
                let value = persisted.extra.get(name).cloned().unwrap_or_default();
                serde_json::from_value::<Vec<NodeId>>(value).unwrap_or_default()
            };
            let voters = persisted.config.as_ref().map_or_else(
                || Voters { voters: self.members.clone(), outgoing: BTreeSet::new() },
                |voters| Voters::of(voters, &nodes_of("outgoing")),
            );
            let id = persisted.extra.get("config-id").cloned().unwrap_or_default();
            let id = serde_json::from_value::<EntryId>(id).unwrap_or_default();
            let commit =
                EntryId { term: 0, index: persisted.commit.or(persisted.applied).unwrap_or(0) };
            let log = vec![Placed { id, voters, mark: now }];
            let node = Node { inc: event.inc, log, commit, removed: None };
            self.nodes.insert(event.node, node);
            return;
        }
        let Some(node) = self.nodes.get(&event.node).filter(|node| node.inc == event.inc) else {
            return;
        };
        if let Some((since, id)) = node.removed {
            let lasted_ns = timeline.stalls.lasted(since.t, now.t);
            self.acts_although_removed(now, event, (since, lasted_ns), id);
        }
        match &event.event {
            Event::Config { op, id, voters, outgoing, .. } => {
                let voters = Voters::of(voters, outgoing.as_deref().unwrap_or_default());
                self.config(now, event, op, Placed { id: *id, voters, mark: now });
            }
            Event::Commit { up_to, quorum, .. } => {
                if let Some(quorum) = quorum {
                    self.decision(now, event.node, quorum, &format!("committed up to {up_to}"));
                }
                if let Some(node) = self.nodes.get_mut(&event.node)
                    && up_to.index >= node.commit.index
                {
                    node.commit = *up_to;
                }
            }
            Event::LeaderElected { in_term, established: true, votes, .. } => {
                self.decision(now, event.node, votes, &format!("came to lead term {in_term}"));
            }
            Event::Truncate { first, .. } => {
                if let Some(node) = self.nodes.get_mut(&event.node)
                    && node.log.first().is_some_and(|placed| placed.id.index < first.index)
                {
                    node.log.retain(|placed| placed.id.index < first.index);
                }
            }
            Event::Snapshot { op, last, config: Some(voters), .. } if op == "install" => {
                let placed = Placed { id: *last, voters: Voters::of(voters, &[]), mark: now };
                if let Some(node) = self.nodes.get_mut(&event.node) {
                    node.log = vec![placed];
                    node.commit = *last;
                }
            }
            _ => {}
        }
        if event.role != Role::Leader
            && let Some(node) = self.nodes.get_mut(&event.node)
        {
            node.removed = None;
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        let unknown = if self.large {
            Some(format!("a change of more than {SPLIT_NODES_MAX} nodes was not tried"))
        } else if self.decisions == 0 {
            Some("nothing was decided by a quorum".to_owned())
        } else {
            None
        };
        let note = self.changes.is_empty().then(|| "the configuration never changed".to_owned());
        Outcome { findings: self.findings, unknown, note, ..Outcome::default() }
    }
}

impl ConfigSafety {
    fn decision(&mut self, now: Mark, name: NodeId, counted: &[NodeId], what: &str) {
        let Some(in_force) = self.nodes.get(&name).and_then(|node| node.log.last()) else { return };
        if counted.is_empty() {
            return;
        }
        self.decisions += 1;
        let counted: BTreeSet<NodeId> = counted.iter().copied().collect();
        if in_force.voters.is_quorum(&counted) {
            return;
        }
        let sentence = format!(
            "{name} {what} by {}, which is no quorum of its configuration: {}",
            list(&counted),
            in_force.voters.words()
        );
        let since = in_force.mark;
        self.found(sentence, counted.into_iter().chain([name]), since, now);
    }

    fn config(&mut self, now: Mark, event: &NodeRecord, op: &str, placed: Placed) {
        match op {
            "append" => self.appended(now, event, placed),
            "revert" => {
                let Some(node) = self.nodes.get_mut(&event.node) else { return };
                node.log.retain(|before| before.id.index < placed.id.index);
                node.log.push(placed);
            }
            "commit" => self.committed(event, placed),
            _ => {}
        }
    }

    fn appended(&mut self, now: Mark, event: &NodeRecord, placed: Placed) {
        let name = event.node;
        let Some(node) = self.nodes.get_mut(&name) else { return };
        node.log.retain(|before| before.id.index < placed.id.index);
        let before = node.log.last().cloned();
        let commit = node.commit;
        node.log.push(placed.clone());
        self.changes.insert(placed.id);
        let Some(before) = before else { return };
        self.compare(&before, &placed, [name, name]);
        if event.role != Role::Leader || placed.id.term != event.term {
            return;
        }
        if before.id.index > commit.index {
            let sentence = format!(
                "{name} changed the configuration at {} although the change at {} was not committed",
                placed.id, before.id
            );
            self.found(sentence, [name], before.mark, now);
        }
        if event.proto == "raft" && commit.term != event.term {
            let sentence = format!(
                "{name} changed the configuration at {} before it had committed anything of term {}",
                placed.id, event.term
            );
            self.found(sentence, [name], now, now);
        }
    }

    fn committed(&mut self, event: &NodeRecord, placed: Placed) {
        let name = event.node;
        let index = placed.id.index;
        if let Some((other, was)) = self.committed.get(&index) {
            if was.id != placed.id || was.voters != placed.voters {
                let sentence = format!(
                    "{name} committed {} as the configuration {}, and {other} had committed {} as {}",
                    placed.id,
                    placed.voters.words(),
                    was.id,
                    was.voters.words()
                );
                let (other, since) = (*other, was.mark);
                self.found(sentence, [name, other], since, placed.mark);
            }
        } else {
            let before = self.committed.range(..index).next_back().map(|(_, it)| it.clone());
            let after = self.committed.range(index..).next().map(|(_, it)| it.clone());
            if let Some((other, before)) = before {
                self.compare(&before, &placed, [other, name]);
            }
            if let Some((other, after)) = after {
                self.compare(&placed, &after, [name, other]);
            }
            self.committed.insert(index, (name, placed.clone()));
        }
        if event.role == Role::Leader
            && !placed.voters.has(name)
            && let Some(node) = self.nodes.get_mut(&name)
            && node.log.last().is_some_and(|last| last.id == placed.id)
        {
            node.removed = node.removed.or(Some((placed.mark, placed.id)));
        }
    }

    fn acts_although_removed(
        &mut self,
        now: Mark,
        event: &NodeRecord,
        (since, lasted_ns): (Mark, u64),
        id: EntryId,
    ) {
        let did = match &event.event {
            Event::Commit { quorum: Some(_), up_to, .. } => format!("committed up to {up_to}"),
            Event::Append { origin, first, .. } if origin == "self" => format!("appended {first}"),
            Event::Heartbeat { dir, .. }
                if dir == "sent" && lasted_ns > self.heartbeat_ns.saturating_mul(2) =>
            {
                "sent heartbeats".to_owned()
            }
            _ => return,
        };
        let name = event.node;
        if let Some(node) = self.nodes.get_mut(&name) {
            node.removed = None;
        }
        let sentence =
            format!("{name} went on leading after its removal at {id} was committed: it {did}");
        self.found(sentence, [name], since, now);
    }

    /// Holds two configurations that follow each other against each other, once.
    fn compare(&mut self, before: &Placed, after: &Placed, by: [NodeId; 2]) {
        if before.voters == after.voters || !self.compared.insert((before.id, after.id)) {
            return;
        }
        match before.voters.meets(&after.voters) {
            Meeting::Always => {}
            Meeting::TooLarge => self.large = true,
            Meeting::Apart(one, other) => {
                let sentence = format!(
                    "the configuration {} was followed at {} by {}: {} decide by the first, {} by the \
                     second, and do not meet",
                    before.voters.words(),
                    after.id,
                    after.voters.words(),
                    list(&one),
                    list(&other)
                );
                self.found(sentence, by, before.mark, after.mark);
            }
        }
    }

    fn found(
        &mut self,
        sentence: String,
        named: impl IntoIterator<Item = NodeId>,
        since: Mark,
        now: Mark,
    ) {
        let (since, now) = if since.t <= now.t { (since, now) } else { (now, since) };
        self.findings.push(Finding {
            sentence,
            nodes: nodes(named),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
