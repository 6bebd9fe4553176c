//! Nodes whose machine misbehaves: power, disk, clocks, and crashes at named moments. Each with what
//! it does to a node, and with its end.

use std::{
    io::{Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use serde_json::json;
use usurper_history::{
    Event, NodeId, NodeRecord, Zxid,
    control::{ClockName, Command, DiskError, DiskOp, EXIT_DISK_FAILED, FailpointAct},
};
use usurper_node::{client::Outcome, machine::ControlError};

use super::cluster::{Cluster, failure};

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);
const ALL: [NodeId; 3] = [N1, NodeId(2), N3];
const PATIENT: [&str; 2] = ["--param", "down-after=10s"];
const TIMEOUT: Duration = Duration::from_secs(10);
const HOUR_NS: i64 = 3_600_000_000_000;

fn is_failpoint(node: &NodeRecord, at: NodeId, wanted: &str) -> bool {
    node.node == at && matches!(&node.event, Event::Failpoint { point, .. } if point == wanted)
}

fn is_persist(node: &NodeRecord, at: NodeId, wanted: &str, wanted_ok: bool) -> bool {
    node.node == at
        && matches!(&node.event, Event::Persist { what, ok, .. }
            if what == wanted && *ok == wanted_ok)
}

fn is_sdown(node: &NodeRecord, at: NodeId) -> bool {
    node.node == at
        && matches!(&node.event, Event::VoteMsg { dir, kind, .. }
            if dir == "send" && kind == "sdown")
}

fn arm(point: &str, act: FailpointAct) -> Command {
    Command::Failpoint { point: point.to_owned(), act, delay_ns: 0 }
}

fn advance(cluster: &Cluster, id: NodeId, timeout: Duration) -> Outcome {
    cluster
        .with_client(id, async |client| client.call("advance", None, Some(json!(1)), timeout).await)
}

/// Which epoch a follower acknowledged, and which it remembers, after a kill or a loss of power in the
/// moment at which it had written more than it had synced.
fn acknowledged_and_remembered(more: &[&str], before: &[&str]) -> (u64, u64) {
    let point = "epoch.after-write-before-sync";
    let mut cluster = Cluster::new(3, more);
    for id in ALL {
        let held = ["--failpoint", &format!("{point}=pause")];
        cluster.start(id, if id == N1 { &held } else { &[] });
    }
    let hit = cluster.wait_from(0, "the failpoint", |node| is_failpoint(node, N1, point));
    let acknowledged = cluster.events[..hit].iter().find_map(|(_, node)| match node.event {
        Event::Ack { in_term, .. } if node.node == N1 => Some(in_term),
        _ => None,
    });
    cluster.kill(N1);
    cluster.start(N1, before);
    (acknowledged.unwrap(), cluster.found(N1).accepted_epoch.unwrap())
}

#[test]
fn a_promise_that_was_acknowledged_before_its_sync_is_lost_with_the_power_alone() {
    let defect = ["--defect", "accepted-epoch-not-synced"];
    let power = ["--after-power"];
    let (acknowledged, remembered) = acknowledged_and_remembered(&defect, &power);
    assert!(acknowledged > 0);
    assert_eq!(remembered, 0, "the power took nothing");
    let (acknowledged, remembered) = acknowledged_and_remembered(&defect, &[]);
    assert_eq!(remembered, acknowledged, "a kill took what was in the page cache");
    let (acknowledged, remembered) = acknowledged_and_remembered(&[], &power);
    assert_eq!(remembered, acknowledged, "what was synced is gone");
}

#[test]
fn a_crash_between_write_and_sync_keeps_the_write_unless_the_power_fails() {
    for (before, survives) in [(&[][..], true), (&["--after-power"][..], false)] {
        let mut cluster = Cluster::started(3, &PATIENT);
        let (_, epoch) = cluster.wait_for_leader(&ALL, 0);
        cluster.control(N1, &arm("zxid.after-write-before-sync", FailpointAct::Crash)).unwrap();
        let outcome = advance(&cluster, N1, TIMEOUT);
        assert!(matches!(outcome, Outcome::Info(_)), "{outcome:?}");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&cluster.ended(N1)), Some(9));
        cluster.start(N1, before);
        let logged = Zxid { epoch, counter: 1 };
        let expected = if survives { logged } else { Zxid::default() };
        assert_eq!(cluster.found(N1).zxid, Some(expected));
    }
}

