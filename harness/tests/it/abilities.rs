//! What a machine does not allow is named, refused, or left out and said.

use std::process::Command;

use crate::support::Place;

const SLOW: &str = "summary = \"\"\nsystem = \"fle\"\ntime = \"10s\"\nsettle = \"300ms\"\n\
    [[steps]]\nname = \"slow\"\ndo = \"disk-slow\"\ntarget = \"leader\"\ndelay = \"5ms\"\n\
    on = { event = \"leader-elected\", established = true }\n\
    [[steps]]\ndo = \"disk-restore\"\ntarget = \"step:slow\"\n";

#[test]
fn doctor_names_what_cannot_be_done_and_only_that() {
    let place = Place::new();
    let sound = place.usurper("doctor");
    sound.expect(0, &["control", "owners", "loopback"]);
    assert!(!sound.stdout.contains("NO:") && !sound.stdout.contains("on this machine"));
    let without = place.usurper("doctor --without control");
    without.expect(
        0,
        &["control      NO:", "cannot do on this machine: failpoint, failpoint-release, disk-"],
    );
}

#[test]
fn a_fault_that_cannot_be_done_is_refused_unless_it_may_be_skipped_and_then_the_verdict_says_so() {
    let place = Place::new();
    place.file("slow.toml", SLOW);
    place.usurper("run slow.toml --without control").expect(
        4,
        &["`disk-slow` cannot be done here: this machine has no `control`", "hint: `--allow-skip`"],
    );
    assert!(!place.store().exists(), "nothing was started");
    let skipped = place.usurper("run slow.toml --without control --allow-skip");
    skipped.expect(
        3,
        &["step 1: disk-slow never ran", "verdict    unknown", "note: `disk-slow` was skipped"],
    );
    let history = std::fs::read_to_string(place.store().join("latest/history.jsonl")).unwrap();
    assert!(history.contains(r#""outcome":"skipped""#) && history.contains("has no `control`"));
    place.usurper("run slow.toml").expect(0, &["verdict    valid"]);
}

#[test]
fn random_faults_are_judged_without_those_that_were_skipped() {
    let place = Place::new();
    let words = "run --rate disk-slow=60,pause=10 --time 3s --seed 4 --without control";
    place.usurper(words).expect(4, &["`disk-slow` cannot be done here"]);
    place.usurper(&format!("{words} --allow-skip")).expect(0, &["not installed"]);
}

/// Only who may make a network namespace can take the loopback interface away for real.
#[test]
fn without_a_loopback_interface_no_run_accuses_the_cluster() {
    let place = Place::new();
    let usurper = assert_cmd::cargo::cargo_bin!("usurper");
    let isolated = |words: &str| {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(usurper).args(words.split_whitespace()).current_dir(place.path());
        command.output()
    };
    let words = "run fle/healthy-cold-start";
    match isolated(words) {
        Ok(output) if !String::from_utf8_lossy(&output.stderr).contains("unshare") => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(4), "{said}");
            assert!(
                said.contains("this machine has no `loopback`: cannot connect to 127."),
                "{said}"
            );
            let doctor = isolated("doctor").unwrap();
            assert!(
                String::from_utf8_lossy(&doctor.stdout).contains("loopback     NO: cannot connect")
            );
        }
        // The same by the word of the caller.
        _ => place
            .usurper(&format!("{words} --without loopback --allow-skip"))
            .expect(4, &["this machine has no `loopback`"]),
    }
    assert!(!place.store().exists(), "nothing was started");
}
