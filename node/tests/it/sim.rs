//! A simulated cluster: the same state machines as in a process, in virtual time.
//!
//! Messages are delayed, reordered across connections, dropped and cut off; processes are killed
//! in the middle of a step, stopped and continued; power failures take what was not synced.
//! Everything derives from one seed.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use usurper_history::{NodeId, frame::Kind};
use usurper_node::{
    fle::{Fle, Message, Timer},
    protocol::{ClientId, Input, Output, Protocol, Request, Setup, Tick},
};

use super::invariants::Invariants;

pub(crate) const MS: u64 = 1_000_000;

pub(crate) struct Sim {
    pub(crate) now: u64,
    pub(crate) rng: StdRng,
    pub(crate) nodes: BTreeMap<NodeId, SimNode>,
    pub(crate) invariants: Invariants,
    /// Messages of a kind that a link holds back until they are released.
    holding: BTreeSet<(NodeId, NodeId, Kind)>,
    held_back: Vec<Happening>,
    /// A sync returns without having done anything.
    pub(crate) lying_disk: bool,
    /// Directed links that carry nothing.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    /// Per mille of messages that are lost.
    pub(crate) loss: u32,
    /// Per mille of messages that are held for long.
    pub(crate) held: u32,
    /// Per mille of steps in which the process is killed.
    pub(crate) crash: u32,
    /// When the last message on a link arrives: a connection keeps the order.
    arrival: BTreeMap<(NodeId, NodeId), u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
}

pub(crate) struct SimNode {
    pub(crate) fle: Option<Fle>,
    setup: Setup,
    /// The log: all that was written, and how many records of it were synced.
    disk: Vec<Vec<u8>>,
    durable: usize,
    timers: BTreeMap<Timer, u64>,
    /// Stopped: what arrives waits.
    backlog: Option<Vec<Happening>>,
}

#[derive(Clone, Debug)]
enum Happening {
    Deliver { from: NodeId, to: NodeId, inc: u32, message: Message },
    Timer { node: NodeId, inc: u32, timer: Timer, at: u64 },
    Connected { node: NodeId, inc: u32, peer: NodeId },
}

impl Happening {
    fn node(&self) -> (NodeId, u32) {
        match self {
            Self::Deliver { to: node, inc, .. }
            | Self::Timer { node, inc, .. }
            | Self::Connected { node, inc, .. } => (*node, *inc),
        }
    }
}

