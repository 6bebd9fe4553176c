//! A system that nobody here wrote.

use std::process::Command;

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
        let ended = place.usurper("run --system etcd --time 10s --seed 3");
        ended.expect(0, &["verdict    valid", "etcd/random"]);
    }
}
