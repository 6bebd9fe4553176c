//! What must hold in every run, judged from the events alone, as a check would.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Event, NodeId, Role};
use usurper_node::protocol::Stamped;

#[derive(Default)]
pub(crate) struct Invariants {
    members: usize,
    /// Who was established in each epoch.
    leaders: BTreeMap<u64, NodeId>,
    /// Whom each node durably accepted in each epoch.
    accepted: BTreeMap<(NodeId, u64), NodeId>,
    accepted_max: BTreeMap<NodeId, u64>,
    /// Epochs in which a node may send heartbeats, in this incarnation.
    leads: BTreeMap<NodeId, u64>,
    /// Who won which round, whether or not it came to lead.
    pub(crate) winners: BTreeSet<(NodeId, u64)>,
    /// Every heartbeat event, of whom.
    pub(crate) heartbeats: Vec<(NodeId, Event)>,
    /// The first few of what was broken.
    pub(crate) violations: Vec<String>,
    pub(crate) elections: usize,
    /// Who went from leader to follower at a stroke.
    pub(crate) yielded: BTreeSet<NodeId>,
    pub(crate) names: BTreeSet<&'static str>,
    pub(crate) defect_hits: BTreeSet<String>,
    pub(crate) transcript: Option<Vec<String>>,
}

impl Invariants {
    pub(crate) fn new(members: usize) -> Self {
        Self { members, ..Self::default() }
    }

    pub(crate) fn event(&mut self, now: u64, node: NodeId, inc: u32, stamped: &Stamped) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{:>6} ms {node}.{inc} {stamped:?}", now / 1_000_000));
        }
        self.names.insert(stamped.event.name());
        match &stamped.event {
            event @ Event::Heartbeat { .. } => self.heartbeats.push((node, event.clone())),
            Event::RoleChange { from: Role::Leader, to: Role::Follower, .. } => {
                self.yielded.insert(node);
            }
            Event::LeaderElected { established: false, round, .. } => {
                self.winners.insert((node, round.unwrap()));
            }
            _ => {}
        }
        match &stamped.event {
            Event::NodeStart { persisted, .. } => {
                self.leads.remove(&node);
                let found = persisted.accepted_epoch.unwrap_or(0);
                let before = self.accepted_max.get(&node).copied().unwrap_or(0);
                if found < before {
                    self.broken("an accepted epoch never decreases", now, node, stamped);
                }
                self.accepted_max.insert(node, found);
                // A record can be written, and then found, without its sync ever having returned.
                if let Some(leader) = persisted.accepted_leader {
                    self.accept(found, leader, now, node, stamped);
                }
            }
            Event::Persist { what, value: Some(epoch), bound_to: Some(leader), .. }
                if what == "accepted-epoch" =>
            {
                let before = self.accepted_max.insert(node, *epoch).unwrap_or(0);
                if *epoch < before {
                    self.broken("an accepted epoch never decreases", now, node, stamped);
                }
                self.accept(*epoch, *leader, now, node, stamped);
            }
            Event::Ack { to, in_term, .. } if self.accepted.get(&(node, *in_term)) != Some(to) => {
                self.broken("an acceptance is durable before it is told", now, node, stamped);
            }
            Event::LeaderElected { in_term, established: true, votes, .. } => {
                self.elections += 1;
                let leader = *self.leaders.entry(*in_term).or_insert(node);
                if leader != node {
                    self.broken("one established leader per epoch", now, node, stamped);
                }
                if votes.len() <= self.members / 2 {
                    self.broken("a quorum establishes a leader", now, node, stamped);
                }
                self.leads.insert(node, *in_term);
            }
            Event::Heartbeat { dir, msg_term, .. }
                if dir == "sent" && self.leads.get(&node) != Some(msg_term) =>
            {
                self.broken("only an established leader heartbeats", now, node, stamped);
            }
            Event::Heartbeat { dir, msg_term, .. } if dir == "accepted" => {
                let promised = self.accepted_max.get(&node).copied().unwrap_or(0);
                if *msg_term < promised || *msg_term < stamped.term {
                    let rule = "no heartbeat below the accepted epoch is accepted";
                    self.broken(rule, now, node, stamped);
                }
            }
            Event::DefectHit { name, .. } => {
                self.defect_hits.insert(name.clone());
            }
            _ => {}
        }
    }

    fn accept(&mut self, epoch: u64, leader: NodeId, now: u64, node: NodeId, stamped: &Stamped) {
        if *self.accepted.entry((node, epoch)).or_insert(leader) != leader {
            self.broken("one leader is accepted per epoch", now, node, stamped);
        }
    }

    fn broken(&mut self, rule: &str, now: u64, node: NodeId, stamped: &Stamped) {
        if self.violations.len() < 10 {
            let at = now / 1_000_000;
            self.violations.push(format!("{rule}: {node} at {at} ms: {:?}", stamped.event));
        }
    }
}
