//! Faults of the machine under a node: each bites, and each heals.

use std::{fs, os::unix::fs::PermissionsExt};

use assert_cmd::cargo::cargo_bin;
use serde_json::{Value, json};

use super::run::{Run, run, run_interrupted, run_scenario};

const LED: &str = r#"on = { event = "heartbeat", dir = "accepted", node = "n1" }"#;
/// For runs in which nobody may be missed, however busy the machine is.
const PATIENT: &str = "params = { down-after = \"20s\" }";

/// Steps, each in the words of a scenario.
fn steps(head: &str, steps: &[&str]) -> String {
    let steps: Vec<_> = steps.iter().map(|step| format!("[[steps]]\n{step}\n")).collect();
    format!("{head}\n{}", steps.join("\n"))
}

/// The record of a node's start, by its incarnation.
#[track_caller]
fn start(run: &Run, node: &str, inc: u32) -> Value {
    let at = run.at(0, &json!({"event": "node-start", "node": node, "inc": inc}));
    run.records[at].clone()
}

#[track_caller]
fn exit(run: &Run, node: &str, inc: u32) -> Value {
    let at = run.at(0, &json!({"event": "exit", "node": node, "inc": inc}));
    run.records[at].clone()
}

/// What a node remembers that had acknowledged an epoch before it was synced.
fn remembered(fault: &str, more: &[&str]) -> Value {
    let held = "point = \"epoch.after-write-before-sync\"";
    let text = steps(
        "",
        &[
            "do = \"kill\"\ntarget = \"n1\"",
            // However slowly the kill came: what happened before it is gone.
            "do = \"wipe\"\ntarget = \"n1\"",
            &format!("do = \"failpoint\"\ntarget = \"n1\"\nact = \"pause\"\n{held}"),
            "do = \"restart\"\ntarget = \"n1\"",
            &format!(
                "do = \"{fault}\"\ntarget = \"n1\"\n\
                 on = {{ event = \"failpoint\", node = \"n1\", {held} }}"
            ),
            "do = \"restart\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, more);
    // An acknowledgement before its sync is wrong, whether or not anything is lost by it.
    run.assert_code(i32::from(!more.is_empty()));
    let acked = run.at(0, &json!({"event": "ack", "node": "n1", "inc": 2, "kind": "ackepoch"}));
    let at = run.installed(acked, fault);
    assert_eq!(run.records[at]["effect"], "down");
    start(&run, "n1", 3)["persisted"]["accepted-epoch"].clone()
}

#[test]
fn power_takes_what_was_acknowledged_before_its_sync_and_a_kill_does_not() {
    let defect = ["--defect", "accepted-epoch-not-synced"];
    assert_eq!(remembered("power", &defect), 0);
    assert_ne!(remembered("kill", &defect), 0);
    assert_ne!(remembered("power", &[]), 0);
}

#[test]
fn a_wiped_node_comes_back_without_a_memory_and_a_running_one_is_not_wiped() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"wipe\"\ntarget = \"n1\"\noptional = true\n{LED}"),
            "do = \"kill\"\ntarget = \"n1\"",
            "do = \"wipe\"\ntarget = \"n1\"",
            "do = \"restart\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let (at, refused) = run.fault(0, "wipe");
    assert_eq!(
        (&refused["outcome"], &refused["reason"]),
        (&json!("skipped"), &json!("n1 runs still"))
    );
    run.installed(at + 1, "wipe");
    let found = start(&run, "n1", 2);
    assert_eq!((&found["fresh"], &found["persisted"]["accepted-epoch"]), (&json!(true), &json!(0)));
}

