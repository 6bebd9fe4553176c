use assert_cmd::Command;
use predicates::{prelude::*, str::contains};

fn plan(args: &[&str]) -> assert_cmd::assert::Assert {
    let all = [&["plan", "--seed", "5", "--time", "60s"], args].concat();
    Command::cargo_bin("usurper").unwrap().args(all).assert()
}

#[test]
fn rates_make_the_same_schedule_from_the_same_seed() {
    let text = |args: &[&str]| {
        let output = plan(args).code(0).get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let kills = text(&["--rate", "kill=20"]);
    assert_eq!(kills, text(&["--rate", "kill=20"]));
    assert!(kills.contains("do = \"kill\"") && !kills.contains("do = \"pause\""));
    let all = text(&["--rate", "all=60", "--keep-majority", "--nodes", "5"]);
    for fault in ["kill", "terminate", "pause", "isolate"] {
        assert!(all.contains(&format!("do = \"{fault}\"")), "no {fault}");
    }
    assert!(!all.contains("do = \"halves\""), "halves of five leave no room for another fault");
    assert!(text(&["--rate", "kill=20", "--break-majority"]).contains("target = \"n"));
}

#[test]
fn a_wrong_rate_is_refused_with_a_hint() {
    plan(&["--rate", "kil=1"]).code(2).stderr(contains("did you mean `kill`?"));
    plan(&["--rate", "kill=often"])
        .code(2)
        .stderr(contains("`kill=often` is no rate").and(contains("hint: for example `--rate")));
    plan(&["--rate", "kill=-1"]).code(2).stderr(contains("`kill=-1` is no rate"));
    plan(&["--rate", "kill=1", "--faults", "kill"]).code(2).stderr(contains("cannot be used"));
    plan(&["--keep-majority"]).code(2).stderr(contains("--rate"));
}
