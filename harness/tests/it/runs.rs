//! Runs that come to their end.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
};

use crate::support::{PATIENCE, PATIENT, Place, pids, records, wait_for, with, words_of};

#[test]
fn a_healthy_cluster_is_valid_and_everything_about_it_is_kept() {
    let place = Place::new();
    let ended = place.usurper("run fle/healthy-cold-start --seed 7");
    ended.expect(0, &["verdict    valid", "valid    dual-leaders", "stored in  store/fle/healthy"]);
    let run = place.only_run();
    for file in [
        "plan.toml",
        "history.jsonl",
        "verdict.json",
        "report.html",
        "nodes/n1/stderr.log",
        "nodes/n3/data",
    ] {
        assert!(run.join(file).exists(), "{file} is missing");
    }
    assert_eq!(
        fs::canonicalize(place.store().join("latest")).unwrap(),
        fs::canonicalize(&run).unwrap()
    );
    let again = place.usurper("check store/latest --output json");
    again.expect(0, &[]);
    assert_eq!(again.stdout.trim(), fs::read_to_string(run.join("verdict.json")).unwrap().trim());
}

#[test]
fn a_program_that_is_replaced_meanwhile_still_starts_its_nodes() {
    let place = Place::new();
    let program = place.path().join("usurper");
    fs::copy(assert_cmd::cargo::cargo_bin!("usurper"), &program).unwrap();
    let mut run = Command::new(&program);
    run.args(["run", "fle/rolling-restart"]).current_dir(place.path());
    let run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let dir = place.only_run();
    wait_for("leader", || with(&records(&dir), &[("established", true.into())]).pop());
    // As a build does: another file takes its place.
    let other = place.file("other", "#!/bin/sh\nexit 9\n");
    fs::rename(other, &program).unwrap();
    let ended = run.wait_with_output().unwrap();
    assert_eq!(
        ended.status.code(),
        Some(0),
        "{:?}",
        with(&records(&dir), &[("event", "exit".into())])
    );
    assert!(pids(&dir).len() > 3, "nodes were started again");
}

