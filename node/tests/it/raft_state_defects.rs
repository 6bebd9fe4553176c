//! Defects of sessions and snapshots: each story is told with and without.

use serde_json::{Value, json};
use usurper_history::NodeId;
use usurper_node::protocol::SessionOp;

use super::{raft_sim::Sim, sim::MS};

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);
const T: u64 = 500 * MS;

fn led_by_n1(defects: &[&str], params: &[(&str, &str)]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, params);
    for (id, after) in [(N1, "600ms"), (NodeId(2), "900ms"), (N3, "1200ms")] {
        sim.set_param(id, "campaign-after", after);
    }
    sim.start_all();
    sim.run_for(800 * MS);
    assert_eq!(sim.common_leader(), Some((N1, 1)), "{}", sim.describe());
    sim
}

/// Asks n1, and waits for the answer.
#[track_caller]
fn answered(sim: &mut Sim, f: &str, value: Value, session: Option<SessionOp>) -> Value {
    let serial = sim.ask(N1, f, "x", Some(value), session);
    assert!(sim.run_until_or(sim.now + T, |sim| sim.replies.contains_key(&serial)));
    sim.replies[&serial].value.clone().unwrap_or_default()
}

#[track_caller]
fn session(sim: &mut Sim) -> u64 {
    answered(sim, "register", Value::Null, None).as_u64().unwrap()
}

/// What each node has for a key, once it has applied everything.
fn values(sim: &mut Sim) -> Vec<Value> {
    sim.run_for(T);
    sim.ids().into_iter().filter_map(|id| sim.raft(id).map(|raft| raft.value("x"))).collect()
}

fn sent_twice(defects: &[&str]) -> Vec<Value> {
    let mut sim = led_by_n1(defects, &[]);
    let first = SessionOp { id: session(&mut sim), serial: 1 };
    for _ in 0..2 {
        answered(&mut sim, "add", json!(5), Some(first));
    }
    values(&mut sim)
}

#[test]
fn an_operation_of_a_session_is_done_once() {
    assert_eq!(sent_twice(&[]), [5, 5, 5]);
    assert_eq!(sent_twice(&["no-session-dedup"]), [10, 10, 10]);
}

/// n3 starts again, and an idle minute goes by, of which n3 sees the end only.
fn idle_minute(defects: &[&str]) -> Vec<Value> {
    let mut sim = led_by_n1(defects, &[]);
    let id = session(&mut sim);
    answered(&mut sim, "add", json!(5), Some(SessionOp { id, serial: 1 }));
    sim.run_for(122 * T);
    sim.kill(N3, false);
    sim.start(N3);
    sim.run_for(T);
    answered(&mut sim, "add", json!(2), Some(SessionOp { id, serial: 2 }));
    values(&mut sim)
}

#[test]
fn when_a_session_ends_follows_from_the_log() {
    assert_eq!(idle_minute(&[]), [7, 7, 7]);
    assert_eq!(idle_minute(&["session-expiry-local-clock"]), [5, 5, 7]);
}

/// n3 has a snapshot after the fifth entry, and starts from it.
fn from_a_snapshot(defects: &[&str]) -> Vec<Value> {
    let mut sim = led_by_n1(defects, &[("snapshot-after", "5"), ("snapshot-keep", "0")]);
    for _ in 0..5 {
        answered(&mut sim, "add", json!(1), None);
        sim.run_for(2 * T / 5);
    }
    sim.kill(N3, false);
    sim.start(N3);
    values(&mut sim)
}

#[test]
fn a_snapshot_has_the_state_after_its_last_entry() {
    assert_eq!(from_a_snapshot(&[]), [5, 5, 5]);
    assert_eq!(from_a_snapshot(&["applied-index-before-data"]), [5, 5, 4]);
}

/// n3 misses what the others drop from their logs.
fn left_behind(defects: &[&str]) -> Vec<Value> {
    let mut sim = led_by_n1(defects, &[("snapshot-after", "3"), ("snapshot-keep", "0")]);
    sim.kill(N3, false);
    for _ in 0..6 {
        answered(&mut sim, "add", json!(1), None);
    }
    sim.start(N3);
    values(&mut sim)
}

#[test]
fn who_needs_what_was_dropped_gets_the_snapshot() {
    assert_eq!(left_behind(&[]), [json!(6), json!(6), json!(6)]);
    assert_eq!(left_behind(&["compact-too-early"]), [json!(6), json!(6), Value::Null]);
}
