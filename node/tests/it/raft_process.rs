//! `raft` as real processes on loopback: what a client sees.

use std::time::Duration;

use serde_json::{Value, json};
use usurper_history::NodeId;
use usurper_node::client::Outcome;

use super::cluster::Cluster;

const PATIENCE: Duration = Duration::from_secs(30);

fn call(cluster: &Cluster, node: NodeId, f: &str, value: Option<Value>) -> Outcome {
    let (f, value) = (f.to_owned(), value);
    cluster.with_client(node, async |client| client.call(&f, Some("x"), value, PATIENCE).await)
}

fn started() -> (Cluster, Vec<NodeId>) {
    let mut cluster = Cluster::new(3, &[]);
    cluster.system = "raft";
    let nodes: Vec<_> = NodeId::all(3).collect();
    for id in &nodes {
        cluster.start(*id, &[]);
    }
    (cluster, nodes)
}

#[test]
fn what_was_acknowledged_survives_the_restart_of_everything() {
    let (mut cluster, nodes) = started();
    let (leader, term) = cluster.wait_for_leader(&nodes, 0);
    assert_eq!(call(&cluster, leader, "write", Some(json!("first"))), Outcome::Ok(json!(null)));
    let cas = call(&cluster, leader, "cas", Some(json!(["first", "second"])));
    assert_eq!(cas, Outcome::Ok(json!(null)));
    let refused = call(&cluster, leader, "cas", Some(json!(["first", "third"])));
    assert_eq!(refused, Outcome::No("`x` is \"second\", not \"first\"".to_owned()));
    for id in &nodes {
        cluster.kill(*id);
    }
    for id in &nodes {
        cluster.start(*id, &[]);
    }
    let (leader, _) = cluster.wait_for_leader(&nodes, term);
    assert_eq!(call(&cluster, leader, "read", None), Outcome::Ok(json!("second")));
}

#[test]
fn a_follower_says_who_leads_and_does_nothing() {
    let (mut cluster, nodes) = started();
    let (leader, _) = cluster.wait_for_leader(&nodes, 0);
    for node in nodes.into_iter().filter(|node| *node != leader) {
        let refused = Outcome::Fail(format!("not leader; {leader} leads"));
        assert_eq!(call(&cluster, node, "write", Some(json!(1))), refused);
        // A read it can serve: it asks the leader for the index.
        assert_eq!(call(&cluster, node, "read", None), Outcome::Ok(json!(null)));
        let hint = cluster.with_client(node, async |client| {
            client.call("write", Some("x"), Some(json!(1)), PATIENCE).await;
            client.leader_hint()
        });
        assert_eq!(hint, Some(leader));
    }
    assert_eq!(call(&cluster, leader, "read", None), Outcome::Ok(json!(null)));
}

#[test]
fn leadership_is_handed_over_on_request() {
    let (mut cluster, nodes) = started();
    let (leader, term) = cluster.wait_for_leader(&nodes, 0);
    let next = nodes.iter().copied().find(|node| *node != leader).unwrap();
    // A follower passes it on; a leader answers when it leads no more.
    assert_eq!(call(&cluster, next, "transfer", None), Outcome::Ok(json!(null)));
    assert_eq!(cluster.wait_for_leader(&nodes, term), (next, term + 1));
    let back = call(&cluster, next, "transfer", Some(json!(leader)));
    assert_eq!(back, Outcome::Ok(json!(null)));
    assert_eq!(cluster.wait_for_leader(&nodes, term + 1), (leader, term + 2));
}

#[test]
fn a_lock_is_given_to_one_client_with_a_token_that_grows() {
    let (mut cluster, nodes) = started();
    let (leader, _) = cluster.wait_for_leader(&nodes, 0);
    let acquire = || call(&cluster, leader, "acquire", None);
    let Outcome::Ok(first) = acquire() else { panic!("a free lock is not given") };
    assert_eq!(acquire(), Outcome::No(format!("`x` is held with token {first}")));
    let release = |token: Value| call(&cluster, leader, "release", Some(token));
    assert_eq!(release(first.clone()), Outcome::Ok(json!(null)));
    let Outcome::Ok(second) = acquire() else { panic!("a lock given back is not given") };
    assert!(second.as_u64() > first.as_u64(), "{first} {second}");
    assert_eq!(release(first.clone()), Outcome::No(format!("`x` is not held with {first}")));
}

#[test]
fn a_leader_alone_does_not_know_what_becomes_of_a_write() {
    let (mut cluster, nodes) = started();
    let (leader, _) = cluster.wait_for_leader(&nodes, 0);
    for node in nodes.into_iter().filter(|node| *node != leader) {
        cluster.kill(node);
    }
    // It steps down for want of a quorum, with the write in its log.
    let outcome = call(&cluster, leader, "write", Some(json!(1)));
    let unknown = Outcome::Info(format!("{leader} was deposed"));
    let already = Outcome::Fail("not leader; no leader is known".to_owned());
    assert!(outcome == unknown || outcome == already, "{outcome:?}");
}
