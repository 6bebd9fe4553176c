//! What was broken when: which nodes run and answer, which links carry, and since when.
//!
//! It is built from the `fault` and `harness` records alone, and is conservative towards liveness,
//! because a bound may only run while nothing stands in the way of the system under test:
//!
//! - what impairs (down, frozen, cut, degraded) counts from the `begin` record of its fault, what
//!   repairs counts from the `end` record with outcome `installed`;
//! - a skipped fault never had an effect; an indeterminate impairment counts as installed until its
//!   repair is, an indeterminate repair counts as not done;
//! - a node that is degraded in several aspects (its disk, its clock) is so until each is restored,
//!   and across restarts;
//! - a node that was started again is live from the harness' `ready` of that incarnation on.
//!
//! A **connected majority** is a set of live, thawed, undegraded nodes, a majority of every configuration
//! that may be in force (see [`crate::configurations`]; the header's nodes, where none is told), of which
//! each pair is connected in both directions, while nobody who limps can speak to any
//! of them. A limping node is one that takes part although it is degraded, or outside of them and
//! connected with one by a link that is: it may lead them all the same, or be the best candidate of all and never
//! come to lead. That is a full mesh: protocols exist
//! that need less, none needs more, so a bound runs only when every one of them must make progress.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{
    Body, Effect, Event, FaultRecord, HarnessEvent, Header, Link, NodeId, Outcome, Phase, Record,
};

use crate::{
    check::CheckInfo,
    client_ops::{ClientRecord, Operations},
    configurations::Configurations,
    leaders::Leaders,
    logs::Logs,
    mesh,
    stalls::Stalls,
};

/// The state of the cluster after the records seen so far.
#[derive(Debug)]
pub(crate) struct Timeline {
    members: Vec<NodeId>,
    nodes: BTreeMap<NodeId, Process>,
    /// Links that are cut, and when each was last.
    cut: BTreeMap<Link, u64>,
    /// The same of links that are degraded.
    degraded_links: BTreeMap<Link, u64>,
    pending: BTreeMap<u64, Pending>,
    /// Voters and learners that belong to some connected majority.
    meshed: BTreeSet<NodeId>,
    topology_changed: Mark,
    disturbed: Mark,
    stopping: bool,
    last: Mark,
    /// Whether the last record changed who runs, who reaches whom, who decides, or who leads whom.
    changed: bool,
    leader: Option<NodeId>,
    election_timeout_ns: u64,
    pub(crate) configurations: Configurations,
    pub(crate) leaders: Leaders,
    pub(crate) logs: Logs,
    pub(crate) operations: Operations,
    /// How much of a time counts.
    pub(crate) stalls: Stalls,
}

/// An instant and the line of the history that tells of it (0: the begin of the run).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) t: u64,
    pub(crate) line: u64,
}

#[derive(Clone, Debug, Default)]
struct Process {
    inc: u32,
    ready: bool,
    /// A fault may have ended the process.
    in_doubt: bool,
    /// Its end was seen.
    ended: bool,
    /// When it was stopped; 0 where nobody tells.
    frozen: Option<u64>,
    /// The aspects in which it works worse than it should, and since when.
    degraded: BTreeMap<String, u64>,
}

/// A fault between its begin and its end.
#[derive(Debug)]
struct Pending {
    effect: Effect,
    nodes: Vec<NodeId>,
    links: Vec<Link>,
    aspect: Option<String>,
    /// The incarnations that it found.
    found: BTreeMap<NodeId, u32>,
    /// What was repaired meanwhile, and when that was done.
    repaired_nodes: BTreeMap<NodeId, u64>,
    repaired_links: BTreeMap<Link, u64>,
}

impl Timeline {
    pub(crate) fn new(header: &Header) -> Self {
        let mut members = header.nodes.clone();
        members.sort_unstable();
        members.dedup();
        Self {
            nodes: members.iter().map(|node| (*node, Process::default())).collect(),
            members,
            cut: BTreeMap::new(),
            degraded_links: BTreeMap::new(),
            pending: BTreeMap::new(),
            meshed: BTreeSet::new(),
            topology_changed: Mark::default(),
            disturbed: Mark::default(),
            stopping: false,
            last: Mark::default(),
            changed: false,
            leader: None,
            election_timeout_ns: header.timing.election_timeout_ns,
            configurations: Configurations::new(header),
            leaders: Leaders::new(header),
            logs: Logs::new(header),
            operations: Operations::new(CheckInfo::wants_operations(header)),
            stalls: Stalls::new(header.timing.election_timeout_ns),
        }
    }