#[test]
fn a_stalled_disk_holds_a_node_until_it_is_restored() {
    let mut cluster = Cluster::started(3, &PATIENT);
    cluster.wait_for_leader(&ALL, 0);
    let answer = cluster.control(N1, &Command::DiskStall {}).unwrap();
    assert!(answer.contains("syncs stall"), "{answer}");
    let outcome = advance(&cluster, N1, Duration::from_millis(50));
    assert!(matches!(outcome, Outcome::Info(_)), "{outcome:?}");
    cluster.wait_until_says(N1, "one sync waits");
    let before = cluster.events.len();
    // The node's only thread is held, and still the node can be told.
    cluster.control(N1, &Command::DiskStall {}).unwrap();
    let answer = cluster.control(N1, &Command::DiskRestore {}).unwrap();
    assert!(answer.contains("disk: sound") || answer.contains("one sync waits"), "{answer}");
    cluster.wait_from(before, "the sync", |node| is_persist(node, N1, "zxid", true));
    cluster.control(N1, &Command::DiskRestore {}).unwrap();
    assert!(matches!(advance(&cluster, N1, TIMEOUT), Outcome::Ok(_)));
}

#[test]
fn a_slow_disk_delays_each_answer_until_it_is_restored() {
    let mut cluster = Cluster::started(3, &PATIENT);
    cluster.wait_for_leader(&ALL, 0);
    cluster.control(N1, &Command::DiskSlow { delay_ns: 100_000_000 }).unwrap();
    let begun_ns = cluster.clock.now_ns();
    assert!(matches!(advance(&cluster, N1, TIMEOUT), Outcome::Ok(_)));
    assert!(cluster.clock.now_ns() - begun_ns >= 100_000_000, "it was not slow");
    // Slow enough that only a restored disk can answer in time.
    cluster.control(N1, &Command::DiskSlow { delay_ns: 3_600_000_000_000 }).unwrap();
    cluster.control(N1, &Command::DiskRestore {}).unwrap();
    assert!(matches!(advance(&cluster, N1, TIMEOUT), Outcome::Ok(_)));
}

#[test]
fn a_failed_sync_or_write_ends_the_node_loudly_and_a_torn_tail_recovers() {
    for (op, error) in [(DiskOp::Sync, DiskError::Io), (DiskOp::Write, DiskError::Full)] {
        let mut cluster = Cluster::started(3, &PATIENT);
        cluster.wait_for_leader(&ALL, 0);
        cluster.control(N1, &Command::DiskFail { op, error, count: Some(1) }).unwrap();
        let outcome = advance(&cluster, N1, TIMEOUT);
        assert!(matches!(outcome, Outcome::Info(_)), "{outcome:?}");
        assert_eq!(cluster.ended(N1).code(), Some(EXIT_DISK_FAILED));
        if op == DiskOp::Sync {
            cluster.wait_from(0, "the failure", |node| is_persist(node, N1, "zxid", false));
        }
        // Whatever the disk kept of it: nobody was told that it is there.
        cluster.start(N1, &["--after-power"]);
        assert_eq!(cluster.found(N1).zxid, Some(Zxid::default()));
        cluster.wait_for_leader(&ALL, 0);
    }
}

#[test]
fn with_the_defect_a_sync_that_is_tried_again_loses_what_it_acknowledged() {
    let mut cluster = Cluster::started(3, &["--defect", "retry-failed-sync"]);
    cluster.wait_for_leader(&ALL, 0);
    let failure = Command::DiskFail { op: DiskOp::Sync, error: DiskError::Io, count: Some(1) };
    cluster.control(N1, &failure).unwrap();
    let outcome = advance(&cluster, N1, TIMEOUT);
    let Outcome::Ok(zxid) = outcome else { panic!("{outcome:?}") };
    assert_eq!(zxid["counter"], 1);
    cluster.wait_from(
        0,
        "the defect",
        |node| matches!(&node.event, Event::DefectHit { name, .. } if name == "retry-failed-sync"),
    );
    cluster.kill(N1);
    cluster.start(N1, &["--after-power"]);
    assert_eq!(cluster.found(N1).zxid, Some(Zxid::default()));
}

