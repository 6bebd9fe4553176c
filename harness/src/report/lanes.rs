//! What each node was, when: the data behind the picture of a run.

use std::collections::BTreeMap;

use usurper_history::{
    Body, Effect, Event, FaultRecord, HarnessEvent, Link, NodeId, Outcome, Phase, Record, Role,
};

/// What a node was for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Down,
    Starting,
    Looking,
    Follower,
    Candidate,
    /// It won votes, and does not lead yet.
    Prospective,
    Leader,
}

impl State {
    pub(super) const ALL: [Self; 7] = [
        Self::Leader,
        Self::Prospective,
        Self::Candidate,
        Self::Follower,
        Self::Looking,
        Self::Starting,
        Self::Down,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Looking => "looking",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Prospective => "won votes",
            Self::Leader => "leader",
        }
    }
}

/// A stretch of time, in nanoseconds since the origin.
#[derive(Clone, Debug)]
pub(super) struct Span<T> {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    pub(super) what: T,
}

/// One node's story.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// States with the term they were in.
    pub(super) states: Vec<Span<(State, u64)>>,
    pub(super) paused: Vec<Span<()>>,
    /// While the node could not reach a majority.
    pub(super) cut: Vec<Span<()>>,
}

/// A step that was done, for the marks above the lanes.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at_ns: u64,
    pub(super) label: String,
    /// How it went, for a reader who asks.
    pub(super) detail: String,
}

/// A whole run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) lanes: BTreeMap<NodeId, Lane>,
    pub(super) marks: Vec<Mark>,
    /// While the machine stood still.
    pub(super) stalls: Vec<Span<()>>,
    pub(super) end_ns: u64,
    /// What is open at this point of the history.
    open: BTreeMap<NodeId, Open>,
    cut_links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since_ns: u64,
    state: State,
    term: u64,
    paused_ns: Option<u64>,
    cut_ns: Option<u64>,
}

impl Lanes {
    pub(super) fn new(nodes: &[NodeId]) -> Self {
        let open = Open { since_ns: 0, state: State::Down, term: 0, paused_ns: None, cut_ns: None };
        Self {
            lanes: nodes.iter().map(|node| (*node, Lane::default())).collect(),
            open: nodes.iter().map(|node| (*node, open)).collect(),
            ..Self::default()
        }
    }

    /// Takes note of a record, in the order of time.
    pub(super) fn observe(&mut self, record: &Record) {
        self.end_ns = self.end_ns.max(record.t);
        match &record.body {
            Body::Harness(HarnessEvent::Spawn { node, .. }) => {
                self.change(*node, record.t, State::Starting, 0);
            }
            Body::Harness(HarnessEvent::Exit { node, .. }) => {
                self.change(*node, record.t, State::Down, 0);
                self.pause(*node, record.t, false);
            }
            Body::Node(event) => {
                let state = match (&event.event, event.role) {
                    (Event::LeaderElected { established: true, .. }, _) => State::Leader,
                    (Event::LeaderElected { established: false, .. }, _) => State::Prospective,
                    (Event::RoleChange { to, .. }, _) => self.state_of(event.node, *to),
                    (_, role) => self.state_of(event.node, role),
                };
                let term = match &event.event {
                    Event::LeaderElected { in_term, .. } => *in_term,
                    _ => event.term,
                };
                self.change(event.node, record.t, state, term);
            }
            Body::Harness(HarnessEvent::Stall { until }) => {
                self.stalls.push(Span { from_ns: record.t, to_ns: *until, what: () });
            }
            Body::Fault(fault) if fault.phase == Phase::End => self.fault(record.t, fault),
            _ => {}
        }
    }

    /// Ends what is still open.
    pub(super) fn finish(&mut self) {
        let end_ns = self.end_ns;
        for node in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.change(node, end_ns, State::Down, u64::MAX);
            self.pause(node, end_ns, false);
        }
        self.cut_links.clear();
        self.note_cuts(end_ns);
    }

    /// A role in the colours of the picture. A leader's role alone does not say that it leads.
    fn state_of(&self, node: NodeId, role: Role) -> State {
        match role {
            Role::Looking => State::Looking,
            Role::Follower | Role::Learner | Role::Observer => State::Follower,
            Role::Candidate | Role::PreCandidate => State::Candidate,
            Role::Leader => match self.open.get(&node).map(|open| open.state) {
                Some(State::Leader) => State::Leader,
                _ => State::Prospective,
            },
        }
    }

    fn change(&mut self, node: NodeId, t: u64, state: State, term: u64) {
        let (Some(open), Some(lane)) = (self.open.get_mut(&node), self.lanes.get_mut(&node)) else {
            return;
        };
        if (open.state, open.term) == (state, term) {
            return;
        }
        if t > open.since_ns {
            let what = (open.state, open.term);
            lane.states.push(Span { from_ns: open.since_ns, to_ns: t, what });
        }
        (open.since_ns, open.state, open.term) = (t, state, term);
    }

    fn pause(&mut self, node: NodeId, t: u64, paused: bool) {
        let (Some(open), Some(lane)) = (self.open.get_mut(&node), self.lanes.get_mut(&node)) else {
            return;
        };
        match (open.paused_ns, paused) {
            (None, true) => open.paused_ns = Some(t),
            (Some(from_ns), false) => {
                lane.paused.push(Span { from_ns, to_ns: t, what: () });
                open.paused_ns = None;
            }
            _ => {}
        }
    }

    fn fault(&mut self, t: u64, fault: &FaultRecord) {
        if fault.outcome == Some(Outcome::Skipped) {
            return;
        }
        match fault.effect {
            Effect::Frozen => fault.nodes.iter().for_each(|node| self.pause(*node, t, true)),
            Effect::Thawed => fault.nodes.iter().for_each(|node| self.pause(*node, t, false)),
            Effect::Cut => {
                self.cut_links.extend(&fault.links);
                self.note_cuts(t);
            }
            Effect::Healed => {
                self.cut_links.retain(|link| !fault.links.contains(link));
                self.note_cuts(t);
            }
            _ => {}
        }
        if fault.fault != "wait" {
            let nodes: Vec<_> = fault.nodes.iter().map(ToString::to_string).collect();
            let label = format!("{} {}", fault.fault, nodes.join(" ")).trim_end().to_owned();
            let said = [&fault.proof, &fault.reason].into_iter().flatten().cloned();
            let detail = said.collect::<Vec<_>>().join("; ");
            self.marks.push(Mark { at_ns: t, label, detail });
        }
    }

    fn note_cuts(&mut self, t: u64) {
        let nodes: Vec<_> = self.open.keys().copied().collect();
        for (node, open) in &mut self.open {
            let lost = |peer: &&NodeId| {
                let ends = [(*node, **peer), (**peer, *node)];
                self.cut_links.iter().any(|link| ends.contains(&(link.from, link.to)))
            };
            let reached = nodes.len() - nodes.iter().filter(lost).count();
            let cut = reached <= nodes.len() / 2;
            match (open.cut_ns, cut) {
                (None, true) => open.cut_ns = Some(t),
                (Some(from_ns), false) => {
                    open.cut_ns = None;
                    if let Some(lane) = self.lanes.get_mut(node) {
                        lane.cut.push(Span { from_ns, to_ns: t, what: () });
                    }
                }
                _ => {}
            }
        }
    }
}
