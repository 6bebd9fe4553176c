use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::{prelude::*, str::contains};

fn usurper(folder: &Path, args: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("usurper").unwrap().current_dir(folder).args(args).assert()
}

/// Runs a scenario, and says where it was stored.
fn run(folder: &Path, scenario: &str, more: &[&str], code: i32) -> PathBuf {
    let args = [&["run", scenario, "--seed", "7"], more].concat();
    usurper(folder, &args).code(code);
    folder.join("store/latest")
}

#[test]
fn a_failure_fails_again_from_another_folder_and_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let scenario = "fle/initial-leader-returns";
    let stored = run(folder.path(), scenario, &["--with-defect", "--settle", "600ms"], 1);
    let stored = stored.canonicalize().unwrap();
    let path = stored.to_str().unwrap();
    usurper(elsewhere.path(), &["replay", path, "--repeat", "4", "--check", "dual-leaders"])
        // All at once: if the machine stands still in a bad moment, not each of them fails.
        .code(1)
        .stdout(contains("failed     ").and(contains(" of 4 (95 %: ")));
    assert!(elsewhere.path().join("store").read_dir().is_ok(), "the replays have a store there");
    let shrink = ["shrink", path, "--repeat", "3", "--output", "small.toml"];
    usurper(elsewhere.path(), &shrink)
        .code(0)
        .stdout(contains("nothing more can be left out").and(contains("steps      2 of 2")));
    // The answers are kept: asked again, nothing is run.
    usurper(elsewhere.path(), &shrink).code(0).stdout(contains("runs       0"));
    // What failed each time while it was looked for may wait for a time, so it is asked for a rate; and
    // on a busy machine a run that short may see too little without the defect.
    let prove = ["prove", "small.toml", "--repeat", "5", "--output", "json"];
    let proved = usurper(elsewhere.path(), &prove);
    let rows: serde_json::Value = serde_json::from_slice(&proved.get_output().stdout).unwrap();
    for runs in ["without", "with"] {
        assert!(rows[0][runs]["good"].as_u64().unwrap() > 0, "{rows}");
    }
    assert!(!rows[0]["wrong"].to_string().contains("is invalid"), "{rows}");
}

#[test]
fn a_run_that_failed_nothing_replays_as_such_and_cannot_be_shrunk() {
    let folder = tempfile::tempdir().unwrap();
    let stored = run(folder.path(), "fle/initial-leader-returns", &["--settle", "200ms"], 0);
    let schedule = std::fs::read_to_string(stored.join("schedule.toml")).unwrap();
    assert!(schedule.contains("target = \"step:first\""), "{schedule}");
    usurper(folder.path(), &["replay", "store/latest"])
        .code(0)
        .stdout(contains("failed     0 of 1"));
    usurper(folder.path(), &["shrink", "store/latest"])
        .code(2)
        .stderr(contains("failed no check").and(contains("hint: only a run that failed")));
    usurper(folder.path(), &["replay", "store/latest", "--check", "dual-leaders"])
        .code(2)
        .stderr(contains("did not fail the check `dual-leaders`"));
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["replay", "shrink"] {
        usurper(folder.path(), &[command, "nowhere"])
            .code(2)
            .stderr(contains("cannot read `nowhere/plan.toml`").and(contains("hint: name the")));
    }
}

#[test]
fn a_schedule_that_cannot_run_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = "summary = \"\"\nsystem = \"fle\"\ntime = \"5s\"\nsettle = \"1s\"\n\n[[steps]]\n\
                do = \"resume\"\ntarget = \"n1\"\n";
    std::fs::write(folder.path().join("wrong.toml"), text).unwrap();
    usurper(folder.path(), &["run", "wrong.toml"]).code(2).stderr(contains(
        "error: cannot run `wrong.toml`, line 7: step 1: `resume` undoes nothing: no step before \
         it does `pause`",
    ));
    std::fs::write(
        folder.path().join("typo.toml"),
        text.replace("resume", "pause").replace("\"n1\"", "\"leadr\""),
    )
    .unwrap();
    usurper(folder.path(), &["run", "typo.toml"])
        .code(2)
        .stderr(contains("line 8").and(contains("unknown target `leadr`: did you mean `leader`?")));
    assert!(!folder.path().join("store").exists(), "nothing was started");
}

/// The files of a run, below another folder; nothing else of it is there any more.
fn move_run(run: &Path, to: &Path) -> PathBuf {
    let moved = to.join("taken/along");
    std::fs::create_dir_all(&moved).unwrap();
    for file in ["plan.toml", "schedule.toml", "history.jsonl"] {
        std::fs::copy(run.join(file), moved.join(file)).unwrap();
    }
    moved
}