#[test]
fn a_stalled_disk_holds_a_sync_until_the_run_heals() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"disk-stall\"\ntarget = \"n1\"\n{LED}"),
            "do = \"advance\"\ntarget = \"n1\"\nby = 3",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let stalled = run.installed(0, "disk-stall");
    let record = &run.records[stalled];
    assert_eq!((&record["effect"], &record["aspect"]), (&json!("degraded"), &json!("disk")));
    // The client waited in vain.
    let (asked, record) = run.fault(stalled, "advance");
    assert_eq!(record["outcome"], "indeterminate");
    let logged = json!({"event": "persist", "node": "n1", "what": "zxid"});
    let begun = json!({"record": "fault", "phase": "begin", "fault": "disk-restore"});
    let begun = run.at(asked, &begun);
    assert!(run.at(0, &logged) > begun, "the sync came through");
    let restored = run.installed(begun, "disk-restore");
    assert_eq!(run.records[restored]["effect"], "restored");
}

#[test]
fn a_slow_disk_is_slow_until_it_is_restored_and_after_a_restart() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"disk-slow\"\ntarget = \"n1\"\ndelay = \"300ms\"\n{LED}"),
            "do = \"advance\"\ntarget = \"n1\"",
            "do = \"kill\"\ntarget = \"n1\"",
            "do = \"restart\"\ntarget = \"n1\"",
            "do = \"disk-restore\"\ntarget = \"n1\"",
            "do = \"advance\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let slow = run.installed(0, "disk-slow");
    let advanced = run.installed(slow, "advance");
    let t = |at: usize| run.records[at]["t"].as_u64().unwrap();
    assert!(t(advanced) - t(slow) >= 300_000_000);
    // The new process met the same disk: it syncs what it recovers.
    let spawned = run.at(advanced, &json!({"event": "spawn", "node": "n1", "inc": 2}));
    let started = run.at(advanced, &json!({"event": "node-start", "node": "n1", "inc": 2}));
    assert!(t(started) - t(spawned) >= 300_000_000);
    let restored = run.installed(started, "disk-restore");
    assert!(run.records[restored]["proof"].as_str().unwrap().contains("disk: sound"));
    run.installed(restored, "advance");
    assert!(run.find(restored + 1, &json!({"fault": "disk-restore"})).is_none(), "healed twice");
}

#[test]
fn a_failed_sync_ends_a_node_which_is_no_crash_and_it_starts_once_the_disk_is_restored() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"disk-fail\"\ntarget = \"n1\"\nerror = \"enospc\"\n{LED}"),
            "do = \"advance\"\ntarget = \"n1\"\noptional = true",
            "do = \"restart\"\ntarget = \"n1\"\non = { event = \"exit\", node = \"n1\" }",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let failing = run.installed(0, "disk-fail");
    assert!(run.records[failing]["proof"].as_str().unwrap().contains("sync fails with enospc"));
    run.at(failing, &json!({"event": "persist", "node": "n1", "what": "zxid", "ok": false}));
    let ended = exit(&run, "n1", 1);
    assert_eq!((&ended["code"], &ended["expected"]), (&json!(74), &json!(true)));
    // The disk is no better for a new process.
    let (tried, record) = run.fault(failing, "restart");
    assert_eq!(record["outcome"], "indeterminate");
    assert_eq!(exit(&run, "n1", 2)["code"], 74);
    let restored = run.installed(tried, "disk-restore");
    run.installed(restored, "restart");
    assert!(run.said("n1").contains("No space left"));
}

#[test]
fn a_write_that_fails_once_ends_a_node_which_recovers_from_its_torn_tail() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"disk-fail\"\ntarget = \"n1\"\nop = \"write\"\ncount = 1\n{LED}"),
            "do = \"advance\"\ntarget = \"n1\"\noptional = true",
            "do = \"restart\"\ntarget = \"n1\"\non = { event = \"exit\", node = \"n1\" }",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    assert_eq!(exit(&run, "n1", 1)["code"], 74);
    let found = start(&run, "n1", 2);
    assert_eq!(found["persisted"]["zxid"]["counter"], 0);
    let (_, record) = run.fault(0, "restart");
    assert_eq!(record["outcome"], "installed", "a failure that was counted began anew");
}