    /// Takes in one more record.
    pub(crate) fn apply(&mut self, line: u64, record: &Record) {
        let mark = Mark { t: record.t, line };
        self.last = mark;
        self.leaders.apply(mark, record);
        self.logs.apply(mark, record);
        let mut reconfigured = false;
        match &record.body {
            Body::Harness(event) => self.harness(mark, event),
            Body::Fault(fault) => match fault.phase {
                Phase::Begin => self.begin(fault),
                Phase::End => self.end(mark, fault),
            },
            Body::Op(op) => self.operations.observe(ClientRecord { line, t: record.t, op }),
            Body::Node(event) => {
                let absent = match &event.event {
                    Event::Config { .. } => self.long_absent(mark, event.node),
                    _ => BTreeSet::new(),
                };
                reconfigured = self.configurations.apply(event, &absent);
                if reconfigured {
                    self.remesh();
                }
            }
        }
        let of_harness = matches!(record.body, Body::Harness(_) | Body::Fault(_));
        self.changed = of_harness || reconfigured || self.leaders.changed();
        if self.changed {
            let mut leading = self.meshed.iter().filter(|node| self.leaders.is_current(**node));
            self.leader = leading.next().copied();
        }
    }

    /// Whether the last record changed who runs, who reaches whom, who decides, or who leads or follows
    /// whom. A rule about nothing else has nothing to do where it did not.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// The last record.
    pub(crate) fn last(&self) -> Mark {
        self.last
    }

    /// Every node that the harness runs, whatever it is in the configuration.
    pub(crate) fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// The members of connected majorities, with the learners that are connected with all of one; empty
    /// when there is none. When the cut leaves several majorities, these are the members of all of them.
    pub(crate) fn connected_majority(&self) -> &BTreeSet<NodeId> {
        &self.meshed
    }

    /// The same, although somebody who limps can speak to them.
    pub(crate) fn connected_majority_beside_limping(&self) -> BTreeSet<NodeId> {
        self.meshes_of(&self.usable())
    }

    fn meshes_of(&self, usable: &[NodeId]) -> BTreeSet<NodeId> {
        let is_quorum = |nodes: &BTreeSet<NodeId>| self.configurations.is_quorum(nodes);
        mesh::members_of_meshes(usable, is_quorum, |a, b| self.is_connected(a, b))
    }

    fn usable(&self) -> Vec<NodeId> {
        let takes_part =
            |node: &NodeId| self.is_usable(*node) && self.configurations.may_be_member(*node);
        self.members.iter().copied().filter(takes_part).collect()
    }

    /// Whether a node runs, answers, is not stopped and not slowed.
    pub(crate) fn is_usable(&self, node: NodeId) -> bool {
        let impaired = |pending: &Pending| pending.impairs_nodes() && pending.nodes.contains(&node);
        self.nodes.get(&node).is_some_and(|process| {
            process.ready
                && !process.in_doubt
                && process.frozen.is_none()
                && process.degraded.is_empty()
        }) && !self.pending.values().any(impaired)
    }

    /// Whether two nodes are usable and both directions between them carry.
    pub(crate) fn is_connected(&self, one: NodeId, other: NodeId) -> bool {
        self.is_usable(one)
            && self.is_usable(other)
            && self.carries(Link { from: one, to: other })
            && self.carries(Link { from: other, to: one })
    }

    /// Whether two nodes certainly cannot answer each other: the second is down or stopped, or the
    /// link between them is cut in some direction.
    pub(crate) fn is_severed(&self, one: NodeId, other: NodeId) -> bool {
        let process = self.nodes.get(&other);
        let (there, back) = (Link { from: one, to: other }, Link { from: other, to: one });
        process.is_some_and(|it| it.frozen.is_some() || !it.ready)
            || self.cut.contains_key(&there)
            || self.cut.contains_key(&back)
    }

    /// The established leader that the cluster can work with: it holds its role, is usable, is
    /// within a connected majority, and no later leader has been established.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// When a node, a link or what impairs them last changed.
    pub(crate) fn topology_changed(&self) -> Mark {
        self.topology_changed
    }

