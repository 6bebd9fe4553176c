//! A simulated `raft` cluster in virtual time, on a network that keeps no order.
//!
//! Messages are delayed, reordered, duplicated, dropped and cut off; processes are killed between
//! any two outputs of a step, stopped and continued; power failures take what was not synced.
//! Everything derives from one seed, and every invariant is looked at after every output.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use usurper_history::{
    NodeId, Role,
    frame::{Frame, Kind},
};
use usurper_node::{
    protocol::{
        ClientId, Input, Message as _, Output, Protocol, Reply, Request, SessionOp, Setup, Tick,
    },
    raft::{Message, Raft, Timer},
};

use super::{
    raft_invariants::Invariants,
    sim::{MS, setup},
};

pub(crate) struct Sim {
    pub(crate) now: u64,
    pub(crate) rng: StdRng,
    pub(crate) nodes: BTreeMap<NodeId, SimNode>,
    pub(crate) invariants: Invariants,
    /// A sync returns without having done anything.
    pub(crate) lying_disk: bool,
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Per mille of messages that are lost, doubled, and delayed for long.
    pub(crate) loss: u32,
    pub(crate) doubled: u32,
    pub(crate) late: u32,
    /// How many kinds of operations clients ask for; the last ones change the configuration.
    pub(crate) operations: u32,
    /// Per mille of steps in which the process is killed.
    pub(crate) crash: u32,
    holding: BTreeSet<(NodeId, NodeId, Kind)>,
    held_back: Vec<(NodeId, NodeId, Message)>,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    asked: u64,
    /// Answers that nobody has fetched, by request.
    pub(crate) replies: BTreeMap<u64, Reply>,
}

pub(crate) struct SimNode {
    pub(crate) raft: Option<Raft>,
    pub(crate) setup: Setup,
    pub(crate) disk: Vec<Vec<u8>>,
    pub(crate) durable: usize,
    timers: BTreeMap<Timer, u64>,
    backlog: Option<Vec<Happening>>,
}

#[derive(Clone, Debug)]
enum Happening {
    Deliver { from: NodeId, to: NodeId, message: Message },
    Timer { node: NodeId, inc: u32, timer: Timer, at: u64 },
    Request { node: NodeId, inc: u32, request: Request },
}

