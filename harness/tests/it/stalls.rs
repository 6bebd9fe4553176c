//! A machine that stands still in the middle of a run: everything of it is stopped at once, from outside.

use std::{fs, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use usurper_history::Clock;

use crate::support::{Ended, Place, pids, records, wait_for, with};

const SECOND_NS: u64 = 1_000_000_000;

/// The leader is cut off. Four election timeouts are allowed until it gives up.
fn cut_off(timeout: &str, defects: &str, until: &str) -> String {
    format!(
        r#"
summary = "A test."
system = "raft"
nodes = 3
time = "30s"
settle = "100ms"
defects = [{defects}]

[params]
heartbeat = "100ms"
election-timeout = "{timeout}"

[[steps]]
do = "isolate"
target = "leader"
on = {{ event = "heartbeat", dir = "accepted" }}
after = "300ms"

[[steps]]
do = "wait"
{until}
"#
    )
}

/// Runs such a scenario, in which nobody gets any time for a while once the leader is cut off.
fn run_and_freeze(scenario: &str, words: &str, freeze_ns: u64) -> (Place, Ended) {
    let place = Place::new();
    place.file("cut-off.toml", scenario);
    let started = place.start(&format!("run cut-off.toml --seed 1 {words}"));
    let run = place.only_run();
    let cut = [("fault", "isolate".into()), ("outcome", "installed".into())];
    wait_for("cut", || with(&records(&run), &cut).pop());
    let frozen = Frozen::all_of(started.pid(), &run);
    assert_eq!(frozen.0.len(), 4, "the harness and three nodes");
    let clock = Clock::start();
    wait_for("end of the freeze", || (clock.now_ns() > freeze_ns).then_some(()));
    drop(frozen);
    let ended = started.wait();
    (place, ended)
}

/// Stopped processes, which go on at the end.
struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops the harness of a run, and then its nodes.
    fn all_of(harness: u32, run: &Path) -> Self {
        let mut frozen = Self(Vec::new());
        frozen.stop(harness);
        // It starts nobody any more.
        pids(run).into_iter().for_each(|node| frozen.stop(node));
        frozen
    }

    fn stop(&mut self, pid: u32) {
        let pid = Pid::from_raw(pid.try_into().unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        self.0.push(pid);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

#[test]
fn a_machine_that_stands_still_for_longer_than_a_bound_makes_nothing_invalid() {
    // It takes the leader two of them at most.
    let gives_up = r#"on = { event = "role-change", from = "leader" }"#;
    let (place, ended) = run_and_freeze(&cut_off("1s", "", gives_up), "", 43 * SECOND_NS / 10);
    ended.expect(0, &["valid    zombie-leader", "the machine stood still", "verdict    valid"]);
    let run = place.only_run();

    let records = records(&run);
    assert!(records.is_sorted_by_key(|record| record["t"].as_u64()));
    let stalls = with(&records, &[("event", "stall".into())]);
    let stood =
        |stall: &serde_json::Value| stall["until"].as_u64().unwrap() - stall["t"].as_u64().unwrap();
    let longest = stalls.iter().map(stood).max().unwrap();
    assert!(longest > 4 * SECOND_NS, "{stalls:?}");

    // The stored history says the same.
    let again = place.usurper("check store/latest --output json");
    again.expect(0, &[]);
    assert_eq!(again.stdout.trim(), fs::read_to_string(run.join("verdict.json")).unwrap().trim());

    // A history that does not tell of it is judged by its times alone.
    let text = fs::read_to_string(run.join("history.jsonl")).unwrap();
    let untold: Vec<_> = text.lines().filter(|line| !line.contains(r#""event":"stall""#)).collect();
    place.file("untold.jsonl", &(untold.join("\n") + "\n"));
    place.usurper("check untold.jsonl").expect(1, &["invalid  zombie-leader"]);
}

#[test]
fn a_leader_that_never_gives_up_is_found_although_the_machine_stood_still() {
    // Two seconds are allowed; one, and a grace of 1.5 after it, do not count.
    let scenario = cut_off("500ms", r#""no-checkquorum""#, r#"after = "7s""#);
    let (_place, ended) = run_and_freeze(&scenario, "--with-defect", SECOND_NS);
    ended.expect(1, &["invalid  zombie-leader", "the machine stood still"]);
}