/// Runs steps on nodes of which the first is started by this shell command instead of `exec usurper`.
fn run_with(first: &str, head: &str, these: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("node");
    let usurper = cargo_bin!("usurper").display().to_string();
    let script = format!(
        "#!/bin/sh\nusurper='{usurper}'\ncase \"$*\" in\n*'--id n1 '*) {first};;\n\
         *) exec \"$usurper\" \"$@\";;\nesac\n"
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    run(&steps(head, these), &["--bin", program.to_str().unwrap()])
}

/// A run whose first node ends with the exit code of a failed disk once it was told of its disk.
fn first_node_fails(step: &str) -> Run {
    let fails = r#"case "$*" in
        *'--inc 1 '*)
            "$usurper" "$@" & node=$!
            log=$(echo "$*" | sed 's|.*--data \([^ ]*\)/data .*|\1/stderr.log|')
            until grep -q 'command={"do":"disk' "$log"; do sleep 0.02; done
            kill $node; wait $node; exit 74;;
        *) exec "$usurper" "$@";; esac"#;
    run_with(fails, PATIENT, &[step, "do = \"wait\"\non = { event = \"exit\", node = \"n1\" }"])
}

#[test]
fn a_disk_failure_is_expected_only_where_it_was_provoked() {
    let provoked = first_node_fails(&format!("do = \"disk-fail\"\ntarget = \"n1\"\n{LED}"));
    provoked.assert_code(0);
    let ended = exit(&provoked, "n1", 1);
    assert_eq!((&ended["code"], &ended["expected"]), (&json!(74), &json!(true)));
    let slow = format!("do = \"disk-slow\"\ntarget = \"n1\"\ndelay = \"1ms\"\n{LED}");
    let other = first_node_fails(&slow);
    other.assert_code(1);
    let ended = exit(&other, "n1", 1);
    assert_eq!((&ended["code"], &ended["expected"]), (&json!(74), &json!(false)));
}

#[test]
fn a_node_that_cannot_be_told_is_not_taken_for_healed() {
    // An older node, say: it knows nothing of a control socket.
    let deaf = "set -- $(echo \"$*\" | sed 's/--control [^ ]*//'); exec \"$usurper\" \"$@\"";
    let step = format!("do = \"disk-stall\"\ntarget = \"n1\"\n{LED}");
    let run = run_with(deaf, PATIENT, &[&step]);
    run.assert_code(4);
    assert!(run.stderr.contains("could not heal the cluster") && run.stderr.contains("n1"));
    let (_, stalled) = run.fault(0, "disk-stall");
    assert_eq!(stalled["outcome"], "indeterminate");
    assert!(stalled["reason"].as_str().unwrap().contains("no answer"), "{stalled}");
}

#[test]
fn an_interrupted_run_restores_what_it_has_bent() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"disk-stall\"\ntarget = \"n1\"\n{LED}"),
            "do = \"clock-rate\"\ntarget = \"n2\"\nspeed = 2.0",
            "do = \"wait\"\nafter = \"25s\"",
        ],
    );
    let run = run_interrupted(&text, "\"clock-rate\"");
    run.assert_code(130);
    let interrupted = run.at(0, &json!({"event": "interrupted"}));
    run.installed(interrupted, "disk-restore");
    run.installed(interrupted, "clock-restore");
    for node in ["n1", "n2", "n3"] {
        assert_eq!(exit(&run, node, 1)["code"], 0, "{node} did not stop by itself");
    }
}

