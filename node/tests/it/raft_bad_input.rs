//! What `raft` nodes as real processes make of input that is wrong: of clients, of peers, of disks.

use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

use serde_json::{Value, json};
use usurper_history::{
    Event, NodeId,
    control::EXIT_BAD_DATA,
    frame::{Frame, Kind},
};
use usurper_node::client::{Outcome, Request, SessionOp};

use super::cluster::{Cluster, failure};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster of one node, which leads it.
fn alone() -> Cluster {
    let mut cluster = Cluster::new(1, &[]);
    cluster.system = "raft";
    start(&mut cluster);
    cluster
}

/// Starts the node, and waits until it leads.
fn start(cluster: &mut Cluster) {
    cluster.start(N1, &[]);
    let from = cluster.events.len();
    cluster.wait_from(from, "a leader", |node| {
        matches!(node.event, Event::LeaderElected { established: true, .. })
    });
}

fn ask(cluster: &Cluster, f: &str, value: Value, session: Option<SessionOp>) -> Outcome {
    cluster.with_client(N1, async |client| {
        let (f, key) = (f.to_owned(), Some("x".to_owned()));
        client.ask(Request { serial: 0, f, key, value: Some(value), session }, PATIENCE).await
    })
}

#[track_caller]
fn assert_reads(cluster: &Cluster, value: &Value) {
    let read = cluster
        .with_client(N1, async |client| client.call("read", Some("x"), None, PATIENCE).await);
    assert_eq!(read, Outcome::Ok(value.clone()));
}

#[test]
fn an_operation_of_a_session_is_done_once_and_one_that_is_over_is_refused() {
    let cluster = alone();
    let Outcome::Ok(id) = ask(&cluster, "register", Value::Null, None) else {
        panic!("no session")
    };
    let id = id.as_u64().unwrap();
    let in_session =
        |serial, value| ask(&cluster, "append", json!(value), Some(SessionOp { id, serial }));
    for _ in 0..3 {
        assert_eq!(in_session(1, "a"), Outcome::Ok(Value::Null));
    }
    assert_eq!(in_session(2, "b"), Outcome::Ok(Value::Null));
    let over = format!("operation 1 of session {id} is over");
    assert_eq!(in_session(1, "c"), Outcome::Fail(over));
    assert_reads(&cluster, &json!(["a", "b"]));
    // Both at once are one, too.
    let both = cluster.with_client(N1, async |client| {
        let session = Some(SessionOp { id, serial: 3 });
        let (f, key) = ("append".to_owned(), Some("x".to_owned()));
        let request = Request { serial: 0, f, key, value: Some(json!("c")), session };
        client.ask_twice(request, PATIENCE).await
    });
    assert_eq!(both, Outcome::Ok(Value::Null));
    assert_reads(&cluster, &json!(["a", "b", "c"]));
}

#[test]
fn a_frame_that_is_too_long_or_damaged_ends_its_connection_and_nothing_else() {
    let hello = json!({"role": "client", "cluster": "test"});
    let hello =
        Frame { kind: Kind::Hello, term: 0, index: 0, body: serde_json::to_vec(&hello).unwrap() };
    let request = Frame { kind: Kind::Request, term: 0, index: 1, body: b"{}".to_vec() }.encode();
    let mut too_long = request.clone();
    too_long[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut damaged = request.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (garbage, reason) in
        [(too_long, "frame of 4294967295 bytes"), (damaged, "checksum does not match")]
    {
        let mut cluster = alone();
        let mut stream = TcpStream::connect(cluster.address(N1)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[hello.encode(), garbage].concat()).unwrap();
        // The welcome, and then the end.
        let _ = stream.read_to_end(&mut Vec::new());
        cluster.wait_from(0, reason, |node| {
            matches!(&node.event, Event::Conn { op, reason: Some(why), .. }
                if op == "bad-frame" && why.contains(reason))
        });
        assert_eq!(ask(&cluster, "write", json!(1), None), Outcome::Ok(Value::Null));
    }
}

#[test]
fn a_peer_of_another_cluster_is_refused_and_changes_nothing() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.system = "raft";
    cluster.start(N1, &[]);
    cluster.found(N1);
    let hello = json!({"role": "node", "id": "n2", "inc": 1, "cluster": "prod"});
    let vote = Frame { kind: Kind::VoteRequest, term: 9, index: 9, body: Vec::new() };
    let hello =
        Frame { kind: Kind::Hello, term: 1, index: 0, body: serde_json::to_vec(&hello).unwrap() };
    let mut stream = TcpStream::connect(cluster.address(N1)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[hello.encode(), vote.encode()].concat()).unwrap();
    assert!(!matches!(stream.read(&mut [0; 64]), Ok(1..)), "it was welcomed");
    cluster.wait_from(0, "a note of it", |node| {
        matches!(&node.event, Event::Conn { op, peer: Some(N2), reason: Some(why) }
            if op == "drop" && why.contains("cluster `prod`, not `test`"))
    });
    let status =
        cluster.with_client(N1, async |client| client.call("status", None, None, PATIENCE).await);
    let Outcome::Ok(status) = status else { panic!("{status:?}") };
    assert_eq!(status["term"], json!(0));
}

