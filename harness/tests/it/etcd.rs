//! A system that nobody here wrote.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{Place, records, with};

/// Whether etcd can be run here. Where it must be, its absence is a failure.
fn installed() -> bool {
    let found = Command::new("etcd").arg("--version").output().is_ok_and(|o| o.status.success());
    assert!(found || std::env::var_os("REQUIRE_ETCD").is_none(), "etcd must be installed");
    if !found {
        eprintln!("skipped: etcd is not installed");
    }
    found
}

#[test]
fn a_missing_etcd_is_told_with_the_command_that_installs_it() {
    let place = Place::new();
    let ended = place.usurper("run --system etcd --bin /no/such/etcd");
    ended.expect(2, &["cannot run `/no/such/etcd`", "apt-get install etcd-server"]);
}

#[test]
fn a_paused_etcd_leader_is_replaced_and_follows_when_it_wakes() {
    if installed() {
        let place = Place::new();
        let ended = place.usurper("run etcd/leader-paused-and-resumed");
        let applied = &[
            "verdict    valid",
            "valid    dual-leaders",
            "stale-leader-heartbeat (needs: heartbeat)",
        ];
        ended.expect(0, applied);
        assert_eq!(leaders_of_logs(&place), leaders_of_run(&place));
    }
}

#[test]
fn clients_of_etcd_read_and_write_while_its_leaders_are_lost() {
    if installed() {
        let place = Place::new();
        place.usurper("run etcd/register-under-faults").expect(0, &["verdict    valid"]);
        let records = records(&place.only_run());
        for f in ["read", "write", "cas"] {
            let done = with(&records, &[("f", f.into()), ("type", "ok".into())]);
            assert!(!done.is_empty(), "no {f} was done");
        }
    }
}

#[test]
fn etcd_survives_random_kills_and_pauses() {
    if installed() {
        let place = Place::new();
        // A loaded machine must not look like a server that breaks the bounds of its protocol.
        let words = "run --system etcd --param election-timeout=1s --time 10s --seed 3";
        let ended = place.usurper(words);
        ended.expect(0, &["verdict    valid", "etcd/random"]);
    }
}

/// Node and term of each leader, as the run saw it.
fn leaders_of_run(place: &Place) -> Vec<(Value, Value)> {
    let history = fs::read_to_string(place.only_run().join("history.jsonl")).unwrap();
    let records = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let elected = records.filter(|record| record["event"] == "leader-elected");
    sorted(elected.map(|record| (record["node"].clone(), record["in-term"].clone())))
}

/// The same from the logs that the servers left, with nothing but their own stamps.
fn leaders_of_logs(place: &Place) -> Vec<(Value, Value)> {
    let nodes = place.only_run().join("nodes");
    let logs: Vec<_> = (1..=3)
        .map(|node| nodes.join(format!("n{node}/stderr.log")).display().to_string())
        .collect();
    let ended = place.usurper(&format!("check --output json {}", logs.join(" ")));
    ended.expect(0, &[]);
    let verdict: Value = serde_json::from_str(&ended.stdout).unwrap();
    let leaders = verdict["imported"]["leaders"].as_array().unwrap();
    sorted(leaders.iter().map(|leader| (leader["node"].clone(), leader["term"].clone())))
}

fn sorted(leaders: impl Iterator<Item = (Value, Value)>) -> Vec<(Value, Value)> {
    let mut leaders: Vec<_> = leaders.collect();
    leaders.sort_by_key(|(_, term)| term.as_u64());
    leaders
}