impl Sim {
    pub(crate) fn new(seed: u64, count: u8, defects: &[&str], params: &[(&str, &str)]) -> Self {
        let members: Vec<_> = NodeId::all(count).collect();
        let nodes = members.iter().map(|id| {
            let setup = setup(*id, &members, seed, defects, params);
            let node = SimNode {
                fle: None,
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
            invariants: Invariants::new(members.len()),
            holding: BTreeSet::new(),
            held_back: Vec::new(),
            lying_disk: false,
            cut: BTreeSet::new(),
            loss: 0,
            held: 0,
            crash: 0,
            arrival: BTreeMap::new(),
            queue: BTreeMap::new(),
            scheduled: 0,
        }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn fle(&self, id: NodeId) -> Option<&Fle> {
        self.nodes[&id].fle.as_ref()
    }

    pub(crate) fn start_all(&mut self) {
        for id in self.ids() {
            self.start(id);
        }
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.fle.is_some() {
            return;
        }
        node.setup.inc += 1;
        // As the store does: what was recovered is made durable.
        if !self.lying_disk {
            node.durable = node.disk.len();
        }
        node.fle = Some(Fle::recover(&node.setup, &node.disk).expect("its own log"));
        self.step(id, Input::Start);
        for peer in self.ids() {
            if peer != id {
                self.connect(id, peer);
            }
        }
    }

    /// A new connection between two nodes: both are told, and what was under way is lost.
    pub(crate) fn connect(&mut self, one: NodeId, other: NodeId) {
        let between = |happening: &Happening| {
            matches!(happening, Happening::Deliver { from, to, .. }
                if (*from, *to) == (one, other) || (*from, *to) == (other, one))
        };
        self.queue.retain(|_, happening| !between(happening));
        if self.fle(one).is_none() || self.fle(other).is_none() {
            return;
        }
        let at = self.now + self.rng.random_range(MS..30 * MS);
        for (node, peer) in [(one, other), (other, one)] {
            self.arrival.insert((node, peer), at);
            let inc = self.nodes[&node].setup.inc;
            self.schedule(at, Happening::Connected { node, inc, peer });
        }
    }

    /// The process is gone; with `power`, so is what it did not sync.
    pub(crate) fn kill(&mut self, id: NodeId, power: bool) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.fle = None;
        node.backlog = None;
        node.timers.clear();
        if power {
            node.disk.truncate(node.durable);
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

    pub(crate) fn advance(&mut self, id: NodeId, value: u64) {
        let request = Request {
            serial: 1,
            f: "advance".to_owned(),
            key: None,
            value: Some(json!(value)),
            session: None,
        };
        if self.fle(id).is_some() && self.nodes[&id].backlog.is_none() {
            self.step(id, Input::Request { client: ClientId(1), request });
        }
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        self.run_until_or(end, |_| false);
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
        let (id, inc) = happening.node();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.fle.is_none() || node.setup.inc != inc {
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
            Happening::Connected { peer, .. } => self.step(id, Input::Connected(peer)),
        }
    }

    fn step(&mut self, id: NodeId, input: Input<Message, Timer>) {
        let now = Tick(self.now);
        let Some(fle) = self.nodes.get_mut(&id).and_then(|node| node.fle.as_mut()) else { return };
        let outputs = fle.step(now, input);
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
        let node = self.nodes.get_mut(&id).unwrap();
        let inc = node.setup.inc;
        match output {
            Output::Event(stamped) => self.invariants.event(self.now, id, inc, &stamped),
            Output::Write(record) => node.disk.push(record),
            Output::Rewrite { .. } => unreachable!("its log is short"),
            Output::Sync(events) => {
                if !self.lying_disk {
                    node.durable = node.disk.len();
                }
                for stamped in events {
                    self.invariants.event(self.now, id, inc, &stamped);
                }
            }
            Output::SetTimer(timer, at) => {
                node.timers.insert(timer, at.0);
                self.schedule(at.0, Happening::Timer { node: id, inc, timer, at: at.0 });
            }
            Output::CancelTimer(timer) => {
                node.timers.remove(&timer);
            }
            Output::Send { to, message } => self.transmit(id, to, message),
            Output::Reply { .. } | Output::Failpoint { .. } => {}
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: Message) {
        let lost = self.rng.random_range(0..1000) < self.loss;
        if lost || self.cut.contains(&(from, to)) || self.fle(to).is_none() {
            return;
        }
        let delay = self.rng.random_range(MS / 10..3 * MS);
        let inc = self.nodes[&to].setup.inc;
        if self.holding.contains(&(from, to, message.kind())) {
            self.held_back.push(Happening::Deliver { from, to, inc, message });
            return;
        }
        let arrival = self.arrival.entry((from, to)).or_default();
        let mut at = (self.now + delay).max(*arrival + 1);
        *arrival = at;
        // The nemesis can hold a single message, whatever comes after it.
        if self.rng.random_range(0..1000) < self.held {
            at += self.rng.random_range(0..1500 * MS);
        }
        self.schedule(at, Happening::Deliver { from, to, inc, message });
    }

    pub(crate) fn hold(&mut self, from: NodeId, to: NodeId, kinds: &[Kind]) {
        self.holding.extend(kinds.iter().map(|kind| (from, to, *kind)));
    }

    /// Delivers what was held back, and holds no more.
    pub(crate) fn release(&mut self) {
        for (from, to, _) in self.holding.clone() {
            self.release_link(from, to);
        }
    }

    pub(crate) fn release_link(&mut self, from: NodeId, to: NodeId) {
        self.holding.retain(|(one, other, _)| (*one, *other) != (from, to));
        let (released, kept) = std::mem::take(&mut self.held_back).into_iter().partition(
            |held| matches!(held, Happening::Deliver { from: one, to: other, .. } if (*one, *other) == (from, to)),
        );
        self.held_back = kept;
        let released: Vec<_> = released;
        for happening in released {
            self.schedule(self.now + MS, happening);
        }
    }

    /// Starts this node with a parameter of its own.
    pub(crate) fn set_param(&mut self, id: NodeId, name: &str, value: &str) {
        let params = &mut self.nodes.get_mut(&id).unwrap().setup.params;
        params.push((name.to_owned(), value.to_owned()));
    }

    /// Cuts all links between two nodes.
    pub(crate) fn part(&mut self, one: NodeId, other: NodeId) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// Cuts a node off from all others.
    pub(crate) fn isolate(&mut self, id: NodeId) {
        for peer in self.ids() {
            self.part(id, peer);
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    pub(crate) fn pick(&mut self) -> NodeId {
        let ids = self.ids();
        *ids.choose(&mut self.rng).unwrap()
    }

    /// The leader that every node follows, if they all do and it agrees.
    pub(crate) fn common_leader(&self) -> Option<(NodeId, u64)> {
        let mut leaders = self.nodes.values().map(|node| node.fle.as_ref()?.leader());
        let first = leaders.next()??;
        leaders.all(|leader| leader == Some(first)).then_some(first)
    }

    /// Where each node stands, for a failure's message.
    pub(crate) fn describe(&self) -> String {
        let describe = |(id, node): (&NodeId, &SimNode)| match &node.fle {
            None => format!("{id} down"),
            Some(fle) => format!(
                "{id} {:?} leader {:?} accepted {} round {}",
                fle.envelope(),
                fle.leader(),
                fle.accepted_epoch(),
                fle.round()
            ),
        };
        self.nodes.iter().map(describe).collect::<Vec<_>>().join("; ")
    }
}

/// The setup of a node that was never started.
pub(crate) fn setup(
    id: NodeId,
    members: &[NodeId],
    seed: u64,
    defects: &[&str],
    params: &[(&str, &str)],
) -> Setup {
    let param = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Setup {
        id,
        members: members.to_vec(),
        seed,
        inc: 0,
        defects: defects.iter().map(|name| (*name).to_owned()).collect(),
        params: params.iter().map(param).collect(),
    }
}
