//! Nodes as real processes on loopback TCP.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use usurper_history::{
    Event, NodeId, NodeRecord,
    control::EXIT_BAD_DATA,
    frame::{Frame, Kind},
};
use usurper_node::client::{Client, Outcome};

use super::cluster::{Cluster, failure};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [N1, N2, N3];
/// For tests in which nobody may be missed, however busy the machine is.
const PATIENT: [&str; 2] = ["--param", "down-after=10s"];
const TIMEOUT: Duration = Duration::from_secs(10);

fn is_conn(node: &NodeRecord, at: NodeId, wanted: &str) -> bool {
    node.node == at && matches!(&node.event, Event::Conn { op, .. } if op == wanted)
}

#[test]
fn three_processes_elect_a_leader_and_stop_cleanly() {
    let mut cluster = Cluster::started(3, &[]);
    let (leader, epoch) = cluster.wait_for_leader(&ALL, 0);
    assert!(ALL.contains(&leader) && epoch >= 1);
    for id in ALL {
        assert_eq!(cluster.terminate(id).code(), Some(0));
    }
    for id in ALL {
        let of_node = cluster.events.iter().filter(|(_, node)| node.node == id);
        let seqs: Vec<_> = of_node.clone().map(|(_, node)| node.seq).collect();
        let expected: Vec<_> = (1..=seqs.len() as u64).collect();
        assert_eq!(seqs, expected, "lines of {id} were lost");
        assert!(of_node.map(|(t, _)| t).is_sorted());
    }
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::started(3, &[]);
    let (leader, epoch) = cluster.wait_for_leader(&ALL, 0);
    cluster.kill(leader);
    let others: Vec<_> = ALL.into_iter().filter(|id| *id != leader).collect();
    let (next, higher) = cluster.wait_for_leader(&others, epoch);
    assert_ne!(next, leader);
    cluster.start(leader, &["--after-power"]);
    let (_, latest) = cluster.wait_for_leader(&ALL, epoch);
    assert!(latest >= higher);
}

#[test]
fn a_paused_leader_is_replaced_and_follows_when_it_continues() {
    let mut cluster = Cluster::started(3, &[]);
    let (leader, epoch) = cluster.wait_for_leader(&ALL, 0);
    cluster.signal(leader, Signal::SIGSTOP);
    let others: Vec<_> = ALL.into_iter().filter(|id| *id != leader).collect();
    let (_, higher) = cluster.wait_for_leader(&others, epoch);
    cluster.signal(leader, Signal::SIGCONT);
    let (_, latest) = cluster.wait_for_leader(&ALL, epoch);
    assert!(latest >= higher);
    // What was in its buffers and due on its timers made it send nothing old.
    let accepted_old = cluster.events.iter().any(|(_, node)| {
        matches!(&node.event, Event::Heartbeat { dir, msg_term, .. }
            if dir == "accepted" && *msg_term < node.term)
    });
    assert!(!accepted_old);
}

#[test]
fn garbage_is_dropped_and_the_cluster_goes_on() {
    let mut cluster = Cluster::started(3, &PATIENT);
    let before = cluster.wait_for_leader(&ALL, 0);
    // The first bytes of a connection, a frame that no stranger may send, and one too long.
    let heartbeat = Frame { kind: Kind::Heartbeat, term: 9, index: 0, body: Vec::new() }.encode();
    let long = Frame { kind: Kind::Hello, term: 0, index: 0, body: vec![b' '; 5000] }.encode();
    for garbage in [&b"\x00\x01\x02\x03"[..], b"GET / HTTP/1.1\r\n\r\n", &heartbeat, &long] {
        for id in ALL {
            let mut stream = TcpStream::connect(cluster.address(id)).unwrap();
            stream.write_all(garbage).unwrap();
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            // Closed, in whatever way, and not answered.
            assert!(!matches!(stream.read(&mut [0; 64]), Ok(1..)));
        }
    }
    cluster.wait_from(0, "a note of the garbage", |node| is_conn(node, N2, "bad-frame"));
    assert_eq!(cluster.wait_for_leader(&ALL, 0), before);
}

