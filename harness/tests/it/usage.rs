//! What is refused before anything starts: a clear error, the nearest name, exit code 2.

use crate::support::Place;

#[track_caller]
fn refused(words: &str, texts: &[&str]) {
    let place = Place::new();
    place.usurper(words).expect(2, texts);
    assert!(!place.store().exists(), "`{words}` left something behind");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_one() {
    refused(
        "run fle/helthy-cold-start",
        &["unknown scenario", "did you mean `fle/healthy-cold-start`"],
    );
    refused("run --system etc", &["unknown system `etc`", "did you mean `etcd`"]);
    refused("run --defect no-hb-after-electd", &["did you mean `no-hb-after-elected`"]);
    refused(
        "run --check dual-leader",
        &["unknown check `dual-leader`", "did you mean `dual-leaders`"],
    );
    refused("run --faults kill,puase", &["unknown fault `puase`", "did you mean `pause`"]);
    refused("run --param hartbeat=1ms", &["did you mean `heartbeat`"]);
    refused("prove fle/nothing-like-it-zzz", &["unknown scenario", "usurper list scenarios"]);
    refused("list defects --system zab2", &["unknown system `zab2`"]);
}

#[test]
fn an_unknown_option_of_a_check_is_refused_before_anything_starts() {
    let place = Place::new();
    let scenario = |options: &str| {
        let text = format!(
            "summary = 'x'\nsystem = 'fle'\nnodes = 3\ntime = '1s'\nsettle = '1s'\n[checks]\n{options}\n"
        );
        place.file("mine.toml", &text);
        place.usurper("plan mine.toml")
    };
    scenario("no-leader = { bound-nss = 3 }").expect(2, &["no option `bound-nss`", "`bound-ns`"]);
    scenario("no-leader = { bound-ns = 'x' }").expect(2, &["expected a positive integer"]);
    scenario("no-leader = { bound-ns = 3 }").expect(0, &[]);
}

#[test]
fn a_cluster_of_no_nodes_is_refused_and_one_too_large_is_too() {
    refused("run --nodes 0", &["a cluster of 0 nodes has nothing to break"]);
    refused("run --nodes 251", &["at most 250"]);
    refused("run fle/rolling-restart --nodes 2", &["step 5", "there is no node `n3`"]);
}

#[test]
fn options_that_make_no_sense_together_are_refused() {
    refused("run --with-defect", &["`--with-defect` needs a scenario"]);
    refused("run fle/healthy-cold-start --with-defect", &["has no defect to switch on"]);
    refused("run fle/healthy-cold-start --faults kill", &["has its own steps"]);
    refused("run fle/healthy-cold-start --system etcd", &["is a scenario of system `fle`"]);
    refused("run --param heartbeat=soon", &["expected a duration", "`soon`"]);
    refused("run --time soon", &["--time"]);
    refused("run --bin /no/such/program", &["there is no program `/no/such/program`"]);
}

#[test]
fn a_scenario_file_that_is_wrong_is_shown_with_line_and_caret() {
    let head = "summary = 'x'\nsystem = 'fle'\ntime = '1s'\nsettle = '1s'\n";
    let cases = [
        (format!("{head}nods = 3\n"), vec!["line 5", "nods = 3", "^^^^", "unknown field `nods`"]),
        ("summary = 'x\n".to_owned(), vec!["line 1", "^", "invalid"]),
        (head.replace("settle = '1s'\n", ""), vec!["missing field `settle`"]),
        (
            format!("{head}[[steps]]\ndo = 'kil'\ntarget = 'n1'\n"),
            vec!["line 6", "^^^^^", "unknown fault `kil`"],
        ),
        (
            format!("{head}[[steps]]\ndo = 'kill'\ntarget = 'n9'\n"),
            vec!["step 1", "there is no node `n9`"],
        ),
        (
            format!("{head}[workload]\nkind = 'counter'\ntwice = true\n").replace("fle", "raft"),
            vec!["workload `counter`: `twice` needs `sessions`"],
        ),
        (format!("{head}defects = ['x']\nexpect = ['y']\n"), vec!["unknown check `y`"]),
    ];
    for (text, expected) in cases {
        let place = Place::new();
        place.file("bad.toml", &text);
        let flag = if text.contains("defects") { "--with-defect" } else { "" };
        let ended = place.usurper(&format!("run bad.toml {flag}"));
        if flag.is_empty() {
            ended.expect(2, &expected);
        } else {
            // The defect is looked at first.
            ended.expect(2, &["unknown defect `x`"]);
        }
    }
    refused("run missing.toml", &["cannot read scenario `missing.toml`"]);
}

#[test]
fn a_plan_is_printed_and_is_the_same_for_the_same_seed() {
    let place = Place::new();
    let plan = |seed: u64| {
        let ended = place.usurper(&format!("plan --seed {seed}"));
        ended.expect(0, &["seed = ", "[[steps]]"]);
        ended.stdout
    };
    assert_eq!(plan(5), plan(5));
    assert_ne!(plan(5).replace("seed = 5", ""), plan(6).replace("seed = 6", ""));
}

#[test]
fn everything_there_is_can_be_listed() {
    let place = Place::new();
    place.usurper("list systems").expect(0, &["fle: ", "etcd: ", "down-after (default 500ms)"]);
    place
        .usurper("list scenarios")
        .expect(0, &["fle/initial-leader-returns: ", "expect: dual-leaders"]);
    let defects = &["hb-from-anyone: ", "scenarios: fle/initial-leader-returns"];
    place.usurper("list defects").expect(0, defects);
    place.usurper("list faults").expect(0, &["isolate: ", "undone-by: heal"]);
    place.usurper("list checks").expect(0, &["no-leader: ", "needs: leader-elected"]);
    let json = place.usurper("list faults --output json --system etcd");
    let rows: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(rows.as_array().unwrap().iter().any(|row| row["name"] == "pause"));
    place.usurper("doctor").expect(0, &["cores", "system fle   ready"]);
}
