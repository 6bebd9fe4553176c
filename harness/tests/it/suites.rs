//! Suites: every run once, kept, counted, and none lost, whatever ends the suite.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Full, Place, wait_for};

/// A healthy cluster for a while: valid.
fn healthy(seeds: u32) -> String {
    healthy_for("2s", seeds)
}

fn healthy_for(time: &str, seeds: u32) -> String {
    format!(
        "summary = 'healthy'\n[[runs]]\nsystems = ['fle']\nfaults = [['none']]\ntime = '{time}'\n\
         settle = '10ms'\nseeds = {seeds}\n"
    )
}

/// Clusters that split as soon as their first leader comes back.
const BROKEN: &str = "
    summary = 'one bug, and a healthy cluster'
    [[runs]]
    scenarios = ['fle/initial-leader-returns']
    with-defect = [false, true]
    seeds = 2
";

/// Every finished run below a folder, by its directory.
fn finished(folder: &Path) -> BTreeMap<PathBuf, Value> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        if let Ok(text) = fs::read_to_string(folder.join("run.json")) {
            found.insert(folder, serde_json::from_str(&text).unwrap());
            continue;
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        open.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

/// What was run: cells, seeds and outcomes.
fn runs(folder: &Path) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let run =
        |run: &Value| (text(&run["cell"]), run["seed"].as_u64().unwrap(), text(&run["outcome"]));
    let mut runs: Vec<_> = finished(folder).values().map(run).collect();
    runs.sort();
    runs
}

/// Waits until no process that was started in this place is left.
#[track_caller]
fn none_left(place: &Path) {
    let needle = place.to_str().unwrap().as_bytes();
    let ours = |entry: fs::DirEntry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        words.windows(needle.len()).any(|window| window == needle)
    };
    wait_for("end of all processes", || {
        (!fs::read_dir("/proc").unwrap().flatten().any(ours)).then_some(())
    });
}

