//! Runs that do not come to their end: interrupted, killed, failed. No node survives any of them.

use std::{fs, os::unix::fs::PermissionsExt};

use nix::sys::signal::Signal;

use crate::support::{Full, PATIENT, Place, pids, records, wait_for, with, words_of};

/// Waits until no process of a run is left.
#[track_caller]
fn all_gone(pids: &[u32]) {
    assert!(!pids.is_empty());
    wait_for("end of all nodes", || pids.iter().all(|pid| words_of(*pid).is_empty()).then_some(()));
}

#[test]
fn each_node_is_a_process_and_none_survives_the_harness() {
    let place = Place::new();
    let started = place.start(&format!("run --time 60s --faults none {PATIENT}"));
    let run = place.only_run();
    // Only a follower that has heard of its leader has something that can be judged.
    wait_for("heartbeat", || with(&records(&run), &[("dir", "accepted".into())]).pop());
    let pids = pids(&run);
    assert_eq!(pids.len(), 3);
    for pid in &pids {
        let words = words_of(*pid);
        assert_eq!(words[1..3], ["node", "fle"], "{words:?}");
    }
    started.signal(Signal::SIGKILL);
    all_gone(&pids);
    drop(started);
    let ended = place.usurper(&format!("check {}", run.display()));
    // What was to come after may have been a violation.
    ended.expect(3, &["verdict    unknown", "the history was cut off"]);
}

#[test]
fn nodes_that_are_paused_do_not_survive_the_harness_either() {
    let place = Place::new();
    let started = place.start("run --time 60s --faults pause --interval 400ms");
    let run = place.only_run();
    wait_for("pause", || {
        with(&records(&run), &[("fault", "pause".into()), ("outcome", "installed".into())]).pop()
    });
    started.signal(Signal::SIGKILL);
    all_gone(&pids(&run));
}

#[test]
fn ctrl_c_heals_stops_and_judges_what_was_seen() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Place::new();
        let started = place.start("run --time 60s --interval 400ms --faults kill,partition");
        let run = place.only_run();
        wait_for("fault", || with(&records(&run), &[("outcome", "installed".into())]).pop());
        started.signal(signal);
        let ended = started.wait();
        ended.expect(130, &["interrupted by", "verdict    "]);
        let records = records(&run);
        assert_eq!(with(&records, &[("event", "interrupted".into())]).len(), 1);
        assert_eq!(records.last().unwrap()["phase"], "end");
        assert!(run.join("verdict.json").is_file());
        all_gone(&pids(&run));
    }
}

fn program(place: &Place, name: &str, script: &str) -> String {
    let path = place.file(name, script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_node_that_dies_at_start_is_told_with_the_end_of_its_log() {
    let place = Place::new();
    let bin = program(&place, "dies", "#!/bin/sh\necho 'no such luck' >&2\nexit 3\n");
    let ended = place.usurper(&format!("run --bin {bin}"));
    ended.expect(
        4,
        &["ended before it was ready", "its log ends with `no such luck`", "stderr.log"],
    );
    all_gone(&pids(&place.only_run()));
}

#[test]
fn a_node_that_never_gets_ready_is_given_up() {
    let place = Place::new();
    let bin = program(&place, "sleeps", "#!/bin/sh\nexec sleep 1000\n");
    place.usurper(&format!("run --bin {bin}")).expect(4, &["`n1` did not become ready in 10s"]);
    all_gone(&pids(&place.only_run()));
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    let place = Place::new();
    place.file("file", "");
    place
        .usurper("run --store file/store")
        .expect(4, &["cannot make a run directory", "--store DIR"]);
}

#[test]
fn a_full_disk_ends_the_run_and_its_nodes() {
    let place = Place::new();
    let Some(full) = Full::mount(&place) else { return };
    let started = place.start("run --time 60s --faults none --param heartbeat=10ms");
    let run = place.only_run();
    wait_for("leader", || with(&records(&run), &[("established", true.into())]).pop());
    let pids = pids(&run);
    started.wait().expect(4, &["cannot write", "No space left on device"]);
    all_gone(&pids);
    drop(full);
}
