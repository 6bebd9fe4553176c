//! `raft` as real processes on loopback: what a client sees.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use usurper_history::{
    NodeId,
    frame::{Frame, Kind},
};
use usurper_node::client::{Outcome, Request, SessionOp};

use super::cluster::Cluster;

const PATIENCE: Duration = Duration::from_secs(30);

fn call(cluster: &Cluster, node: NodeId, f: &str, value: Option<Value>) -> Outcome {
    let (f, value) = (f.to_owned(), value);
    cluster.with_client(node, async |client| client.call(&f, Some("x"), value, PATIENCE).await)
}

fn started() -> (Cluster, Vec<NodeId>) {
    // Nobody is missed, however busy the machine is; one is in a hurry to be the first.
    let mut cluster = Cluster::new(3, &["--param", "election-timeout=4s"]);
    cluster.system = "raft";
    let nodes: Vec<_> = NodeId::all(3).collect();
    for id in &nodes {
        start(&mut cluster, *id);
    }
    (cluster, nodes)
}

fn start(cluster: &mut Cluster, id: NodeId) {
    let hasty = ["--param", "campaign-after=200ms"];
    cluster.start(id, if id == NodeId(3) { &hasty } else { &[] });
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
        start(&mut cluster, *id);
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

#[test]
fn a_client_that_asks_for_what_makes_no_sense_is_told_so_and_changes_nothing() {
    let (mut cluster, nodes) = started();
    let (leader, _) = cluster.wait_for_leader(&nodes, 0);
    assert_eq!(call(&cluster, leader, "write", Some(json!("kept"))), Outcome::Ok(json!(null)));
    let long = "x".repeat(1 << 20);
    for (f, value, why) in [
        ("fly", None, "there is no function `fly`"),
        ("write", None, "`write` takes a value"),
        ("write", Some(json!(long)), "longer than 1048576 bytes"),
        ("cas", Some(json!(["kept"])), "`cas` takes `[expected, new]`"),
        ("append", Some(json!(1)), "`x` is \"kept\", not a list"),
        ("advance", Some(json!("far")), "`advance` takes a number"),
        ("transfer", Some(json!("n9")), "`transfer` takes a voter, such as \"n2\""),
    ] {
        assert_eq!(call(&cluster, leader, f, value), Outcome::Fail(why.to_owned()), "{f}");
    }
    // A session that nobody opened, or that was forgotten: the operation is not done.
    let refused = cluster.with_client(leader, async |client| {
        let request = Request {
            serial: 0,
            f: "write".to_owned(),
            key: Some("x".to_owned()),
            value: Some(json!("lost")),
            session: Some(SessionOp { id: 77, serial: 1 }),
        };
        client.ask(request, PATIENCE).await
    });
    assert_eq!(refused, Outcome::Fail("there is no session 77".to_owned()));
    assert_eq!(call(&cluster, leader, "read", None), Outcome::Ok(json!("kept")));
}

#[test]
fn a_client_that_speaks_garbage_is_let_go_and_the_cluster_goes_on() {
    let (mut cluster, nodes) = started();
    let (leader, term) = cluster.wait_for_leader(&nodes, 0);
    let hello = Frame {
        kind: Kind::Hello,
        term: 0,
        index: 0,
        body: serde_json::to_vec(&json!({"role": "client", "cluster": "test"})).unwrap(),
    };
    let request = |body: &[u8]| {
        Frame { kind: Kind::Request, term: 0, index: 1, body: body.to_vec() }.encode()
    };
    let vote = Frame { kind: Kind::VoteRequest, term: 9, index: 9, body: Vec::new() }.encode();
    for garbage in [request(b"\x00\xff"), request(b"{\"serial\":1}"), vote, b"GET /".to_vec()] {
        let mut stream = TcpStream::connect(cluster.address(leader)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&hello.encode()).unwrap();
        stream.write_all(&garbage).unwrap();
        // The welcome, perhaps an answer that refuses, and the end of the connection. Half a frame
        // is waited for; its sender gives up here.
        let _ = stream.shutdown(Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(call(&cluster, leader, "write", Some(json!(1))), Outcome::Ok(json!(null)));
    assert_eq!(cluster.wait_for_leader(&nodes, 0), (leader, term));
}