impl Sim {
    pub(crate) fn new(seed: u64, count: u8, defects: &[&str], params: &[(&str, &str)]) -> Self {
        let members: Vec<_> = NodeId::all(count).collect();
        let nodes = members.iter().map(|id| {
            let setup = setup(*id, &members, seed, defects, params);
            let node = SimNode {
                raft: None,
                setup,
                disk: Vec::new(),
                durable: 0,
                timers: BTreeMap::new(),
                backlog: None,
            };
            (*id, node)
        });
        Self {
            now: 0,
            rng: StdRng::seed_from_u64(seed),
            nodes: nodes.collect(),
            invariants: Invariants::default(),
            lying_disk: false,
            cut: BTreeSet::new(),
            loss: 0,
            doubled: 0,
            late: 0,
            crash: 0,
            operations: 5,
            holding: BTreeSet::new(),
            held_back: Vec::new(),
            queue: BTreeMap::new(),
            scheduled: 0,
            asked: 0,
            replies: BTreeMap::new(),
        }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn pick(&mut self) -> NodeId {
        let ids = self.ids();
        *ids.choose(&mut self.rng).unwrap()
    }

    pub(crate) fn raft(&self, id: NodeId) -> Option<&Raft> {
        self.nodes[&id].raft.as_ref()
    }

    pub(crate) fn set_param(&mut self, id: NodeId, name: &str, value: &str) {
        let params = &mut self.nodes.get_mut(&id).unwrap().setup.params;
        params.retain(|(known, _)| known != name);
        params.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id);
        }
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.is_some() {
            return;
        }
        node.setup.inc += 1;
        // As the store does: what was recovered is made durable.
        if !self.lying_disk {
            node.durable = node.disk.len();
        }
        node.raft = Some(Raft::recover(&node.setup, &node.disk).expect("its own log"));
        let commit = node.raft.as_ref().map_or(0, Raft::commit);
        self.invariants.started(id, commit);
        self.step(id, Input::Start);
        for peer in self.ids() {
            if peer != id {
                self.step(id, Input::Connected(peer));
                if self.nodes[&peer].backlog.is_none() {
                    self.step(peer, Input::Connected(id));
                }
            }
        }
    }

    /// The process is gone; with `power`, so is what it did not sync.
    pub(crate) fn kill(&mut self, id: NodeId, power: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.raft = None;
        node.backlog = None;
        node.timers.clear();
        if power {
            node.disk.truncate(node.durable);
            // Nothing was said before the first sync: it is as if it had never been started.
            if node.disk.is_empty() {
                node.setup.inc = 0;
            }
        }
    }

    pub(crate) fn pause(&mut self, id: NodeId) {
        self.nodes.get_mut(&id).unwrap().backlog.get_or_insert_default();
    }

    /// What came while it was stopped comes at once, timers and messages in any order.
    pub(crate) fn resume(&mut self, id: NodeId) {
        let backlog = self.nodes.get_mut(&id).unwrap().backlog.take().unwrap_or_default();
        let (timers, messages): (Vec<_>, Vec<_>) =
            backlog.into_iter().partition(|happening| matches!(happening, Happening::Timer { .. }));
        let timers_first = self.rng.random_bool(0.5);
        let (first, second) = if timers_first { (timers, messages) } else { (messages, timers) };
        for happening in first.into_iter().chain(second) {
            self.happen(happening);
        }
    }

    pub(crate) fn part(&mut self, one: NodeId, other: NodeId) {
        self.cut.extend([(one, other), (other, one)]);
    }

    pub(crate) fn isolate(&mut self, id: NodeId) {
        for peer in self.ids() {
            self.part(id, peer);
        }
    }

    pub(crate) fn hold(&mut self, from: NodeId, to: NodeId, kinds: &[Kind]) {
        self.holding.extend(kinds.iter().map(|kind| (from, to, *kind)));
    }

    /// Delivers what a link held back, and holds nothing more on it.
    pub(crate) fn release(&mut self, from: NodeId, to: NodeId) {
        self.holding.retain(|(one, other, _)| (*one, *other) != (from, to));
        for (one, other, message) in std::mem::take(&mut self.held_back) {
            if (one, other) == (from, to) {
                self.schedule(self.now + MS, Happening::Deliver { from, to, message });
            } else {
                self.held_back.push((one, other, message));
            }
        }
    }

    /// Delivers a copy of what a link holds back, and goes on holding it.
    pub(crate) fn release_copies(&mut self, from: NodeId, to: NodeId) {
        for (one, other, message) in self.held_back.clone() {
            if (one, other) == (from, to) {
                self.schedule(self.now + MS, Happening::Deliver { from, to, message });
            }
        }
    }

    /// Cuts a link, and loses what is under way on it.
    pub(crate) fn sever(&mut self, one: NodeId, other: NodeId) {
        self.cut.insert((one, other));
        let is_on_it = |happening: &Happening| matches!(happening, Happening::Deliver { from, to, .. } if (*from, *to) == (one, other));
        self.queue.retain(|_, happening| !is_on_it(happening));
    }

    /// Holds nothing more; what is held stays so.
    pub(crate) fn drop_holding(&mut self) {
        self.holding.clear();
    }

    /// Loses what the links hold back, and holds nothing more.
    pub(crate) fn drop_held(&mut self) {
        self.holding.clear();
        self.held_back.clear();
    }

    /// The nodes that lead, or think so.
    pub(crate) fn leaders(&self) -> Vec<NodeId> {
        let leads = |id: &NodeId| self.raft(*id).is_some_and(|it| it.envelope().1 == Role::Leader);
        self.ids().into_iter().filter(leads).collect()
    }

    /// Asks a node. The answer comes into `replies`, if any comes.
    pub(crate) fn ask(
        &mut self,
        id: NodeId,
        f: &str,
        key: &str,
        value: Option<Value>,
        session: Option<SessionOp>,
    ) -> u64 {
        self.asked += 1;
        let serial = self.asked;
        let (f, key) = (f.to_owned(), Some(key.to_owned()));
        let request = Request { serial, f, key, value, session };
        self.invariants.asked(&request);
        let inc = self.nodes[&id].setup.inc;
        self.schedule(self.now + 1, Happening::Request { node: id, inc, request });
        serial
    }

    pub(crate) fn run_for(&mut self, time: u64) {
        self.run_until_or(self.now + time, |_| false);
    }

    /// Runs until `found`, at most until `end`. Returns whether it was found.
    pub(crate) fn run_until_or(&mut self, end: u64, found: impl Fn(&Self) -> bool) -> bool {
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > end {
                break;
            }
            let happening = entry.remove();
            self.now = self.now.max(at);
            self.happen(happening);
            if found(self) {
                return true;
            }
        }
        self.now = self.now.max(end);
        found(self)
    }

    fn happen(&mut self, happening: Happening) {
        let (id, inc) = match &happening {
            Happening::Deliver { to, .. } => (*to, None),
            Happening::Timer { node, inc, .. } | Happening::Request { node, inc, .. } => {
                (*node, Some(*inc))
            }
        };
        let node = self.nodes.get_mut(&id).unwrap();
        if node.raft.is_none() || inc.is_some_and(|inc| inc != node.setup.inc) {
            return;
        }
        if let Some(backlog) = &mut node.backlog {
            backlog.push(happening);
            return;
        }
        match happening {
            Happening::Deliver { from, message, .. } => {
                self.step(id, Input::Message { from, message });
            }
            Happening::Timer { timer, at, .. } => {
                if node.timers.get(&timer) == Some(&at) {
                    node.timers.remove(&timer);
                    self.step(id, Input::Timer(timer));
                }
            }
            Happening::Request { request, .. } => {
                let client = ClientId(request.serial);
                self.step(id, Input::Request { client, request });
            }
        }
    }

    fn step(&mut self, id: NodeId, input: Input<Message, Timer>) {
        let now = Tick(self.now);
        let Some(raft) = self.nodes.get_mut(&id).and_then(|node| node.raft.as_mut()) else {
            return;
        };
        let outputs = raft.step(now, input);
        let dies_after = (self.rng.random_range(0..1000) < self.crash)
            .then(|| self.rng.random_range(0..=outputs.len()));
        for (index, output) in outputs.into_iter().enumerate() {
            if dies_after == Some(index) {
                let power = self.rng.random_bool(0.5);
                self.kill(id, power);
                return;
            }
            self.perform(id, output);
        }
    }

    fn perform(&mut self, id: NodeId, output: Output<Message, Timer>) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let inc = node.setup.inc;
        match output {
            // The simulator arms none.
            Output::Failpoint { .. } => {}
            Output::Event(stamped) => self.invariants.event(now, id, node, &stamped),
            Output::Write(record) => node.disk.push(record),
            Output::Sync(events) => {
                if !self.lying_disk {
                    node.durable = node.disk.len();
                }
                for stamped in events {
                    self.invariants.event(now, id, node, &stamped);
                }
            }
            Output::Rewrite { records, persisted } => {
                node.disk = records;
                node.durable = if self.lying_disk { 0 } else { node.disk.len() };
                for stamped in persisted {
                    self.invariants.event(now, id, node, &stamped);
                }
            }
            Output::SetTimer(timer, at) => {
                node.timers.insert(timer, at.0);
                self.schedule(at.0, Happening::Timer { node: id, inc, timer, at: at.0 });
            }
            Output::CancelTimer(timer) => {
                node.timers.remove(&timer);
            }
            Output::Send { to, message } => {
                self.invariants.sent(now, id, node, to, &message);
                self.transmit(id, to, message);
            }
            Output::Reply { reply, .. } => {
                self.invariants.replied(now, id, &reply);
                self.replies.insert(reply.serial, reply);
            }
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: Message) {
        // It fits into a frame, and is what the receiver reads out of it.
        let (frame, _) = Frame::decode(&message.to_frame().encode()).unwrap().unwrap();
        assert_eq!(Message::from_frame(&frame).as_ref(), Some(&message));
        let lost = self.rng.random_range(0..1000) < self.loss;
        if lost || self.cut.contains(&(from, to)) {
            return;
        }
        if self.holding.contains(&(from, to, message.kind())) {
            self.held_back.push((from, to, message));
            return;
        }
        let copies = 1 + u32::from(self.rng.random_range(0..1000) < self.doubled);
        for _ in 0..copies {
            let mut at = self.now + self.rng.random_range(MS / 10..3 * MS);
            if self.rng.random_range(0..1000) < self.late {
                at += self.rng.random_range(0..1500 * MS);
            }
            let message = message.clone();
            self.schedule(at, Happening::Deliver { from, to, message });
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    /// The leader that every member follows, if they all do and it agrees.
    pub(crate) fn common_leader(&self) -> Option<(NodeId, u64)> {
        let rafts = || self.nodes.values().filter_map(|node| node.raft.as_ref());
        let leads = |raft: &&Raft| raft.envelope().1 == Role::Leader;
        let raft = rafts().filter(leads).max_by_key(|raft| raft.envelope().0)?;
        let leader = raft.leader();
        let follows = |id| self.raft(id).is_some_and(|raft| raft.leader() == leader);
        self.members().into_iter().all(follows).then_some(leader).flatten()
    }

    /// The members of the configuration that the leader of the highest term has.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        let rafts = self.nodes.values().filter_map(|node| node.raft.as_ref());
        let leader = rafts
            .filter(|raft| raft.envelope().1 == Role::Leader)
            .max_by_key(|raft| raft.envelope().0);
        leader.map_or_else(Vec::new, |raft| raft.config().members().into_iter().collect())
    }

    /// Where each node stands, for a failure's message.
    pub(crate) fn describe(&self) -> String {
        let describe = |(id, node): (&NodeId, &SimNode)| match &node.raft {
            None => format!("{id} down"),
            Some(raft) => format!(
                "{id} {:?} leader {:?} commit {} of {}, {:?}",
                raft.envelope(),
                raft.leader(),
                raft.commit(),
                raft.entries().len(),
                raft.config()
            ),
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }
}