#[test]
fn a_flipped_byte_keeps_a_node_from_starting_until_it_is_put_right() {
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"kill\"\ntarget = \"n1\"\n{LED}"),
            "do = \"disk-flip\"\ntarget = \"n1\"",
            "do = \"restart\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let flipped = run.installed(0, "disk-flip");
    let (tried, record) = run.fault(flipped, "restart");
    assert_eq!(record["outcome"], "indeterminate");
    let ended = exit(&run, "n1", 2);
    assert_eq!((&ended["code"], &ended["expected"]), (&json!(65), &json!(true)));
    assert!(run.said("n1").contains("is corrupt at byte"), "{}", run.said("n1"));
    let restored = run.installed(tried, "disk-restore");
    assert!(run.records[restored]["proof"].as_str().unwrap().contains("put right"));
    run.installed(restored, "restart");
    let led = run.at(0, &json!({"event": "heartbeat", "dir": "accepted", "node": "n1"}));
    let epoch = &run.records[led]["msg-term"];
    assert_eq!(start(&run, "n1", 3)["persisted"]["accepted-epoch"], *epoch);
}

/// A node that crashed between a write and its sync, its log cut by so many bytes, and restarted.
fn truncated(bytes: u64) -> Run {
    let point = "point = \"zxid.after-write-before-sync\"";
    let text = steps(
        PATIENT,
        &[
            &format!("do = \"failpoint\"\ntarget = \"n1\"\nact = \"crash\"\n{point}\n{LED}"),
            "do = \"advance\"\ntarget = \"n1\"\noptional = true",
            &format!(
                "do = \"disk-truncate\"\ntarget = \"n1\"\nbytes = {bytes}\n\
                 on = {{ event = \"exit\", node = \"n1\" }}"
            ),
            "do = \"restart\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    assert_eq!(exit(&run, "n1", 1)["signal"], 9);
    run.installed(0, "disk-truncate");
    run
}

#[test]
fn a_torn_tail_recovers_and_a_cut_into_what_was_synced_is_refused() {
    let run = truncated(1);
    run.installed(0, "restart");
    assert_eq!(start(&run, "n1", 2)["persisted"]["zxid"]["counter"], 0);
    assert!(run.find(0, &json!({"fault": "disk-restore"})).is_none(), "there was nothing to undo");

    let run = truncated(28);
    let (tried, record) = run.fault(0, "restart");
    assert_eq!(record["outcome"], "indeterminate");
    assert_eq!(exit(&run, "n1", 2)["code"], 65);
    assert!(run.said("n1").contains("the file ends before what was synced"));
    let restored = run.installed(tried, "disk-restore");
    run.installed(restored, "restart");
    assert_eq!(start(&run, "n1", 3)["persisted"]["zxid"]["counter"], 1);
}

/// Whether n1 suspects its leader after a jump of one of its clocks.
fn suspects(clock: &str, params: &str) -> bool {
    let jump =
        format!("do = \"clock-jump\"\ntarget = \"n1\"\njump = \"+1h\"\nclock = \"{clock}\"\n{LED}");
    let wait = format!("do = \"wait\"\n{LED}");
    // Whoever still looks for a leader would join n1 in doubting this one.
    let all = "do = \"wait\"\non = { any-of = [
        { event = \"heartbeat\", dir = \"accepted\", node = \"n2\" },
        { event = \"heartbeat\", dir = \"accepted\", node = \"n3\" },
    ] }";
    let restore = "do = \"clock-restore\"\ntarget = \"n1\"";
    let text = steps(params, &[all, &jump, &jump, &jump, &wait, &wait, restore]);
    let run = run(&text, &[]);
    run.assert_code(0);
    run.installed(0, "clock-jump");
    let restored = run.installed(0, "clock-restore");
    assert_eq!(run.records[restored]["aspect"], "clock");
    let t = run.records.last().unwrap()["t"].as_u64().unwrap();
    assert!(t < 3_600_000_000_000, "the history was stamped with a bent clock");
    run.find(0, &json!({"event": "vote-msg", "node": "n1", "kind": "sdown", "dir": "send"}))
        .is_some()
}

#[test]
fn a_jump_of_the_timer_clock_fires_timers_and_one_of_the_wall_clock_does_not() {
    // A heartbeat that comes with a jump puts the timer off again, so they are far apart, and not every
    // jump comes with one.
    let rare = "down-after = \"20s\", heartbeat = \"500ms\"";
    assert!(suspects("timer", &format!("params = {{ {rare} }}")));
    assert!(!suspects("wall", &format!("params = {{ {rare} }}")));
    assert!(suspects("wall", &format!("params = {{ {rare}, timers = \"wall\" }}")));
}

#[test]
fn a_leader_whose_clock_crawls_is_deposed_and_follows_when_it_is_restored() {
    let text = steps(
        "",
        &[
            &format!(
                "name = \"slow\"\ndo = \"clock-rate\"\ntarget = \"leader\"\nspeed = 0.001\n{LED}"
            ),
            "do = \"clock-restore\"\ntarget = \"step:slow\"\n\
             on = { event = \"leader-elected\", established = true }",
            "do = \"wait\"\non = { event = \"heartbeat\", dir = \"accepted\", node = \"step:slow\" }",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let slow = run.installed(0, "clock-rate");
    run.at(slow, &json!({"event": "leader-elected", "established": true}));
    run.installed(slow, "clock-restore");
}

#[test]
fn a_crash_at_a_failpoint_is_expected_and_the_node_is_restarted() {
    let point = "lead.after-elected-before-first-hb";
    let text = steps(
        "",
        &[
            &format!(
                "do = \"failpoint\"\ntarget = \"followers\"\npoint = \"{point}\"\nact = \"crash\"\n{LED}"
            ),
            "do = \"kill\"\ntarget = \"leader\"",
            &format!("do = \"wait\"\non = {{ event = \"failpoint\", point = \"{point}\" }}"),
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let armed = run.installed(0, "failpoint");
    assert_eq!(run.records[armed]["effect"], "none");
    let hit = run.at(armed, &json!({"event": "failpoint", "act": "crash"}));
    let node = run.records[hit]["node"].clone();
    let ended = run.at(hit, &json!({"event": "exit", "node": node}));
    assert_eq!(run.records[ended]["expected"], true);
    // It never spoke as a leader, it runs again, and nobody is armed any more.
    let spoke = json!({"event": "heartbeat", "dir": "sent", "node": node, "inc": 1});
    assert!(run.find(hit, &spoke).is_none());
    // The run heals as soon as the hit is told, which may be before its process is gone.
    let (released, record) = run.fault(hit, "failpoint-release");
    assert_eq!(record["outcome"], "installed", "{record}");
    assert!(!record["nodes"].as_array().unwrap().contains(&node), "{record}");
    run.at(ended.max(released), &json!({"event": "ready", "node": node, "inc": 2}));
}

#[test]
fn a_node_that_stands_still_at_a_failpoint_goes_on_when_the_run_heals() {
    let point = "zxid.after-sync-before-reply";
    let text = steps(
        PATIENT,
        &[
            &format!(
                "do = \"failpoint\"\ntarget = \"n1\"\npoint = \"{point}\"\nact = \"pause\"\n{LED}"
            ),
            "do = \"advance\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let armed = run.installed(0, "failpoint");
    assert_eq!(run.records[armed]["effect"], "degraded");
    let hit = run.at(armed, &json!({"event": "failpoint", "node": "n1", "point": point}));
    let (_, record) = run.fault(hit, "advance");
    assert_eq!(record["outcome"], "indeterminate", "it answered");
    let begun = json!({"record": "fault", "phase": "begin", "fault": "failpoint-release"});
    let begun = run.at(hit, &begun);
    let silent = run.records[hit + 1..begun].iter().all(|record| record["node"] != "n1");
    assert!(silent, "it went on by itself");
    run.at(begun, &json!({"record": "node", "node": "n1"}));
    run.installed(begun, "failpoint-release");
}

#[test]
fn a_node_that_was_told_to_stop_while_it_stood_still_is_restarted_when_the_run_heals() {
    let point = "zxid.after-sync-before-reply";
    let text = steps(
        PATIENT,
        &[
            &format!(
                "do = \"failpoint\"\ntarget = \"n1\"\npoint = \"{point}\"\nact = \"pause\"\n{LED}"
            ),
            "do = \"advance\"\ntarget = \"n1\"",
            "do = \"terminate\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let (told, record) = run.fault(0, "terminate");
    assert_eq!(record["outcome"], "indeterminate", "it stopped");
    let released = run.at(told, &json!({"fault": "failpoint-release", "phase": "begin"}));
    let ended = run.at(0, &json!({"event": "exit", "node": "n1", "inc": 1}));
    assert!(ended > released, "it stopped by itself");
    run.installed(ended, "restart");
}

#[test]
fn a_delay_at_a_failpoint_is_over_by_itself() {
    let point = "zxid.after-sync-before-reply";
    let text = steps(
        PATIENT,
        &[
            &format!(
                "do = \"failpoint\"\ntarget = \"n1\"\npoint = \"{point}\"\nact = \"delay\"\n\
                 delay = \"200ms\"\n{LED}"
            ),
            "do = \"advance\"\ntarget = \"n1\"",
        ],
    );
    let run = run(&text, &[]);
    run.assert_code(0);
    let hit = run.at(0, &json!({"event": "failpoint", "node": "n1", "act": "delay"}));
    let answered = run.installed(hit, "advance");
    let t = |at: usize| run.records[at]["t"].as_u64().unwrap();
    assert!(t(answered) - t(hit) >= 200_000_000);
}

#[test]
fn a_step_that_cannot_work_is_refused_before_anything_starts() {
    for (step, expected) in [
        (
            "do = \"failpoint\"\ntarget = \"n1\"\npoint = \"lead.elected\"\nact = \"crash\"",
            "did you mean",
        ),
        ("do = \"failpoint\"\ntarget = \"n1\"\nact = \"crash\"", "needs a `point`"),
        ("do = \"failpoint\"\ntarget = \"n1\"\npoint = \"x\"", "needs an `act`"),
        (
            "do = \"failpoint\"\ntarget = \"n1\"\npoint = \"x\"\nact = \"explode\"",
            "unknown variant `explode`",
        ),
        ("do = \"failpoint\"\ntarget = \"n1\"\npoint = \"x\"\nact = \"delay\"", "needs a `delay`"),
        ("do = \"disk-slow\"\ntarget = \"n1\"", "needs a `delay`"),
        ("do = \"disk-stall\"\ntarget = \"n1\"\ndelay = \"1s\"", "takes no `delay`"),
        ("do = \"disk-stall\"", "needs a `target`"),
        ("do = \"disk-fail\"\ntarget = \"n1\"\nop = \"read\"", "unknown variant `read`"),
        ("do = \"disk-fail\"\ntarget = \"n1\"\ncount = 0", "`count` starts at 1"),
        ("do = \"disk-truncate\"\ntarget = \"n1\"\nbytes = 0", "`bytes` starts at 1"),
        ("do = \"clock-jump\"\ntarget = \"n1\"\njump = \"1h\"", "it has no sign"),
        ("do = \"clock-jump\"\ntarget = \"n1\"", "needs a `jump`"),
        ("do = \"clock-rate\"\ntarget = \"n1\"\nspeed = 0.0", "a `speed` from"),
    ] {
        let run = run(&steps("", &[step]), &[]);
        run.assert_code(2);
        assert!(run.stderr.contains(expected), "{step}: {}", run.stderr);
        assert!(run.records.is_empty());
    }
    let text = steps("system = \"etcd\"", &["do = \"disk-stall\"\ntarget = \"n1\""]);
    let run = run_scenario(&text, &[]);
    run.assert_code(2);
    assert!(run.stderr.contains("cannot do `disk-stall`"), "{}", run.stderr);
}