    /// When a fault of any effect, or a process' start or end, last took place.
    pub(crate) fn disturbed(&self) -> Mark {
        self.disturbed
    }

    /// Whether a fault that bears on liveness has begun and not ended.
    pub(crate) fn is_topology_pending(&self) -> bool {
        self.pending.values().any(|pending| pending.effect != Effect::None)
    }

    /// Whether any fault has begun and not ended.
    pub(crate) fn is_disturbance_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether liveness is judged: not once the harness stops the nodes.
    pub(crate) fn is_judged(&self) -> bool {
        !self.stopping
    }

    /// Whether every node is usable and all links carry.
    pub(crate) fn is_intact(&self) -> bool {
        self.members.iter().all(|node| self.is_usable(*node))
            && self.cut.is_empty()
            && self.degraded_links.is_empty()
            && !self.pending.values().any(Pending::impairs)
    }

    /// Whom a node can have heard nothing of for longer than two election timeouts. A leader is to
    /// know within one; the other one is for what was on its way.
    fn long_absent(&self, now: Mark, node: NodeId) -> BTreeSet<NodeId> {
        let lasts = self.stalls.lasted(self.topology_changed.t, now.t);
        if self.is_topology_pending() || lasts <= self.election_timeout_ns.saturating_mul(2) {
            return BTreeSet::new();
        }
        let others = self.members.iter().copied();
        others.filter(|other| *other != node && self.is_severed(node, *other)).collect()
    }

    fn carries(&self, link: Link) -> bool {
        let impaired = |pending: &Pending| pending.impairs() && pending.links.contains(&link);
        !self.cut.contains_key(&link)
            && !self.degraded_links.contains_key(&link)
            && !self.pending.values().any(impaired)
    }

    fn harness(&mut self, mark: Mark, event: &HarnessEvent) {
        match event {
            HarnessEvent::Phase { phase } if matches!(phase.as_str(), "stop" | "end") => {
                self.stopping = true;
                return;
            }
            HarnessEvent::Stall { until } => {
                self.stalls.note(mark.t, *until);
                return;
            }
            HarnessEvent::Spawn { node, inc, .. } => {
                let process = self.nodes.entry(*node).or_default();
                if *inc < process.inc {
                    return;
                }
                // A disk or a clock is no better for a new process.
                let degraded = std::mem::take(&mut process.degraded);
                *process = Process { inc: *inc, degraded, ..Process::default() };
            }
            HarnessEvent::Ready { node, inc } => {
                let process = self.nodes.entry(*node).or_default();
                if *inc < process.inc || *inc == process.inc && process.ended {
                    return;
                }
                process.inc = *inc;
                process.ready = true;
                process.in_doubt = false;
            }
            HarnessEvent::Exit { node, inc, .. } => {
                let process = self.nodes.entry(*node).or_default();
                if *inc < process.inc {
                    return;
                }
                process.ended = true;
                process.ready = false;
                process.frozen = None;
            }
            _ => return,
        }
        self.topology_changed = mark;
        self.disturbed = mark;
        self.remesh();
    }

    fn begin(&mut self, fault: &FaultRecord) {
        let found = self.nodes.iter().map(|(node, process)| (*node, process.inc)).collect();
        let pending = Pending {
            effect: fault.effect,
            nodes: fault.nodes.clone(),
            links: self.links_of(fault.effect, &fault.nodes, &fault.links),
            aspect: fault.aspect.clone(),
            found,
            repaired_nodes: BTreeMap::new(),
            repaired_links: BTreeMap::new(),
        };
        let impairs = pending.impairs();
        self.pending.insert(fault.id, pending);
        if impairs {
            self.remesh();
        }
    }

