//! Who led when, as servers' logs tell it.

use std::collections::BTreeMap;

use serde_json::Value;
use usurper_history::{Body, Event, HarnessEvent, NodeId, Record, Role};

use crate::verdict::Leadership;

/// How a leadership ends of which nothing tells the end.
const LOG_STOPS: &str = "its log stops";

/// Where the line is that a record was read from.
pub(super) fn place(record: &Record) -> Option<String> {
    record.extra.get("at").and_then(Value::as_str).map(str::to_owned)
}

/// Who led when, in the order of the begins.
pub(super) fn leaderships(records: &[(u64, Record)]) -> Vec<Leadership> {
    let mut open: BTreeMap<NodeId, Leadership> = BTreeMap::new();
    let mut over = Vec::new();
    let mut end = |open: &mut BTreeMap<NodeId, Leadership>, node: NodeId, t: u64, why: &str| {
        if let Some(leadership) = open.remove(&node) {
            over.push(Leadership { to_ns: t, end: why.to_owned(), ..leadership });
        }
    };
    let mut follows: BTreeMap<NodeId, (NodeId, u64)> = BTreeMap::new();
    let mut until: BTreeMap<(NodeId, u64), u64> = BTreeMap::new();
    for (_, record) in records {
        let t = record.t;
        match &record.body {
            Body::Node(node) => match &node.event {
                Event::LeaderElected { in_term, established: true, votes, .. } => {
                    end(&mut open, node.node, t, "it was elected again");
                    let leadership = Leadership {
                        node: node.node,
                        term: *in_term,
                        votes: votes.clone(),
                        from_ns: t,
                        to_ns: t,
                        end: String::new(),
                        followed_until_ns: None,
                        place: place(record).unwrap_or_default(),
                    };
                    open.insert(node.node, leadership);
                }
                Event::RoleChange { to, reason, .. } => {
                    if *to != Role::Leader {
                        end(&mut open, node.node, t, reason);
                    }
                    if !matches!(to, Role::Follower | Role::Observer | Role::Learner)
                        && let Some(led) = follows.remove(&node.node)
                    {
                        until.insert(led, t);
                    }
                }
                Event::LeaderKnown { leader, in_term } => {
                    let led = leader.filter(|leader| *leader != node.node);
                    let before = follows.remove(&node.node);
                    follows.extend(led.map(|leader| (node.node, (leader, *in_term))));
                    until.extend(before.map(|led| (led, t)));
                }
                _ => {}
            },
            Body::Harness(HarnessEvent::Exit { node, .. }) => {
                let why = record.extra.get("why").and_then(Value::as_str);
                end(&mut open, *node, t, why.unwrap_or(LOG_STOPS));
                follows.remove(node);
            }
            _ => {}
        }
    }
    for leadership in over.iter_mut().filter(|it| it.end == LOG_STOPS) {
        let until = until.get(&(leadership.node, leadership.term)).copied();
        leadership.followed_until_ns = until.filter(|until| *until > leadership.to_ns);
    }
    over.sort_by_key(|leadership| (leadership.from_ns, leadership.node));
    over
}