#[test]
fn a_bug_that_is_hit_often_is_one_finding_and_passing_runs_keep_little() {
    let place = Place::new();
    place.file("night.toml", BROKEN);
    let ended = place.usurper("suite night.toml --seed 7 --junit j.xml --markdown s.md");
    ended.expect(
        1,
        &[
            "night-7: 2 cells, seed 7, 4 runs",
            "night-7: 4 runs, 2 valid, 2 invalid, 0 unknown, 0 harness",
            "1. dual-leaders, config-leader-on-boot",
            "fle/initial-leader-returns  2 runs",
            "usurper replay store/suites/night-7/runs/",
            "usurper shrink store/suites/night-7/runs/",
        ],
    );
    assert!(!ended.stdout.contains("\n2. "), "{}", ended.stdout);
    for (dir, run) in finished(&place.store()) {
        let files: BTreeSet<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let kept = |name: &str| files.contains(name);
        if run["outcome"] == "valid" {
            assert_eq!(files, BTreeSet::from(["run.json".to_owned()]));
        } else {
            assert!(kept("history.jsonl") && kept("nodes") && kept("report.html"), "{files:?}");
            place.usurper(&format!("show {}", dir.display())).expect(0, &["invalid", "replay"]);
        }
    }
    let xml = fs::read_to_string(place.path().join("j.xml")).unwrap();
    assert_eq!(xml.matches("<testcase ").count(), 4);
    assert_eq!(xml.matches("<failure ").count(), 2);
    let markdown = fs::read_to_string(place.path().join("s.md")).unwrap();
    assert!(markdown.contains("| 4 | 2 | 2 | 0 | 0 |"), "{markdown}");

    // The next night begins with what failed in this one.
    let ended = place.usurper("suite night.toml --seed 8 --fail-fast --jobs 1");
    ended.expect(1, &["2 that failed in earlier nights first", "(failed in an earlier night)"]);
    assert_eq!(finished(&place.store().join("suites/night-8")).len(), 1, "fail fast");

    // The index is what the runs are, also when it is made again.
    let before = place.usurper("history --output json");
    fs::write(place.store().join("index.sqlite"), "no database").unwrap();
    place.usurper("history").expect(4, &["cannot use the index", "store rebuild"]);
    place.usurper("store rebuild").expect(0, &["5 runs in the index"]);
    assert_eq!(before.stdout, place.usurper("history --output json").stdout);
    let json: Value = serde_json::from_str(&before.stdout).unwrap();
    assert_eq!(json["findings"][0]["runs"], 3);
    place.usurper("history initial-leader").expect(0, &["first bad", "1. dual-leaders", "3 runs"]);

    let measured = place.usurper("history --figures --plot p.svg");
    measured.expect(0, &["| cell | runs | first leader, ms |", "| fle/initial-leader-returns "]);
    let svg = fs::read_to_string(place.path().join("p.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("fle/initial-leader-returns"), "{svg}");
    let json = place.usurper("history --figures --output json");
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(json["figures"][0]["figures"]["elections"]["mean"].as_f64().unwrap() >= 1.0);
}

#[test]
fn shards_joined_are_the_whole() {
    let place = Place::new();
    place.file("night.toml", &healthy(8));
    place.usurper("suite night.toml --seed 3 --store whole").expect(0, &["8 valid"]);
    for shard in 1..=3 {
        place
            .usurper(&format!("suite night.toml --seed 3 --store part-{shard} --shard {shard}/3"))
            .expect(0, &[&format!("shard {shard}/3")]);
    }
    place
        .usurper("merge part-1 part-2 part-3 --store joined")
        .expect(0, &["night-3: 8 runs, 8 valid"]);
    assert_eq!(runs(&place.path().join("whole")), runs(&place.path().join("joined")));
    // Joining again adds nothing.
    place.usurper("merge part-2 --store joined").expect(0, &["night-3: 8 runs, 8 valid"]);
    place.usurper("merge part-2 --store part-2").expect(2, &["cannot be merged into itself"]);
    place.usurper("merge part-9").expect(2, &["there is no store `part-9`"]);
}

#[test]
fn what_cannot_be_a_suite_is_refused_before_anything_runs() {
    let place = Place::new();
    place.file("empty.toml", "summary = 'nothing'");
    place.file("impossible.toml", "summary = ''\n[[runs]]\nsystems = ['fle']\nnodes = [255]");
    place.file("good.toml", &healthy(1));
    for (words, texts) in [
        ("history", ["there is no store", "--store"]),
        ("suite empty.toml", ["it has no run", "[[runs]]"]),
        ("suite none.toml", ["cannot read suite `none.toml`", "No such file"]),
        ("suite impossible.toml", ["`fle/random 255-nodes` is impossible", "255 nodes"]),
        ("suite good.toml --shard 5/4 --seed 1", ["no shard 5 of 4", "from 1 to N"]),
        ("suite good.toml --shard 1/4", ["`--shard` needs `--seed`", "the same one"]),
        ("suite good.toml --budget 0s", ["a budget of 0 allows no run", "leave it out"]),
        ("suite good.toml --jobs 0", ["expected a number from 1", "--jobs"]),
        ("suite good.toml --resume", ["no unfinished suite `good`", "leave `--resume` out"]),
    ] {
        place.usurper(words).expect(2, &texts);
    }
    assert!(finished(&place.store()).is_empty());

    place.usurper("suite good.toml --seed 1").expect(0, &["1 valid"]);
    place.usurper("suite good.toml --seed 1").expect(2, &["was begun before", "--resume"]);
    place.usurper("show nothing-like-it").expect(2, &["no run in `store`", "usurper history"]);
    let run = finished(&place.store()).into_keys().next().unwrap();
    fs::write(run.join("run.json"), "{").unwrap();
    place.usurper("store rebuild").expect(2, &["cannot read", "run.json", "remove that run"]);
}

#[test]
fn two_suites_do_not_share_a_store() {
    let place = Place::new();
    place.file("night.toml", &healthy(1000));
    let first = place.start("suite night.toml --seed 1 --jobs 1");
    wait_for("first run", || (!finished(&place.store()).is_empty()).then_some(()));
    place
        .usurper("suite night.toml --seed 2")
        .expect(2, &["another suite is using the store `store`", "--store"]);
    first.signal(Signal::SIGINT);
    first.wait().expect(130, &["--resume` goes on"]);
    none_left(place.path());
    place.file("night.toml", &healthy(999));
    place.usurper("suite night.toml --resume").expect(2, &["has changed since"]);
}

#[test]
fn a_full_disk_ends_a_suite_and_its_nodes() {
    let place = Place::new();
    place.file("night.toml", &healthy(1000));
    let Some(full) = Full::mount(&place) else { return };
    place
        .usurper("suite night.toml --seed 1 --jobs 2 --keep all")
        .expect(4, &["No space left on device"]);
    none_left(place.path());
    drop(full);
}

/// Killed a hundred times at any moment, a suite loses no finished run, does none twice, and leaves
/// no process.
#[test]
fn a_suite_that_is_killed_loses_nothing() {
    const KILLS: u64 = 100;
    const RUNS: usize = 250;
    let place = Place::new();
    // So short that not every run has seen enough to be valid.
    place.file("night.toml", &healthy_for("400ms", RUNS.try_into().unwrap()));
    let mut before = BTreeMap::new();
    let mut words = "suite night.toml --seed 1".to_owned();
    for kill in 0..KILLS {
        let suite = place.start(&format!("{words} --jobs 2"));
        // Some moment: after this many more files have appeared, or a few more polls.
        let patience = kill * 37 % 41;
        let mut polls = 0;
        let target = before.len() + usize::try_from(kill % 2).unwrap();
        wait_for("a moment to kill", || {
            polls += 1;
            let done = finished(&place.store()).len();
            // A machine that is fast must not be through before the last kill.
            let enough = (polls > patience || done > before.len()) && done >= target;
            (enough || polls > 400).then_some(())
        });
        suite.signal(Signal::SIGKILL);
        suite.wait();
        none_left(place.path());
        let now = finished(&place.store());
        for (dir, run) in &before {
            assert_eq!(now.get(dir), Some(run), "a finished run has changed");
        }
        before = now;
        if place.store().join("suites/night-1/suite.json").is_file() {
            "suite night.toml --resume".clone_into(&mut words);
        }
    }
    assert!(before.len() < RUNS, "it was through before the last kill");
    words.push_str(" --jobs 6");
    let ended = place.usurper(&words);
    assert!(ended.stdout.contains(&format!("night-1: {RUNS} runs, ")), "{ended:#?}");
    assert!(ended.stdout.contains(" 0 invalid, ") && ended.stdout.contains(" 0 harness"));
    let seeds: BTreeSet<_> = runs(&place.store()).into_iter().map(|(_, seed, _)| seed).collect();
    assert_eq!((seeds.len(), finished(&place.store()).len()), (RUNS, RUNS));
    none_left(place.path());
}
