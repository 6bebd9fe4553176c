//! Each test is a command that a person can give; `usurper` is the one that was built beside the node, as
//! `cargo test --workspace` does.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

const NODE: &str = env!("CARGO_BIN_EXE_raft-rs-node");

fn usurper(words: &str) -> (Option<i32>, String) {
    let program = PathBuf::from(NODE).with_file_name("usurper");
    assert!(program.is_file(), "there is no `{}`: `cargo build` makes it", program.display());
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(words.split_whitespace()).current_dir(store.path()).env("NO_COLOR", "1");
    ended(command.output().unwrap())
}

fn node(words: &str) -> (Option<i32>, String) {
    ended(Command::new(NODE).args(words.split_whitespace()).output().unwrap())
}

fn ended(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    (output.status.code(), text.concat())
}

#[track_caller]
fn expect((code, text): (Option<i32>, String), expected: i32, says: &[&str]) {
    assert_eq!(code, Some(expected), "{text}");
    for word in says {
        assert!(text.contains(word), "`{word}` is not said in {text}");
    }
}

#[test]
fn random_faults_under_load_break_no_check() {
    let run = format!(
        "run --system raft-rs --bin {NODE} --faults all --time 5s --seed 6 \
         --workload register --op-rate 60"
    );
    let applied = &["valid    linearizable", "valid    persist-before-ack", "verdict    valid"];
    expect(usurper(&run), 0, applied);
}

#[test]
fn a_loop_that_forgets_the_hard_state_is_found_out() {
    let run = format!("run raft-rs/hard-state-forgotten --bin {NODE}");
    expect(usurper(&run), 0, &["verdict    valid"]);
    let found = &["invalid  double-vote", "invalid  dual-leaders", "invalid  persist-before-ack"];
    expect(usurper(&format!("{run} --with-defect")), 1, found);
}

#[test]
fn reads_in_a_lease_are_found_out() {
    let run = format!("run raft-rs/lease-by-a-slow-clock --bin {NODE}");
    expect(usurper(&run), 0, &["verdict    valid"]);
    expect(usurper(&format!("{run} --with-defect")), 1, &["invalid  linearizable"]);
}

#[test]
fn a_missing_program_is_told_with_the_command_that_builds_it() {
    let ended = usurper("run --system raft-rs --bin /no/such/node");
    expect(ended, 2, &["cannot run `/no/such/node`", "cargo build --release -p raft-rs-node"]);
}

#[test]
fn wrong_options_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let words = |more: &str| {
        let data = place.path().display();
        let fixed = "--id n1 --cluster c --origin-ns 0 --listen 127.0.0.1:0";
        format!("node raft-rs {fixed} --data {data} {more}")
    };
    expect(node(&words("--defect fast")), 1, &["unknown defect `fast`"]);
    expect(node(&words("--param beat=1s")), 1, &["unknown parameter `beat`"]);
    expect(node(&words("--param snapshot-after=0")), 1, &["expected a number, 1 or more"]);
}
