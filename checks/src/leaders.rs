//! Who leads, by the nodes' own events: roles, established tenures and believed leaders.
//!
//! A tenure begins with `leader-elected` of `established: true` and ends when the node changes to
//! another role, ends, or starts again. Roles come from `role-change` events where the system emits
//! them, else from the events' envelopes.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, HarnessEvent, Header, NodeId, NodeRecord, Record, Role};

use crate::timeline::Mark;

/// The nodes as the cluster's own events show them.
#[derive(Debug)]
pub(crate) struct Leaders {
    nodes: BTreeMap<NodeId, Node>,
    /// Whether the system emits `role-change`.
    tells_roles: bool,
    /// The highest term in which a leader was established so far.
    highest: Option<u64>,
    established: u64,
    opened: Option<Tenure>,
    closed: Option<Tenure>,
    /// Whether the last record changed a role, a term, a tenure or a belief.
    changed: bool,
}

/// One established leadership.
#[derive(Clone, Debug)]
pub(crate) struct Tenure {
    pub(crate) node: NodeId,
    pub(crate) term: u64,
    pub(crate) since: Mark,
    /// Heartbeats recorded as sent in it.
    pub(crate) heartbeats: u64,
}

#[derive(Debug, Default)]
struct Node {
    inc: u32,
    role: Option<Role>,
    /// The highest term of its events.
    term: u64,
    /// Whether the envelope has shown the role of a leader in the open tenure.
    seen_leading: bool,
    tenure: Option<Tenure>,
    known: Option<Known>,
}

/// A node's belief of who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) leader: NodeId,
    pub(crate) term: u64,
    pub(crate) since: Mark,
}

impl Leaders {
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            nodes: BTreeMap::new(),
            tells_roles: header.events.iter().any(|event| event == "role-change"),
            highest: None,
            established: 0,
            opened: None,
            closed: None,
            changed: false,
        }
    }

    pub(crate) fn apply(&mut self, mark: Mark, record: &Record) {
        self.opened = None;
        self.closed = None;
        self.changed = false;
        match &record.body {
            Body::Node(event) => self.node_event(mark, event),
            Body::Harness(HarnessEvent::Spawn { node, inc, .. }) => self.renew(*node, *inc),
            Body::Harness(HarnessEvent::Exit { node, inc, .. }) => self.lose(*node, *inc),
            _ => {}
        }
    }

    /// Whether a node holds an established tenure that no later one has superseded.
    pub(crate) fn is_current(&self, node: NodeId) -> bool {
        self.tenure(node).is_some_and(|tenure| Some(tenure.term) >= self.highest)
    }

    /// The open tenure of a node.
    pub(crate) fn tenure(&self, node: NodeId) -> Option<&Tenure> {
        self.nodes.get(&node)?.tenure.as_ref()
    }

    /// Every open tenure, in the order of the nodes.
    pub(crate) fn tenures(&self) -> impl Iterator<Item = &Tenure> {
        self.nodes.values().filter_map(|node| node.tenure.as_ref())
    }

    /// The role of the node's running incarnation.
    pub(crate) fn role(&self, node: NodeId) -> Option<Role> {
        self.nodes.get(&node)?.role
    }

    /// Whom the node's running incarnation believes to lead.
    pub(crate) fn known(&self, node: NodeId) -> Option<Known> {
        self.nodes.get(&node)?.known
    }

    /// Whether the node's running incarnation believes in this leader, and is in its term, as far as
    /// it tells of terms: one that knows it from an earlier term may never have heard of this one.
    pub(crate) fn follows(&self, node: NodeId, leader: NodeId, term: u64) -> bool {
        self.nodes.get(&node).is_some_and(|state| {
            let in_term = |known: Known| known.term == 0 || known.term.max(state.term) >= term;
            state.known.is_some_and(|known| known.leader == leader && in_term(known))
        })
    }

    /// Whether the last record changed anybody's role, term, tenure or belief.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// The tenure that the last record began.
    pub(crate) fn opened(&self) -> Option<&Tenure> {
        self.opened.as_ref()
    }

    /// The tenure that the last record ended.
    pub(crate) fn closed(&self) -> Option<&Tenure> {
        self.closed.as_ref()
    }

    /// How many leaders were established so far.
    pub(crate) fn established(&self) -> u64 {
        self.established
    }

    /// An incarnation of a node is gone.
    pub(crate) fn lose(&mut self, node: NodeId, inc: u32) {
        if let Some(state) = self.nodes.get_mut(&node)
            && state.inc <= inc
        {
            self.closed = state.tenure.take().or(self.closed.take());
            *state = Node { inc: state.inc, ..Node::default() };
            self.changed = true;
        }
    }

    fn renew(&mut self, node: NodeId, inc: u32) {
        let state = self.nodes.entry(node).or_default();
        if inc > state.inc {
            self.closed = state.tenure.take().or(self.closed.take());
            *state = Node { inc, ..Node::default() };
            self.changed = true;
        }
    }

    fn node_event(&mut self, mark: Mark, record: &NodeRecord) {
        self.renew(record.node, record.inc);
        let state = self.nodes.entry(record.node).or_default();
        if record.inc < state.inc {
            return;
        }
        if record.term > state.term {
            self.changed = true;
            state.term = record.term;
        }
        if !self.tells_roles || state.role.is_none() {
            self.changed |= state.role != Some(record.role);
            state.role = Some(record.role);
        }
        match &record.event {
            Event::RoleChange { to, .. } => {
                self.changed = true;
                state.role = Some(*to);
            }
            Event::LeaderKnown { leader, in_term } => {
                self.changed = true;
                state.known = leader.map(|leader| Known { leader, term: *in_term, since: mark });
            }
            Event::Heartbeat { dir, msg_term, .. } if dir == "sent" => {
                if let Some(tenure) = state.tenure.as_mut().filter(|it| it.term == *msg_term) {
                    tenure.heartbeats += 1;
                }
            }
            Event::LeaderElected { in_term, established: true, .. } => {
                self.changed = true;
                let again = state.tenure.as_ref().is_some_and(|it| it.term == *in_term);
                if !again {
                    let tenure =
                        Tenure { node: record.node, term: *in_term, since: mark, heartbeats: 0 };
                    self.closed = state.tenure.replace(tenure.clone());
                    self.opened = Some(tenure);
                    self.established += 1;
                    self.highest = self.highest.max(Some(*in_term));
                    state.seen_leading = state.role == Some(Role::Leader);
                }
                return;
            }
            _ => {}
        }
        // A node can tell of its election before its role changes.
        let leads = state.role == Some(Role::Leader);
        if state.tenure.is_none() {
            return;
        }
        if state.seen_leading && !leads || is_step_down(&record.event) {
            self.closed = state.tenure.take();
            self.changed = true;
        } else if leads {
            state.seen_leading = true;
        }
    }
}

/// A change to anything but a leader ends a tenure, even one whose role was never seen.
fn is_step_down(event: &Event) -> bool {
    matches!(event, Event::RoleChange { to, .. } if *to != Role::Leader)
}