    fn end(&mut self, mark: Mark, fault: &FaultRecord) {
        let pending = self.pending.remove(&fault.id);
        let outcome = fault.outcome.unwrap_or(Outcome::Indeterminate);
        if outcome == Outcome::Skipped {
            self.remesh();
            return;
        }
        self.disturbed = mark;
        if fault.effect == Effect::None {
            return;
        }
        self.topology_changed = mark;
        // The end may leave out what its begin has named.
        let begun = pending.as_ref().filter(|_| fault.nodes.is_empty() && fault.links.is_empty());
        let (nodes, links) = match begun {
            Some(begun) => (begun.nodes.clone(), begun.links.clone()),
            None => (fault.nodes.clone(), self.links_of(fault.effect, &fault.nodes, &fault.links)),
        };
        let links_named = !links.is_empty();
        let (nodes, links) = match &pending {
            Some(pending) => pending.not_repaired(fault.acted, nodes, links),
            None => (nodes, links),
        };
        let nodes = &nodes;
        let installed = outcome == Outcome::Installed;
        if installed {
            self.note_repair(fault, nodes, &links);
        }
        let (aspect, acted) = (fault.aspect.as_deref(), fault.acted);
        match fault.effect {
            Effect::Down => self.take_down(nodes, pending.as_ref(), installed),
            Effect::Frozen => self.each(nodes, |process| {
                process.frozen = process.frozen.max(Some(acted.unwrap_or_default()));
            }),
            Effect::Degraded if !links_named => {
                let aspect = aspect.unwrap_or_default();
                self.each(nodes, |process| {
                    let at = process.degraded.entry(aspect.to_owned()).or_default();
                    *at = acted.unwrap_or_default().max(*at);
                });
            }
            Effect::Degraded => hit(&mut self.degraded_links, &links, acted),
            Effect::Cut => hit(&mut self.cut, &links, acted),
            Effect::Up if installed => self.each(nodes, |process| process.in_doubt = false),
            Effect::Thawed if installed => self.each(nodes, |process| {
                process.frozen = process.frozen.filter(|at| is_since(*at, acted));
            }),
            Effect::Healed if installed => {
                // A healed link is a clean link: what slowed it is gone, too.
                heal(&mut self.cut, &links, acted);
                heal(&mut self.degraded_links, &links, acted);
            }
            Effect::Restored if installed => {
                if links.is_empty() {
                    let of_it = |it: &str| aspect.is_none_or(|aspect| aspect == it);
                    self.each(nodes, |process| {
                        process.degraded.retain(|it, at| is_since(*at, acted) || !of_it(it));
                    });
                }
                heal(&mut self.degraded_links, &links, acted);
            }
            Effect::Up | Effect::Thawed | Effect::Healed | Effect::Restored | Effect::None => {}
        }
        self.remesh();
    }

    /// Remembers a repair for the faults that have begun and whose proof is still looked for: the proof
    /// may come, or be given up, only after the repair has ended, and says nothing about the time since.
    fn note_repair(&mut self, fault: &FaultRecord, nodes: &[NodeId], links: &[Link]) {
        let Some(acted) = fault.acted else { return };
        let (repair, aspect) = (fault.effect, &fault.aspect);
        for pending in self.pending.values_mut() {
            let of_nodes = match repair {
                Effect::Thawed => pending.effect == Effect::Frozen,
                Effect::Restored => {
                    pending.effect == Effect::Degraded
                        && pending.links.is_empty()
                        && (aspect.is_none() || *aspect == pending.aspect)
                }
                _ => false,
            };
            let of_links = matches!(repair, Effect::Healed | Effect::Restored)
                && (pending.effect == Effect::Degraded
                    || (repair == Effect::Healed && pending.effect == Effect::Cut));
            if of_nodes {
                self::repair(&mut pending.repaired_nodes, nodes, acted);
            }
            if of_links {
                self::repair(&mut pending.repaired_links, links, acted);
            }
        }
    }

    /// The links that a fault names. A network fault that names only nodes means all of theirs; a
    /// heal that names nothing means everything.
    fn links_of(&self, effect: Effect, nodes: &[NodeId], links: &[Link]) -> Vec<Link> {
        if !links.is_empty() || !matches!(effect, Effect::Cut | Effect::Healed) {
            return links.to_vec();
        }
        let all = nodes.is_empty() && effect == Effect::Healed;
        let members = &self.members;
        let pairs = members.iter().flat_map(|from| {
            members.iter().filter(move |to| from != *to).map(|to| Link { from: *from, to: *to })
        });
        pairs.filter(|link| all || nodes.contains(&link.from) || nodes.contains(&link.to)).collect()
    }

    fn take_down(&mut self, nodes: &[NodeId], pending: Option<&Pending>, installed: bool) {
        for node in nodes {
            let Some(process) = self.nodes.get_mut(node) else { continue };
            let found = pending.and_then(|pending| pending.found.get(node).copied());
            // A fault that ended an older incarnation says nothing about the one that runs now.
            if found.is_some_and(|inc| inc != process.inc) {
                continue;
            }
            if installed {
                process.ready = false;
                self.leaders.lose(*node, process.inc);
            } else {
                process.in_doubt = true;
            }
        }
    }