#[test]
fn a_node_whose_disk_fails_from_the_start_does_not_start() {
    let mut cluster = Cluster::new(1, &[]);
    let condition = r#"{"do":"disk-fail","op":"sync","error":"enospc"}"#;
    let (code, said) = failure(cluster.command(N1, &["--condition", condition]));
    assert_eq!(code, Some(EXIT_DISK_FAILED));
    assert!(said.contains("cannot sync") && said.contains("No space left"), "{said}");
}

#[test]
fn a_timer_clock_that_jumps_fires_every_timer_and_does_not_touch_the_history() {
    // A heartbeat that comes with the jump would put the timer off again, so they are far apart.
    let rare = ["--param", "heartbeat=2s"];
    let mut cluster = Cluster::started(3, &[&PATIENT[..], &rare].concat());
    cluster.wait_for_leader(&ALL, 0);
    let jump = |clock| Command::ClockJump { clock, by_ns: HOUR_NS };
    // Correct timers do not run on a clock that somebody may set.
    cluster.control(N1, &jump(ClockName::Wall)).unwrap();
    for _ in 0..2 {
        cluster.wait("a heartbeat", |node| {
            node.node == N1
                && matches!(&node.event, Event::Heartbeat { dir, .. } if dir == "accepted")
        });
    }
    assert!(!cluster.events.iter().any(|(_, node)| is_sdown(node, N1)));
    cluster.control(N1, &jump(ClockName::Timer)).unwrap();
    let at = cluster.wait_from(0, "suspicion", |node| is_sdown(node, N1));
    assert!(cluster.events[at].0 <= cluster.clock.now_ns(), "the event was stamped with a lie");
}

#[test]
fn timers_on_the_wall_clock_jump_with_it() {
    // A heartbeat that comes with the jump would put the timer off again, so they are far apart.
    let rare = ["--param", "heartbeat=2s", "--param", "timers=wall"];
    let mut cluster = Cluster::started(3, &[&PATIENT[..], &rare].concat());
    cluster.wait_for_leader(&ALL, 0);
    let jump = |by_ns| Command::ClockJump { clock: ClockName::Wall, by_ns };
    cluster.control(N1, &jump(HOUR_NS)).unwrap();
    cluster.wait_from(0, "suspicion", |node| is_sdown(node, N1));
}

#[test]
fn a_leader_whose_timers_crawl_is_replaced_and_follows_when_they_run_again() {
    let mut cluster = Cluster::started(3, &[]);
    let (leader, epoch) = cluster.wait_for_leader(&ALL, 0);
    let rate = |rate| Command::ClockRate { clock: ClockName::Timer, rate };
    cluster.control(leader, &rate(0.001)).unwrap();
    let others: Vec<_> = ALL.into_iter().filter(|id| *id != leader).collect();
    let (next, higher) = cluster.wait_for_leader(&others, epoch);
    assert_ne!(next, leader);
    cluster.control(leader, &Command::ClockRestore {}).unwrap();
    let (_, latest) = cluster.wait_for_leader(&ALL, epoch);
    assert!(latest >= higher);
    assert!(matches!(cluster.control(leader, &rate(0.0)), Err(ControlError::Refused(_))));
}

#[test]
fn a_node_stands_still_at_a_failpoint_until_it_is_released() {
    let point = "lead.after-elected-before-first-hb";
    let mut cluster = Cluster::new(1, &[]);
    cluster.start(N1, &["--failpoint", &format!("{point}=pause")]);
    let hit = cluster.wait_from(0, "the failpoint", |node| is_failpoint(node, N1, point));
    let sent = |node: &NodeRecord| matches!(&node.event, Event::Heartbeat { .. });
    assert!(!cluster.events.iter().any(|(_, node)| sent(node)));
    cluster.wait_until_says(N1, "stands still at");
    cluster.control(N1, &Command::FailpointRelease {}).unwrap();
    cluster.wait_from(hit, "its first heartbeat", sent);
    // It was armed for one hit.
    cluster.wait_until_says(N1, "failpoints: none armed (1 hit)");
}

