use assert_cmd::Command;
use predicates::{prelude::*, str::contains};

fn plan(args: &[&str]) -> assert_cmd::assert::Assert {
    let all = [&["plan", "--seed", "5", "--time", "180s"], args].concat();
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
    let all = text(&["--rate", "all=600", "--keep-majority", "--nodes", "5"]);
    for fault in ["kill", "terminate", "pause", "isolate"] {
        assert!(all.contains(&format!("do = \"{fault}\"")), "no {fault}");
    }
    assert!(!all.contains("do = \"halves\""), "halves of five leave no room for another fault");
    assert!(text(&["--rate", "kill=20", "--break-majority"]).contains("target = \"n"));
    for beyond in ["wipe", "disk-flip", "disk-truncate"] {
        assert!(!text(&["--rate", "all=600"]).contains(beyond), "`all` has {beyond}");
        assert!(text(&["--rate", &format!("{beyond}=60")]).contains(beyond));
    }
}

#[test]
fn all_is_what_the_system_can_do() {
    let all = |system: &str| {
        let output = plan(&["--system", system, "--rate", "all=600"]);
        String::from_utf8(output.code(0).get_output().stdout.clone()).unwrap()
    };
    let (fle, etcd) = (all("fle"), all("etcd"));
    for fault in ["loss", "hold", "corrupt", "power", "disk-fail", "clock-jump", "failpoint"] {
        assert!(fle.contains(&format!("do = \"{fault}\"")), "no {fault}");
        assert!(!etcd.contains(&format!("do = \"{fault}\"")), "{fault} of bytes, or of a stranger");
    }
    assert!(etcd.contains("do = \"blackhole\""));
}

#[test]
fn what_goes_wrong_for_good_is_watched_long_enough_and_what_is_well_no_longer_than_that() {
    let folder = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let args = "run --faults none --time 100ms --seed 3 --param heartbeat=50ms \
                    --param down-after=400ms --param finalize-wait=50ms";
        let all = args.split_whitespace().chain(more.iter().copied());
        Command::cargo_bin("usurper").unwrap().current_dir(folder.path()).args(all).assert()
    };
    run(&["--defect", "no-hb-after-elected"]).code(1).stdout(contains("invalid  election-loop"));
    run(&[]).code(0);
    let history =
        std::fs::read_to_string(folder.path().join("store/latest/history.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    // 2 s of calm, where the longest bound would have been 9 s, after the start.
    assert!(last["t"].as_u64().unwrap() < 9_000_000_000, "{last}");
}

#[test]
fn a_wrong_rate_is_refused_with_a_hint() {
    plan(&["--rate", "kil=1"]).code(2).stderr(contains("did you mean `kill`?"));
    plan(&["--rate", "kill=often"])
        .code(2)
        .stderr(contains("`kill=often` is no rate").and(contains("hint: for example `--rate")));
    plan(&["--rate", "kill=-1"]).code(2).stderr(contains("`kill=-1` is no rate"));
    plan(&["--rate", "kill=1", "--faults", "kill"]).code(2).stderr(contains("cannot be used"));
    plan(&["--rate", "delay=60", "--break-majority"])
        .code(2)
        .stderr(contains("none of these faults can leave no majority").and(contains("hint: add")));
    plan(&["--keep-majority"]).code(2).stderr(contains("--rate"));
}
