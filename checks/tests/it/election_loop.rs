use serde_json::json;

use crate::transcript::{Transcript, check, check_transcript};

/// `count` leaders, one each `every_ms`, each stepping down 100 ms before the next.
fn reigns(from: u64, every_ms: u64, count: u64, leader: &str, heartbeats: bool) -> String {
    let mut text = String::new();
    for round in 0..count {
        let (at, term) = (from + round * every_ms, round + 2);
        text.push_str(&format!("{at} {leader} elected {term}\n"));
        if heartbeats {
            text.push_str(&format!("{} {leader} sent {leader} {term}\n", at + 1));
        }
        text.push_str(&format!("{} {leader} role looking\n", at + every_ms - 100));
    }
    text
}

const STABLE: &str = "0 boot\n100 n1 elected 1\n";

#[test]
fn a_leader_that_never_speaks_is_elected_for_ever() {
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4500, 600, 6, "n2", false));
    check(
        "election-loop",
        &format!("{text}\n8100 phase stop"),
        "invalid
         - n2 was elected 6 times in 3 s (epochs 2 to 7) although nothing was broken, and no heartbeat was sent by any of them",
    );
}

#[test]
fn a_few_elections_are_no_loop() {
    // n3 is the fourth in the window, and lasts.
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4500, 600, 3, "n2", true));
    check("election-loop", &format!("{text}\n6900 n3 elected 9\n30000 phase stop"), "valid");
    // One more makes five.
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4500, 600, 4, "n2", true));
    check(
        "election-loop",
        &format!("{text}\n6900 n3 elected 9\n30000 phase stop"),
        "invalid
         - leaders were elected 5 times (n2 4 times and n3 once) in 2.4 s (epochs 2 to 9) although nothing was broken, and in 1 of these terms no heartbeat was sent",
    );
}

#[test]
fn a_leader_that_lasts_for_a_while_does_not_excuse_the_others() {
    let text = |last: &str| {
        format!(
            "{STABLE}4000 n1 role looking
             4100 n2 elected 2
             4500 n2 role looking
             4600 n3 elected 3
             7200 n3 role looking
             7300 n2 elected 4
             7800 n2 role looking
             7900 n3 elected 5
             {last}
             30000 phase stop"
        )
    };
    check("election-loop", &text(""), "valid");
    check(
        "election-loop",
        &text("8400 n3 role looking\n8500 n1 elected 6\n8600 n1 sent n1 6"),
        "invalid
         - leaders were elected 5 times (n1 once, n2 2 times and n3 2 times) in 4.4 s (epochs 2 to 6) although nothing was broken, and in 4 of these terms no heartbeat was sent",
    );
}

#[test]
fn leaders_that_come_slower_than_the_window_are_no_loop() {
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4500, 2600, 8, "n2", true));
    check("election-loop", &format!("{text}\n26000 phase stop"), "valid");
}

#[test]
fn the_window_and_the_number_of_changes_are_options() {
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4500, 600, 3, "n2", true));
    let asked = |options| Transcript::new(&text).asks("election-loop", options);
    check_transcript(
        "election-loop",
        asked(json!({"changes": 3})),
        "invalid
         - n2 was elected 3 times in 1.2 s (epochs 2 to 4) although nothing was broken",
    );
    let narrow = json!({"changes": 3, "window-ns": 1_199_000_000_u64});
    check_transcript("election-loop", asked(narrow), "valid");
}

#[test]
fn after_a_kill_the_loop_is_that_of_the_survivors() {
    let text = format!(
        "{STABLE}4000 begin 1 kill down n1
         4001 exit n1 ok
         4002 end 1 kill down n1
         {}
         12000 phase stop",
        reigns(4500, 800, 9, "n3", false)
    );
    // The first two fall into the grace of 1.5 s after the kill.
    check(
        "election-loop",
        &text,
        "invalid
         - n3 was elected 7 times in 4.8 s (epochs 4 to 10) although n2 and n3 were up and connected all the time, and no heartbeat was sent by any of them",
    );
}

#[test]
fn elections_that_faults_cause_are_no_loop() {
    let mut text = STABLE.to_owned();
    for round in 0..10 {
        let at = 1000 + round * 1000;
        text.push_str(&format!(
            "{at} begin {round} isolate cut n1
             {at} end {round} isolate cut n1
             {} n1 role looking
             {} n1 elected {}
             {} begin {} heal healed n1
             {} end {} heal healed n1\n",
            at + 100,
            at + 300,
            round + 2,
            at + 500,
            round + 100,
            at + 500,
            round + 100,
        ));
    }
    check("election-loop", &format!("{text}\n12000 n1 role looking\n12500 phase stop"), "valid");
}