    fn each(&mut self, nodes: &[NodeId], change: impl Fn(&mut Process)) {
        nodes.iter().for_each(|node| change(self.nodes.entry(*node).or_default()));
    }

    fn remesh(&mut self) {
        let usable = self.usable();
        let speaks_to =
            |from, to: &NodeId| !self.cut.contains_key(&Link { from, to: *to }) && from != *to;
        let mut limping = self.members.iter().copied().filter(|node| self.is_limping(*node));
        let disturbed = limping.any(|from| usable.iter().any(|to| speaks_to(from, to)));
        self.meshed = if disturbed { BTreeSet::new() } else { self.meshes_of(&usable) };
        let by_a_bad_link = |from: NodeId, to: NodeId| {
            let bad = |from, to| self.degraded_links.contains_key(&Link { from, to });
            speaks_to(from, &to) && (bad(from, to) || bad(to, from))
        };
        let mut outside = usable.iter().filter(|node| !self.meshed.contains(node));
        if outside.any(|from| self.meshed.iter().any(|to| by_a_bad_link(*from, *to))) {
            self.meshed.clear();
        }
    }

    /// Whether a node takes part, but not as it should.
    fn is_limping(&self, node: NodeId) -> bool {
        let degrading = |pending: &Pending| {
            pending.effect == Effect::Degraded
                && pending.links.is_empty()
                && pending.nodes.contains(&node)
        };
        self.nodes.get(&node).is_some_and(|process| {
            let degraded = !process.degraded.is_empty() || self.pending.values().any(degrading);
            process.ready && process.frozen.is_none() && degraded
        })
    }
}

/// The nodes whose disks a record tells to have been wiped.
pub(crate) fn wiped(record: &Record) -> &[NodeId] {
    match &record.body {
        Body::Fault(fault)
            if fault.fault == "wipe"
                && fault.phase == Phase::End
                && fault.outcome != Some(Outcome::Skipped) =>
        {
            &fault.nodes
        }
        _ => &[],
    }
}

/// Notes when something was done to links; 0 where nobody tells.
fn hit(done: &mut BTreeMap<Link, u64>, links: &[Link], acted: Option<u64>) {
    for link in links {
        let at = done.entry(*link).or_default();
        *at = acted.unwrap_or_default().max(*at);
    }
}

/// Takes it away, but where it was done after the heal.
fn heal(done: &mut BTreeMap<Link, u64>, links: &[Link], acted: Option<u64>) {
    done.retain(|link, at| is_since(*at, acted) || !links.contains(link));
}

/// Whether something was done after a repair, of which nobody may tell when it was.
fn is_since(at: u64, repaired: Option<u64>) -> bool {
    repaired.is_some_and(|repaired| at > repaired)
}

/// Notes a repair, unless a later one is known.
fn repair<K: Ord + Copy>(repaired: &mut BTreeMap<K, u64>, of: &[K], acted: u64) {
    for it in of {
        let at = repaired.entry(*it).or_default();
        *at = acted.max(*at);
    }
}

impl Pending {
    /// Those that were not repaired after the fault was done.
    fn not_repaired(
        &self,
        acted: Option<u64>,
        mut nodes: Vec<NodeId>,
        mut links: Vec<Link>,
    ) -> (Vec<NodeId>, Vec<Link>) {
        let before = |repair: Option<&u64>| match (acted, repair) {
            (Some(acted), Some(repair)) => acted <= *repair,
            _ => false,
        };
        nodes.retain(|node| !before(self.repaired_nodes.get(node)));
        links.retain(|link| !before(self.repaired_links.get(link)));
        (nodes, links)
    }

    fn impairs(&self) -> bool {
        matches!(self.effect, Effect::Down | Effect::Frozen | Effect::Cut | Effect::Degraded)
    }

    /// A slow link is not a slow node, even where its fault names both.
    fn impairs_nodes(&self) -> bool {
        matches!(self.effect, Effect::Down | Effect::Frozen)
            || self.effect == Effect::Degraded && self.links.is_empty()
    }
}

impl Mark {
    /// The one that the history tells of first.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.line < self.line { other } else { self }
    }

    /// The later of two instants.
    pub(crate) fn later(self, other: Self) -> Self {
        if other.t > self.t { other } else { self }
    }
}