fn another_cluster(log: &mut [u8]) {
    log[12..16].copy_from_slice(b"prod");
    let sum = crc32fast::hash(&log[..24]);
    log[24..28].copy_from_slice(&sum.to_be_bytes());
}

fn newer_version(log: &mut [u8]) {
    log[8] = 9;
}

#[test]
fn the_data_of_another_node_or_cluster_or_of_a_newer_version_is_refused() {
    let mut cluster = Cluster::new(2, &[]);
    cluster.system = "raft";
    cluster.start(N2, &[]);
    cluster.found(N2);
    cluster.kill(N2);
    cluster.give_data(N2, N1);
    let (code, said) = failure(cluster.command(N1, &[]));
    assert_eq!(code, Some(EXIT_BAD_DATA));
    assert!(said.contains("belongs to node `n2`, not to `n1`"), "{said}");
    for (edit, expected) in [
        (another_cluster as fn(&mut [u8]), "belongs to cluster `prod`, not to `test`"),
        (newer_version, "has format version 9, expected 2"),
    ] {
        cluster.edit_log(N2, edit);
        let (code, said) = failure(cluster.command(N2, &[]));
        assert_eq!(code, Some(EXIT_BAD_DATA));
        assert!(said.contains(expected), "{said}");
    }
}

/// Where the records of a log are, as `store.rs` describes it.
fn records(log: &[u8]) -> Vec<Range<usize>> {
    let name = usize::from(u16::from_be_bytes([log[10], log[11]]));
    let (mut at, mut records) = (12 + name + 8 + 4, Vec::new());
    while at < log.len() {
        let length = u32::from_be_bytes(log[at..at + 4].try_into().unwrap()) as usize;
        records.push(at..at + 8 + length);
        at += 8 + length;
    }
    records
}

#[test]
fn a_torn_tail_is_dropped_and_a_damaged_record_is_refused_by_its_place() {
    let mut cluster = alone();
    for value in 1..=5 {
        assert_eq!(ask(&cluster, "write", json!(value), None), Outcome::Ok(Value::Null));
    }
    cluster.kill(N1);
    // The process died while it wrote one more record.
    cluster.append_to_log(N1, &[0, 0, 0, 40, 1, 2, 3, 4, 5, 6, 7]);
    start(&mut cluster);
    assert_reads(&cluster, &json!(5));
    cluster.kill(N1);
    let mut place = 0;
    cluster.edit_log(N1, |log| {
        let records = records(log);
        let middle = records[records.len() / 2].clone();
        place = middle.start;
        log[middle.end - 1] ^= 0x10;
    });
    let (code, said) = failure(cluster.command(N1, &[]));
    assert_eq!(code, Some(EXIT_BAD_DATA));
    let expected = format!("is corrupt at byte {place}: a record does not match its checksum");
    assert!(said.contains(&expected), "{said}");
    // Nothing was thrown away: put right, all of it is there.
    cluster.edit_log(N1, |log| {
        let records = records(log);
        log[records[records.len() / 2].end - 1] ^= 0x10;
    });
    start(&mut cluster);
    assert_reads(&cluster, &json!(5));
}

#[test]
fn a_log_that_contradicts_itself_is_refused_although_each_record_is_whole() {
    let mut cluster = alone();
    assert_eq!(ask(&cluster, "write", json!(1), None), Outcome::Ok(Value::Null));
    cluster.kill(N1);
    // The record of the last entry a second time.
    let mut last = Vec::new();
    cluster.edit_log(N1, |log| last = log[records(log).pop().unwrap()].to_vec());
    cluster.append_to_log(N1, &last);
    let (code, said) = failure(cluster.command(N1, &[]));
    assert_eq!(code, Some(EXIT_BAD_DATA), "{said}");
    assert!(said.contains("the log contradicts itself: the entry"), "{said}");
}