#[test]
fn a_delay_at_a_failpoint_ends_by_itself() {
    let point = "lead.after-elected-before-first-hb";
    let mut cluster = Cluster::new(1, &[]);
    cluster.start(N1, &["--failpoint", &format!("{point}=delay:50ms")]);
    let hit = cluster.wait_from(0, "the failpoint", |node| is_failpoint(node, N1, point));
    let sent = cluster.wait_from(hit, "its first heartbeat", |node| {
        matches!(&node.event, Event::Heartbeat { .. })
    });
    assert!(cluster.events[sent].0 - cluster.events[hit].0 >= 50_000_000);
}

#[test]
fn every_failpoint_of_a_system_is_reached() {
    // Those of an election without trouble, on nodes that never stop for long.
    for point in [
        "campaign.after-round-bump-before-send",
        "vote.after-cast-before-send",
        "lead.after-won-before-proposal",
        "accept.after-write-before-sync",
        "accept.after-sync-before-ack",
        "epoch.after-write-before-sync",
        "lead.after-elected-before-first-hb",
    ] {
        let mut cluster = Cluster::new(1, &["--failpoint", &format!("{point}=crash")]);
        cluster.start(N1, &[]);
        cluster.wait_from(0, point, |node| is_failpoint(node, N1, point));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&cluster.ended(N1)), Some(9));
    }
    for point in ["zxid.after-write-before-sync", "zxid.after-sync-before-reply"] {
        let mut cluster = Cluster::started(1, &["--failpoint", &format!("{point}=crash")]);
        cluster.wait_for_leader(&[N1], 0);
        assert!(matches!(advance(&cluster, N1, TIMEOUT), Outcome::Info(_)));
        cluster.wait_from(0, point, |node| is_failpoint(node, N1, point));
    }
    let point = "prevote.after-quorum-before-campaign";
    let mut cluster = Cluster::started(3, &["--failpoint", &format!("{point}=delay:1ms")]);
    let (leader, _) = cluster.wait_for_leader(&ALL, 0);
    cluster.kill(leader);
    cluster.wait_from(0, point, |node| node.node != leader && is_failpoint(node, node.node, point));
    let known = usurper_node::systems()[0].failpoints.len();
    assert_eq!(known, 10, "a failpoint is not tested");
}

#[test]
fn an_unknown_failpoint_or_condition_is_refused_with_those_that_exist() {
    let mut cluster = Cluster::new(1, &[]);
    let (code, said) = failure(cluster.command(N1, &["--failpoint", "lead.elected=crash"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("unknown failpoint `lead.elected`, did you mean"), "{said}");
    assert!(said.contains("`zxid.after-write-before-sync`"), "{said}");
    for wrong in [
        ["--failpoint", "vote.after-cast-before-send=explode"],
        ["--failpoint", "vote.after-cast-before-send=delay"],
        ["--condition", r#"{"do":"disk-melt"}"#],
    ] {
        let (code, said) = failure(cluster.command(N1, &wrong));
        assert_eq!(code, Some(2), "{said}");
    }
    cluster.start(N1, &[]);
    cluster.found(N1);
    let refused = cluster.control(N1, &arm("lead.elected", FailpointAct::Crash)).unwrap_err();
    assert!(refused.to_string().contains("did you mean"), "{refused}");
}

#[test]
fn the_control_socket_survives_garbage_and_goes_with_the_process() {
    let mut cluster = Cluster::started(1, &[]);
    cluster.wait_for_leader(&[N1], 0);
    let name = cluster.control_name(N1);
    let dial = || {
        let stream =
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    };
    for garbage in [&b"\x00\xff\n"[..], b"{}\n", b"[1,2]\n", b"{\"do\":\"fly\"}\n", b"\n"] {
        let mut stream = dial();
        stream.write_all(garbage).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"ok\":false"), "{answer}");
    }
    // One without end is cut off, one that says nothing does not keep the others waiting for ever.
    let mut endless = dial();
    let _cut_off = endless.write_all(&[b' '; 1 << 16]);
    let silent = dial();
    assert!(cluster.control(N1, &Command::Status {}).is_ok());
    drop(silent);
    cluster.kill(N1);
    assert!(UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).is_err());
}