#[test]
fn two_leaders_are_found_told_and_found_again_from_the_history_alone() {
    let place = Place::new();
    let ended = place.usurper("run fle/initial-leader-returns --with-defect --seed 1");
    let told = &[
        "invalid  dual-leaders",
        "went on leading epoch 1, followed by n2, after n3 had been established as leader of epoch 2",
        "invalid  stale-leader-heartbeat",
        "verdict    invalid",
    ];
    ended.expect(1, told);
    let history = place.only_run().join("history.jsonl");
    let again = place.usurper(&format!("check {}", history.display()));
    again.expect(1, told);
    let verdict = |text: &str| {
        text.lines().filter(|l| !l.starts_with("stored")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(verdict(&again.stdout), verdict(&ended.stdout));
    let report = fs::read_to_string(history.with_file_name("report.html")).unwrap();
    let shown =
        ["<svg", "kill n1", "class=\"finding\"", "went on leading epoch 1", "leader-elected"];
    shown.iter().for_each(|text| assert!(report.contains(text), "`{text}` is not in the report"));
    let other = place.path().join("other.html");
    let words = format!("report {} --file {}", history.display(), other.display());
    place.usurper(&words).expect(0, &["other.html"]);
    assert_eq!(fs::read_to_string(other).unwrap(), report);
}

#[test]
fn clusters_of_one_two_and_four_work() {
    thread::scope(|scope| {
        for nodes in [1, 2, 4] {
            scope.spawn(move || {
                let place = Place::new();
                let words = format!("run --nodes {nodes} --time 3s --interval 1s --seed {nodes}");
                place.usurper(&words).expect(0, &["verdict    valid"]);
                let run = place.only_run();
                let ready = with(&records(&run), &[("event", "ready".into()), ("inc", 1.into())]);
                assert_eq!(ready.len(), nodes);
            });
        }
    });
}

#[test]
fn a_cluster_of_twenty_one_elects_one_leader() {
    let place = Place::new();
    let words = format!("run --nodes 21 --faults none --time 1s {PATIENT}");
    place.usurper(&words).expect(0, &["1 leader established"]);
}

#[test]
fn the_same_seed_breaks_the_same_nodes_in_the_same_order() {
    let faults = |seed: u64| {
        let place = Place::new();
        let words = format!("run --seed {seed} --time 4s --interval 1s --faults pause,partition");
        place.usurper(&words).expect(0, &[]);
        let records = records(&place.only_run());
        let begun = with(&records, &[("record", "fault".into()), ("phase", "begin".into())]);
        let told = begun.iter().filter(|fault| fault["trigger"] != "heal");
        // Each track has an order of its own; what is on different ones may meet.
        let mut tracks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for fault in told {
            let track = tracks.entry(fault["args"]["track"].to_string()).or_default();
            track.push(format!("{} {}", fault["fault"], fault["args"]));
        }
        tracks
    };
    let (first, second) = (faults(11), faults(11));
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

#[test]
fn each_fault_is_recorded_with_its_trigger_and_its_proof() {
    let place = Place::new();
    place.usurper("run fle/leader-paused-and-resumed --seed 1").expect(0, &[]);
    let records = records(&place.only_run());
    let pause = with(&records, &[("fault", "pause".into())]);
    assert_eq!(pause[0]["phase"], "begin");
    assert_eq!(pause[0]["trigger"]["event"]["event"], "leader-elected");
    assert_eq!(pause[1]["outcome"], "installed");
    assert!(pause[1]["proof"].as_str().unwrap().contains("is in state T"), "{}", pause[1]);
    let resume = with(&records, &[("fault", "resume".into()), ("phase", "end".into())]);
    assert!(!resume[0]["proof"].as_str().unwrap().contains("state T"), "{}", resume[0]);
}

#[test]
fn a_cut_is_proven_by_refused_knocks_and_bites() {
    let place = Place::new();
    let scenario = "summary = 'x'\nsystem = 'fle'\ntime = '20s'\nsettle = '500ms'\n\
        [[steps]]\ndo = 'isolate'\ntarget = 'leader'\nname = 'cut'\n\
        on = { event = 'leader-elected', established = true }\n\
        [[steps]]\ndo = 'heal'\non = { event = 'leader-elected', established = true }\n\
        [[steps]]\ndo = 'wait'\non = { event = 'heartbeat', dir = 'accepted', node = 'step:cut' }\n";
    place.file("cut.toml", scenario);
    place.usurper("run cut.toml").expect(0, &["verdict    valid", "isolate 1"]);
    let records = records(&place.only_run());
    let proof = |fault: &str| {
        let ends = with(&records, &[("fault", fault.into()), ("phase", "end".into())]);
        ends[0]["proof"].as_str().unwrap().to_owned()
    };
    assert_eq!(proof("isolate"), "4 links refuse a knock");
    assert!(proof("heal").starts_with("6 links let a knock in"), "{}", proof("heal"));
}

#[test]
fn every_partition_is_proven_and_healed() {
    let shapes = [
        "isolate",
        "halves",
        "majority-minority",
        "minority-third",
        "majorities-ring",
        "bridge",
        "chain",
        "hub",
        "one-way",
        "primaries",
    ];
    let mut scenario = "summary = 'x'\nsystem = 'fle'\nnodes = 5\ntime = '30s'\nsettle = '100ms'\n\
        [[steps]]\ndo = 'wait'\non = { event = 'leader-elected', established = true }\n"
        .to_owned();
    for shape in shapes {
        scenario +=
            &format!("[[steps]]\ndo = '{shape}'\ntarget = 'leader'\n[[steps]]\ndo = 'heal'\n");
    }
    // Who believes that it leads is known without being told.
    scenario = scenario.replace("do = 'primaries'\ntarget = 'leader'", "do = 'primaries'");
    let place = Place::new();
    place.file("shapes.toml", &scenario);
    place.usurper("run shapes.toml").expect(0, &["verdict    valid"]);
    let records = records(&place.only_run());
    for shape in shapes {
        let ends = with(&records, &[("fault", shape.into()), ("phase", "end".into())]);
        assert_eq!(ends[0]["outcome"], "installed", "{}", ends[0]);
        assert!(ends[0]["proof"].as_str().unwrap().contains("refuse a knock"), "{}", ends[0]);
    }
}

#[test]
fn a_fault_that_fits_nobody_is_skipped_with_its_reason() {
    let place = Place::new();
    let scenario = "summary = 'x'\nsystem = 'fle'\ntime = '20s'\nsettle = '100ms'\n\
        [[steps]]\ndo = 'wait'\non = { event = 'leader-elected', established = true }\n\
        [[steps]]\ndo = 'kill'\ntarget = 'n1'\n\
        [[steps]]\ndo = 'pause'\ntarget = 'n1'\n\
        [[steps]]\ndo = 'restart'\ntarget = 'n2'\n";
    place.file("skip.toml", scenario);
    // What was to break something was not put to the test; a repair has nothing to do.
    let never = "step 3: pause never ran";
    place.usurper("run skip.toml").expect(3, &["n1 does not run", "n2 runs already", never]);
    let optional = scenario.replace("'pause'\n", "'pause'\noptional = true\n");
    place.file("optional.toml", &optional);
    let texts = ["n1 does not run", "n2 runs already", "verdict    valid"];
    place.usurper("run optional.toml").expect(0, &texts);
}

#[test]
fn a_step_that_never_runs_makes_the_verdict_unknown() {
    let place = Place::new();
    let scenario = "summary = 'x'\nsystem = 'fle'\ntime = '1s'\nsettle = '100ms'\n\
        [[steps]]\ndo = 'kill'\ntarget = 'n1'\non = { event = 'truncate' }\n";
    place.file("never.toml", scenario);
    place.usurper("run never.toml").expect(3, &["verdict    unknown", "step 1: kill n1 never ran"]);
}

#[test]
fn garbage_at_a_node_and_at_its_door_is_dropped_and_the_cluster_goes_on() {
    let place = Place::new();
    let started = place.start(&format!("run fle/healthy-cold-start --settle 4s {PATIENT}"));
    let run = place.only_run();
    wait_for("leader", || with(&records(&run), &[("established", true.into())]).pop());
    let words = words_of(pids(&run)[0]);
    let listen = &words[words.iter().position(|word| word == "--listen").unwrap() + 1];
    let door = listen.replace(":7000", ":7001");
    for address in [listen.as_str(), &door] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: leader\r\nAccept: */*\r\n\r\n").unwrap();
        // Closed or reset, but not answered.
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "{address} answered");
    }
    started.wait().expect(0, &["verdict    valid", "1 leader established"]);
    let dropped = with(&records(&run), &[("event", "conn".into()), ("op", "bad-frame".into())]);
    assert_eq!(dropped.len(), 1, "the node counts what came to it; the door what came to the door");
}

#[test]
fn prove_shows_both_ways_and_fails_when_one_is_missing() {
    let place = Place::new();
    let row = &["fle/initial-leader-returns", "1 of 1", "dual-leaders, stale-leader-heartbeat"];
    place.usurper("prove fle/initial-leader-returns").expect(0, row);
    assert!(!place.store().join("fle/initial-leader-returns").exists_with_runs());
    let lying = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../scenarios/fle/initial-leader-returns.toml"
    ));
    let lying = lying.unwrap().replace("expect = [\"dual-leaders\"", "expect = [\"crash\"");
    place.file("lying.toml", &lying);
    place
        .usurper("prove lying.toml")
        .expect(1, &["0 of 1", "crash did not fire", "see store/lying/"]);
}

trait Runs {
    fn exists_with_runs(&self) -> bool;
}

impl Runs for std::path::PathBuf {
    fn exists_with_runs(&self) -> bool {
        fs::read_dir(self).is_ok_and(|mut entries| entries.next().is_some())
    }
}

#[test]
fn runs_side_by_side_do_not_meet() {
    let place = Place::new();
    let words = "prove fle/healthy-cold-start --repeat 8 --jobs 8 --output json";
    let ended = place.usurper(words);
    ended.expect(0, &[]);
    let rows: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(rows[0]["without"]["good"], 8);
}