#[test]
fn a_run_that_was_copied_away_replays_where_nothing_else_of_it_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let text = scenario_of_ones_own();
    std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    let stored = run(folder.path(), "mine.toml", &["--with-defect"], 1).canonicalize().unwrap();
    for file in ["plan.toml", "schedule.toml"] {
        let text = std::fs::read_to_string(stored.join(file)).unwrap();
        let path = folder.path().to_str().unwrap();
        assert!(!text.contains(path) && !text.contains("/usurper"), "a path in {file}: {text}");
    }
    move_run(&stored, elsewhere.path());
    drop(folder);
    usurper(elsewhere.path(), &["replay", "taken/along", "--repeat", "2", "--keep"])
        .code(1)
        .stdout(contains("failed     2 of 2"));
    usurper(elsewhere.path(), &["check", "taken/along"]).code(1);
    assert!(elsewhere.path().join("store").is_dir(), "the replays are stored where they are done");
}

/// A scenario of one's own, which no other folder has.
fn scenario_of_ones_own() -> &'static str {
    "summary = \"\"\nsystem = \"fle\"\ntime = \"12s\"\nsettle = \"600ms\"\n\
     defects = [\"config-leader-on-boot\", \"hb-from-anyone\"]\nexpect = [\"dual-leaders\"]\n\
     [[steps]]\nname = \"first\"\ndo = \"kill\"\ntarget = \"leader\"\n\
     on = { event = \"leader-elected\", established = true }\n\
     [[steps]]\ndo = \"restart\"\ntarget = \"step:first\"\n\
     on = { event = \"leader-elected\", established = true }\n"
}

#[test]
fn a_shrunk_scenario_can_be_carried_through_without_the_defects_that_it_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    // Only with the defect is a leader elected by configuration.
    let text = "summary = \"\"\nsystem = \"fle\"\ntime = \"4s\"\nsettle = \"200ms\"\n\
        defects = [\"config-leader-on-boot\", \"no-leader-self-fence\"]\n\
        expect = [\"zombie-leader\"]\n\
        params = { heartbeat = \"50ms\", down-after = \"400ms\" }\n\
        [[steps]]\ndo = \"isolate\"\ntarget = \"leader\"\n\
        on = { event = \"leader-elected\", how = \"config\" }\n\
        [[steps]]\ndo = \"wait\"\nafter = \"2500ms\"\n";
    std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    run(folder.path(), "mine.toml", &["--with-defect"], 1);
    usurper(folder.path(), &["run", "mine.toml"]).code(3);
    run(folder.path(), "mine.toml", &["--with-defect"], 1);
    let shrink =
        ["shrink", "store/latest", "--check", "zombie-leader", "--repeat", "3", "--budget", "15s"];
    usurper(folder.path(), &[&shrink[..], &["--output", "small.toml"]].concat()).code(0);
    let small = std::fs::read_to_string(folder.path().join("small.toml")).unwrap();
    assert!(small.contains("isolate"), "{small}");
    usurper(folder.path(), &["run", "small.toml", "--with-defect"]).code(1);
    usurper(folder.path(), &["run", "small.toml"]).code(0);
}

#[test]
fn a_rolling_restart_is_one_step_and_stays_one_node_at_a_time_when_it_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let text = "summary = \"\"\nsystem = \"fle\"\ntime = \"60s\"\nsettle = \"200ms\"\n\n[[steps]]\n\
                do = \"kill\"\ntarget = \"n3,n1,n2\"\nin-turn = true\ntimes = 3\n\
                on = { event = \"leader-elected\", established = true }\nafter = \"100ms\"\nfor = \"20ms\"\n\
                within = \"10s\"\nanyway = true\n";
    std::fs::write(folder.path().join("roll.toml"), text).unwrap();
    let stored = run(folder.path(), "roll.toml", &[], 0);
    let of = |fault: &str| {
        let records = super::support::records(&stored);
        let begun = records.into_iter().filter(|r| r["fault"] == fault && r["phase"] == "begin");
        begun.collect::<Vec<_>>()
    };
    let (kills, restarts) = (of("kill"), of("restart"));
    let nodes = |records: &[serde_json::Value]| {
        records.iter().map(|r| r["nodes"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(nodes(&kills), [r#"["n3"]"#, r#"["n1"]"#, r#"["n2"]"#]);
    assert_eq!(nodes(&restarts), nodes(&kills), "each is undone where it was done");
    for (kill, restart) in kills.iter().zip(&restarts) {
        assert_eq!(restart["trigger"]["step"], kill["id"], "{restart}");
        let apart = restart["t"].as_u64().unwrap() - kill["t"].as_u64().unwrap();
        assert!(apart >= 20_000_000, "{apart} ns");
    }
    let schedule = std::fs::read_to_string(stored.join("schedule.toml")).unwrap();
    assert_eq!(schedule.matches("do = \"kill\"").count(), 3, "{schedule}");
    assert_eq!(schedule.matches("for = ").count(), 3, "{schedule}");
    assert!(!schedule.contains("restart"), "{schedule}");
    usurper(folder.path(), &["replay", "store/latest"]).code(0).stdout(contains("0 of 1"));
}