/// Opens a connection that says hello as this node of this cluster.
fn impostor(cluster: &Cluster, to: NodeId, hello: &Value) -> TcpStream {
    let body = serde_json::to_vec(hello).unwrap();
    let mut stream = TcpStream::connect(cluster.address(to)).unwrap();
    let frame = Frame { kind: Kind::Hello, term: 1, index: 0, body };
    stream.write_all(&frame.encode()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

#[test]
fn a_hello_of_the_wrong_kind_is_refused_and_noted() {
    let mut cluster = Cluster::started(3, &PATIENT);
    let before = cluster.wait_for_leader(&ALL, 0);
    for (hello, reason) in [
        (json!({"role": "node", "id": "n1", "inc": 1, "cluster": "test"}), "the larger id dials"),
        (json!({"role": "node", "id": "n2", "inc": 1, "cluster": "test"}), "not a configured peer"),
        (json!({"role": "node", "id": "n9", "inc": 1, "cluster": "test"}), "not a configured peer"),
        (json!({"role": "node", "id": "n3", "inc": 0, "cluster": "test"}), "incarnation 0 after 1"),
        (json!({"role": "node", "id": "n3", "inc": 1, "cluster": "prod"}), "cluster `prod`"),
        (json!({"role": "client", "cluster": "prod"}), "cluster `prod`"),
    ] {
        let mut stream = impostor(&cluster, N2, &hello);
        assert!(!matches!(stream.read(&mut [0; 64]), Ok(1..)), "{hello} was welcomed");
        cluster.wait_from(0, reason, |node| {
            matches!(&node.event, Event::Conn { op, reason: Some(why), .. }
                if op == "drop" && node.node == N2 && why.contains(reason))
        });
    }
    assert_eq!(cluster.wait_for_leader(&ALL, 0), before);
}

#[test]
fn a_second_connection_of_a_peer_replaces_the_first_and_the_real_peer_comes_back() {
    let mut cluster = Cluster::started(3, &PATIENT);
    let before = cluster.wait_for_leader(&ALL, 0);
    let hello = json!({"role": "node", "id": "n3", "inc": 1, "cluster": "test"});
    let mut stream = impostor(&cluster, N2, &hello);
    assert!(stream.read(&mut [0; 64]).unwrap() > 0, "it was not welcomed");
    cluster.wait_from(0, "the replacement", |node| is_conn(node, N2, "replace"));
    // A welcome is no licence for nonsense.
    stream.write_all(&[0; 100]).unwrap();
    cluster.wait_from(0, "the end of the impostor", |node| is_conn(node, N2, "bad-frame"));
    drop(stream);
    assert_eq!(cluster.wait_for_leader(&ALL, 0), before);
}

#[test]
fn what_a_client_was_told_survives_a_power_failure() {
    let mut cluster = Cluster::started(3, &[]);
    let (_, epoch) = cluster.wait_for_leader(&ALL, 0);
    let advanced = cluster.with_client(N1, async |client| {
        assert_eq!(client.node(), (N1, 1));
        client.call("advance", None, Some(json!(3)), TIMEOUT).await;
        client.call("advance", None, Some(json!(4)), TIMEOUT).await
    });
    let zxid = json!({"epoch": epoch, "counter": 7});
    assert_eq!(advanced, Outcome::Ok(zxid.clone()));
    cluster.kill(N1);
    cluster.start(N1, &["--after-power"]);
    cluster.wait_for_leader(&[N1], 0);
    let status = cluster.with_client(N1, async |client| {
        assert_eq!(client.node(), (N1, 2));
        client.call("status", None, None, TIMEOUT).await
    });
    let Outcome::Ok(status) = status else { panic!("{status:?}") };
    assert_eq!((&status["zxid"], &status["role"]), (&zxid, &json!("follower")));
}

#[test]
fn a_client_tells_what_failed_from_what_may_have_happened() {
    let mut cluster = Cluster::started(3, &[]);
    cluster.wait_for_leader(&ALL, 0);
    cluster.with_client(N1, async |client| {
        let refused = client.call("advance", None, Some(json!(0)), TIMEOUT).await;
        assert!(matches!(refused, Outcome::Fail(_)), "{refused:?}");
        let unknown = client.call("fly", None, None, TIMEOUT).await;
        assert_eq!(unknown, Outcome::Fail("`fle` has no function `fly`".to_owned()));
        // A stopped node takes the bytes, and may do it yet.
        cluster.signal(N1, Signal::SIGSTOP);
        let late = client.call("advance", None, Some(json!(1)), Duration::from_millis(50)).await;
        cluster.signal(N1, Signal::SIGCONT);
        assert!(matches!(late, Outcome::Info(_)), "{late:?}");
        // Nothing more is sent on a connection whose next answer would be another's.
        assert!(client.is_broken());
        let after = client.call("status", None, None, TIMEOUT).await;
        assert!(matches!(after, Outcome::Fail(_)), "{after:?}");
        assert!(Client::connect(cluster.address(N1), "other").await.is_err());
    });
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let mut cluster = Cluster::new(3, &[]);
    let taken = TcpListener::bind(cluster.address(N1)).unwrap();
    let (code, said) = failure(cluster.command(N1, &[]));
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot listen on") && said.contains("in use"), "{said}");
    drop(taken);

    for (more, expected) in [
        (["--defect", "hb-from-everyone"], "unknown defect `hb-from-everyone`, did you mean"),
        (["--param", "hartbeat=1s"], "unknown parameter `hartbeat`, did you mean `heartbeat`?"),
        (["--param", "heartbeat=soon"], "parameter `heartbeat` is `soon`, expected a duration"),
    ] {
        let (code, said) = failure(cluster.command(N1, &more));
        assert_eq!(code, Some(1));
        assert!(said.contains(expected), "{said}");
    }

    cluster.start(N2, &[]);
    cluster.wait_from(0, "its start", |node| node.node == N2);
    cluster.kill(N2);
    let mut command = cluster.command(N2, &[]);
    command.args(["--data", "x"]);
    let (code, said) = failure(command);
    assert_eq!(code, Some(2), "an option given twice is a usage error: {said}");
}

fn flip(log: &mut [u8]) {
    log[13] ^= 1;
}

/// The log of another cluster, whole in itself.
fn rename(log: &mut [u8]) {
    log[12..16].copy_from_slice(b"prod");
    // The generation stands between the name and the checksum.
    let sum = crc32fast::hash(&log[..24]);
    log[24..28].copy_from_slice(&sum.to_be_bytes());
}

fn upgrade(log: &mut [u8]) {
    log[8] += 1;
}

#[test]
fn the_data_of_another_node_or_a_damaged_log_is_refused() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.start(N2, &[]);
    cluster.wait_from(0, "its start", |node| node.node == N2);
    cluster.kill(N2);
    cluster.give_data(N2, N1);
    let (code, said) = failure(cluster.command(N1, &[]));
    assert_eq!(code, Some(EXIT_BAD_DATA));
    assert!(said.contains("belongs to node `n2`, not to `n1`"), "{said}");
    for (edit, expected) in [
        (flip as fn(&mut [u8]), "is corrupt at byte 8: the header does not match"),
        (rename, "belongs to cluster `prod`, not to `test`"),
        (upgrade, "has format version 3, expected 2"),
    ] {
        let mut cluster = Cluster::new(3, &[]);
        cluster.start(N2, &[]);
        cluster.wait_from(0, "its start", |node| node.node == N2);
        cluster.kill(N2);
        cluster.edit_log(N2, edit);
        let (code, said) = failure(cluster.command(N2, &[]));
        assert_eq!(code, Some(EXIT_BAD_DATA));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_node_whose_events_nobody_reads_ends() {
    let mut cluster = Cluster::new(1, &[]);
    let mut child = cluster.command(N1, &[]).spawn().unwrap();
    drop(child.stdout.take());
    // It leads alone, so it has heartbeats to tell of.
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_connection_that_does_not_say_who_it_is_is_closed() {
    let mut cluster = Cluster::started(1, &[]);
    cluster.wait_for_leader(&[N1], 0);
    let mut stream = TcpStream::connect(cluster.address(N1)).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    cluster.wait_from(0, "a note of it", |node| is_conn(node, N1, "drop"));
}

#[test]
fn a_dead_peer_is_dialled_at_most_five_times_a_second() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.start(N3, &[]);
    let mut dials = Vec::new();
    let mut from = 0;
    while dials.len() < 12 {
        from = cluster.wait_from(
            from,
            "a dial",
            |node| matches!(&node.event, Event::Conn { op, peer: Some(N1), .. } if op == "dial"),
        );
        dials.push(cluster.events[from].0);
        from += 1;
    }
    // The first few come faster, so that a cluster that starts finds itself at once.
    assert!(dials[11] - dials[6] >= 1_000_000_000, "{dials:?}");
}

#[test]
fn twenty_one_processes_agree() {
    let mut cluster = Cluster::started(21, &[]);
    let all: Vec<_> = NodeId::all(21).collect();
    cluster.wait_for_leader(&all, 0);
}

/// The field failure, with real processes: see the simulated twin for the one without the defects.
#[test]
fn with_both_defects_a_restarted_configured_leader_is_a_second_one() {
    let both = ["--defect", "config-leader-on-boot", "--defect", "hb-from-anyone"];
    // An election for any other reason than the kill would make one leader of the two.
    let patient = ["--param", "down-after=3s"];
    let mut cluster = Cluster::started(3, &[&both[..], &patient].concat());
    assert_eq!(cluster.wait_for_leader(&ALL, 0), (N1, 1));
    cluster.kill(N1);
    assert_eq!(cluster.wait_for_leader(&[N2, N3], 1).0, N3);
    cluster.start(N1, &[]);
    let accepts = |from: NodeId| {
        move |node: &NodeRecord| {
            node.node == N2
                && matches!(&node.event, Event::Heartbeat { dir, peer, .. }
                    if dir == "accepted" && *peer == Some(from))
        }
    };
    // Long after the restart both still lead, and n2 follows both.
    for _ in 0..20 {
        cluster.wait("a heartbeat of n1", accepts(N1));
        cluster.wait("a heartbeat of n3", accepts(N3));
    }
    let stale = cluster.wait("a stale heartbeat", |node| {
        matches!(&node.event, Event::Heartbeat { dir, msg_term, .. }
            if dir == "accepted" && *msg_term < node.term)
    });
    assert_eq!(cluster.events[stale].1.node, N2);
}