#[test]
fn a_transfer_of_leadership_is_no_election_without_a_cause() {
    let transfers = |outcome: &str| {
        let mut text = STABLE.to_owned();
        for round in 0..8 {
            let (at, from, to) = (4000 + round * 300, round % 2 + 1, (round + 1) % 2 + 1);
            text.push_str(&format!(
                "{at} begin {round} transfer none n{to}
                 {} n{from} role follower
                 {} n{to} elected {}
                 {} end {round} transfer none n{to} {outcome}\n",
                at + 10,
                at + 20,
                round + 2,
                at + 30,
            ));
        }
        format!("{text}\n7000 phase stop")
    };
    check("election-loop", &transfers("installed"), "valid");
    // What took place while a step was tried and then skipped was not caused by it.
    check(
        "election-loop",
        &transfers("skipped"),
        "invalid
         - leaders were elected 8 times (n1 4 times and n2 4 times) in 2.1 s (epochs 2 to 9) although nothing was broken, and no heartbeat was sent by any of them",
    );
}

#[test]
fn without_a_connected_majority_nothing_is_a_loop() {
    let text = format!(
        "{STABLE}4000 begin 1 pause frozen n2 n3
         4000 end 1 pause frozen n2 n3
         4000 n1 role looking
         {}
         12000 phase stop",
        reigns(6000, 600, 8, "n1", true)
    );
    check("election-loop", &text, "valid");
}

#[test]
fn a_window_of_elections_without_a_stable_leader_is_a_loop() {
    // Four leaders within 10 s, none of which lasts 2.5 s; then one that does.
    let text = format!("{STABLE}4000 n1 role looking\n{}", reigns(4400, 2400, 4, "n2", true));
    let with = |last: u64| {
        let last = format!("{last} n3 elected 7\n{} n3 votes n3 7", last + 2500);
        let transcript = Transcript::new(&format!("{text}\n{last}\n30000 phase stop"));
        transcript.asks("election-loop", json!({"changes": 9}))
    };
    // The 10 s begin when n1 yields, and end when a leader comes that lasts.
    check_transcript("election-loop", with(13_999), "valid");
    check_transcript(
        "election-loop",
        with(14_000),
        "invalid
         - for 10 s no leader lasted 2.5 s although nothing was broken, while nodes kept running for leader (10 events)",
    );
}

#[test]
fn a_cluster_that_hangs_without_elections_is_not_a_loop() {
    check(
        "election-loop",
        "0 boot\n100 n1 elected 1\n4000 n1 role looking\n30000 phase stop",
        "valid",
    );
}

#[test]
fn a_stable_leader_is_valid() {
    check("election-loop", &format!("{STABLE}30000 phase stop"), "valid");
}

#[test]
fn the_first_leader_after_a_disturbance_is_free() {
    let text = |count| {
        format!(
            "{STABLE}4000 begin 1 kill down n1
             4001 exit n1 ok
             4002 end 1 kill down n1
             {}
             12000 phase stop",
            reigns(6000, 800, count, "n3", true)
        )
    };
    check("election-loop", &text(5), "valid");
    check(
        "election-loop",
        &text(6),
        "invalid
         - n3 was elected 5 times in 3.2 s (epochs 3 to 7) although n2 and n3 were up and connected all the time",
    );
}

#[test]
fn a_majority_that_a_change_of_voters_takes_away_is_no_loop() {
    let text = |voters: &str| {
        Transcript::of(
            "raft",
            5,
            &format!(
                "0 boot
                 100 n1 elected 1
                 110 n1 config commit 1.1 n1 n2 n3
                 1000 exit n4 ok
                 1000 exit n5 ok
                 4000 n1 role follower
                 4001 n2 config append 1.2 {voters}
                 6000 n2 role candidate
                 7000 n2 role candidate
                 30000 n2 config revert 1.1 n1 n2 n3
                 30100 n2 role candidate
                 30200 phase stop"
            ),
        )
    };
    check_transcript("election-loop", text("n1 n4 n5"), "valid");
    check_transcript(
        "election-loop",
        text("n1 n2 n3 n4"),
        "invalid
         - for 26 s no leader lasted 2.5 s although n1, n2 and n3 were up and connected all the time, \
         while nodes kept running for leader (3 events)",
    );
}
