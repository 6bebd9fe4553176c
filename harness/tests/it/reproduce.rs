//! `usurper reproduce`: logs from the field become a scenario that fails the same way, or does not.

use std::fs;

use crate::support::Place;

/// Where the recorded logs of clusters are.
fn recorded(path: &str) -> String {
    format!("{}/../checks/tests/data/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn logs(system: &str) -> String {
    let file = |node: u8| recorded(&format!("{system}/n{node}.log"));
    format!("{} {} {}", file(1), file(2), file(3))
}

fn scenario(place: &Place) -> String {
    fs::read_to_string(place.path().join("reproduced.toml")).unwrap()
}

#[test]
fn zookeepers_logs_become_a_scenario_for_fle_that_fails_with_the_bug_alone() {
    let place = Place::new();
    let words = format!("reproduce {} --repeat 2", logs("zookeeper"));
    place.usurper(&words).expect(
        0,
        &[
            "judged     valid, fails no check",
            "scenario   fle with 3 nodes, 6 steps",
            "not told   n3 fell silent at 109.407 s",
            "not told   n2 ran on while n3 was elected",
            "fails      0 of 2",
        ],
    );
    let toml = scenario(&place);
    for text in ["do = \"kill\"\ntarget = \"leader\"", "do = \"heal\"", "Killed here"] {
        assert!(toml.contains(text), "`{text}` is not in {toml}");
    }
    assert!(!place.store().join("fle").exists() || scenario_runs(&place) == 0, "nothing is kept");
    // What it wrote is a scenario like any other.
    place.usurper("plan reproduced.toml").expect(0, &["isolate"]);

    let bug = "--defect config-leader-on-boot --defect hb-from-anyone --check dual-leaders";
    place
        .usurper(&format!("{words} {bug}"))
        .expect(1, &["fails      2 of 2", "dual-leaders: 2 of 2", "next       usurper shrink "]);
}

fn scenario_runs(place: &Place) -> usize {
    fs::read_dir(place.store().join("fle/reproduced")).map_or(0, Iterator::count)
}

#[test]
fn etcds_logs_become_a_scenario_for_raft() {
    let place = Place::new();
    for system in ["etcd-plain", "etcd-json"] {
        place.usurper(&format!("reproduce {} --repeat 1", logs(system))).expect(
            0,
            &["scenario   raft with 3 nodes, 5 steps", "A transfer here", "fails      0 of 1"],
        );
        assert!(scenario(&place).contains("do = \"transfer\""));
    }
    // A system that cannot hand over only waits there, and that is said.
    place
        .usurper(&format!("reproduce {} --repeat 1 --system fle", logs("etcd-json")))
        .expect(0, &["`transfer`, which `fle` cannot do: it only waits"]);
}

#[test]
fn a_history_of_our_own_fails_again_and_its_healthy_neighbour_does_not() {
    let place = Place::new();
    let run = "run fle/initial-leader-returns --settle 600ms";
    place.usurper(&format!("{run} --with-defect")).expect(1, &["dual-leaders"]);
    // Only the history is left of it, as of a run on another machine.
    fs::copy(place.store().join("latest/history.jsonl"), place.path().join("bad.jsonl")).unwrap();
    let again = ["judged     fails dual-leaders", "scenario   fle", "fails      3 of 3"];
    let ended = place.usurper("reproduce bad.jsonl --repeat 3 --store again");
    ended.expect(1, &again);
    // The options of single nodes are read from their own events.
    assert!(scenario(&place).contains("[node-params.n1]\ninitial-zxid = \"5\""));
    place.usurper("run reproduced.toml --with-defect").expect(1, &["dual-leaders"]);
    place.usurper("reproduce store/latest --repeat 1 --store again").expect(1, &["fails      1 "]);
    let kept = ended.stdout.rsplit("usurper shrink ").next().unwrap().trim();
    assert!(place.path().join(kept).join("plan.toml").is_file(), "{kept}");

    place.usurper(run).expect(0, &[]);
    place.usurper("reproduce store/latest --repeat 2").expect(0, &["fails      0 of 2"]);
    // On another system the defects mean nothing.
    place
        .usurper("reproduce bad.jsonl --system raft --repeat 1 --output raft.toml")
        .expect(0, &["the defects of `fle` are not switched on", "fails      0 of 1"]);
}

#[test]
fn a_fault_that_another_system_cannot_do_is_left_out_with_its_undo() {
    let place = Place::new();
    place.file(
        "point.toml",
        "summary = 'held at a point'\nsystem = 'fle'\ntime = '5s'\nsettle = '500ms'\n\
         [[steps]]\nname = 'held'\ndo = 'failpoint'\ntarget = 'n1'\nact = 'pause'\n\
         point = 'lead.after-elected-before-first-hb'\n\
         [[steps]]\ndo = 'failpoint-release'\ntarget = 'step:held'\nafter = '100ms'\n",
    );
    let ended = place.usurper("run point.toml");
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:#?}");
    place.usurper("reproduce store/latest --system raft --repeat 1 --store again").expect(
        0,
        &["`failpoint`, which `raft` cannot do", "`failpoint-release`, which undoes nothing"],
    );
}

#[test]
fn what_cannot_be_reproduced_is_refused() {
    let place = Place::new();
    place.file("operations", "0 :invoke :write 1\n0 :ok :write 1\n");
    let zookeeper = logs("zookeeper");
    let rolling = recorded("fle-rolling-restart.jsonl");
    for (words, text) in [
        ("operations".to_owned(), "does not tell of any leader"),
        (format!("{zookeeper} --nodes 2"), "the logs tell of 3 nodes, which are more than 2"),
        (format!("{zookeeper} --system flea"), "unknown system `flea`"),
        (format!("{zookeeper} --check dual"), "unknown check `dual`"),
        (format!("{zookeeper} --defect no-such"), "unknown defect `no-such`"),
        (format!("{rolling} {rolling}"), "these files are more than one history"),
        ("missing.log".to_owned(), "missing.log"),
        (format!("{zookeeper} --output no/where.toml"), "cannot write `no/where.toml`"),
    ] {
        let ended = place.usurper(&format!("reproduce {words}"));
        ended.expect(2, &["error: ", text]);
    }
    assert!(!place.store().exists(), "nothing was run");

    // A cluster in which nothing happened: said, and run all the same.
    place.usurper("run --faults none --time 500ms --settle 500ms").expect(0, &[]);
    place
        .usurper("reproduce store/latest --repeat 1")
        .expect(0, &["nothing shows that anything was done to a node", "fails      0 of 1"]);
}
