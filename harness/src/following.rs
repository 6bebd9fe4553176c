//! Who leads and who follows, as the live history tells it: whether a cluster has come to rest.

use std::collections::BTreeMap;

use usurper_history::{Body, Effect, Event, HarnessEvent, NodeId, Phase, Record, Role};

/// The newest leader, and whom each node believes in.
#[derive(Debug)]
pub(crate) struct Following {
    /// Whom each node knows as its leader, as far as it has said so.
    known: BTreeMap<NodeId, Option<NodeId>>,
    /// Whether nodes say whom they follow.
    told: bool,
    leader: Option<NodeId>,
    /// When anything of that changed last, or a fault was done or undone.
    changed_ns: u64,
}

impl Following {
    pub(crate) fn new(nodes: &[NodeId], told: bool) -> Self {
        let known = nodes.iter().map(|node| (*node, None)).collect();
        Self { known, told, leader: None, changed_ns: 0 }
    }

    /// Since when the newest leader has led all nodes and nothing has happened; nothing while it does
    /// not.
    pub(crate) fn calm_since_ns(&self) -> Option<u64> {
        let leader = self.leader?;
        let follows = |(node, known): (&NodeId, &Option<NodeId>)| {
            !self.told || *node == leader || *known == Some(leader)
        };
        self.known.iter().all(follows).then_some(self.changed_ns)
    }

    pub(crate) fn observe(&mut self, record: &Record) {
        let node = match &record.body {
            Body::Node(node) => node,
            // A node that is gone leads nobody. One that has ended by itself does not come back.
            Body::Harness(HarnessEvent::Exit { node, .. }) => return self.lost(*node, record.t),
            Body::Fault(fault) if fault.phase == Phase::End && fault.effect != Effect::None => {
                self.changed_ns = record.t;
                return;
            }
            _ => return,
        };
        match &node.event {
            Event::LeaderElected { established: true, .. } => {
                self.leader = Some(node.node);
                self.changed_ns = record.t;
            }
            Event::LeaderKnown { leader, .. } => {
                let before = self.known.insert(node.node, *leader);
                if before != Some(*leader) {
                    self.changed_ns = record.t;
                }
            }
            Event::RoleChange { to, .. } => {
                self.changed_ns = record.t;
                if *to != Role::Leader && self.leader == Some(node.node) {
                    self.leader = None;
                }
                if matches!(to, Role::Looking | Role::PreCandidate | Role::Candidate) {
                    self.known.insert(node.node, None);
                }
            }
            Event::NodeStart { .. } => self.lost(node.node, record.t),
            _ => {}
        }
    }

    fn lost(&mut self, node: NodeId, now_ns: u64) {
        self.known.insert(node, None);
        self.leader = self.leader.filter(|leader| *leader != node);
        self.changed_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::Following;
    use usurper_history::{NodeId, Record};

    fn calm_after(lines: &[&str]) -> Option<u64> {
        let nodes: Vec<_> = NodeId::all(2).collect();
        let mut following = Following::new(&nodes, true);
        for line in lines {
            following.observe(&Record::parse(line.as_bytes()).unwrap());
        }
        following.calm_since_ns()
    }

    #[test]
    fn calm_is_a_leader_that_all_follow_and_nothing_since() {
        let leads = r#"{"t":1,"record":"node","node":"n1","inc":1,"seq":1,"event":"leader-elected","role":"follower","proto":"fle","term":1,"in-term":1,"established":true,"votes":["n1","n2"],"how":"election"}"#;
        let follows = r#"{"t":2,"record":"node","node":"n2","inc":1,"seq":1,"event":"leader-known","role":"follower","proto":"fle","term":1,"leader":"n1","in-term":1}"#;
        let looks = r#"{"t":3,"record":"node","node":"n2","inc":1,"seq":2,"event":"leader-known","role":"follower","proto":"fle","term":1,"leader":null,"in-term":1}"#;
        let again = r#"{"t":4,"record":"node","node":"n1","inc":1,"seq":2,"event":"leader-elected","role":"follower","proto":"fle","term":2,"in-term":2,"established":true,"votes":["n1","n2"],"how":"election"}"#;
        let gone = r#"{"t":5,"record":"harness","event":"exit","node":"n1","inc":1,"code":0,"expected":false}"#;
        assert_eq!(calm_after(&[leads]), None);
        assert_eq!(calm_after(&[leads, follows]), Some(2));
        assert_eq!(calm_after(&[leads, follows, looks]), None);
        assert_eq!(calm_after(&[leads, follows, again]), Some(4));
        assert_eq!(calm_after(&[leads, follows, gone]), None);
    }
}
