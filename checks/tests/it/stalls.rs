//! A machine that stands still, as every check that measures a time takes it. T is 500 ms, so that the grace
//! after a stall is 1.5 s at most.

use serde_json::json;
use usurper_checks::{Judgement, judge};
use usurper_history::{Body, HarnessEvent, Reader, Record};

use crate::transcript::{MS, Transcript, render};

/// Judges by one check, with options or without.
#[track_caller]
fn judged(transcript: Transcript, check: &str) -> (Judgement, String) {
    let asked = transcript.header.checks.contains_key(check);
    let transcript = if asked { transcript } else { transcript.asks(check, json!({})) };
    let verdict = transcript.judge().unwrap();
    (verdict.checks[0].judgement, render(&verdict.checks[0]))
}

/// What `text` shows without `stall` is a violation, and none with it; what `outlasts` it is one again.
#[track_caller]
fn excused(check: &str, stall: &str, text: &str, outlasts: &str) {
    excused_in(&|text| Transcript::new(text), check, stall, text, outlasts);
}

#[track_caller]
fn excused_in(
    of: &dyn Fn(&str) -> Transcript,
    check: &str,
    stall: &str,
    text: &str,
    outlasts: &str,
) {
    let cases = [
        (text, "", Judgement::Invalid),
        (text, stall, Judgement::Valid),
        (outlasts, stall, Judgement::Invalid),
    ];
    for (text, stall, expected) in cases {
        let text = text.replace("STALL", stall);
        let (judgement, said) = judged(of(&text), check);
        assert_eq!(judgement, expected, "{said}\n{text}");
    }
}

#[test]
fn a_leader_without_a_majority_had_no_time_to_notice() {
    let cut = |gives_up: u64| {
        format!(
            "0 boot
             100 n3 elected 1
             1000 begin 1 isolate cut n3>n1 n1>n3 n3>n2 n2>n3
             1001 end 1 isolate cut n3>n1 n1>n3 n3>n2 n2>n3
             STALL
             {gives_up} n3 role looking
             9000 phase stop"
        )
    };
    // Two seconds are allowed, and three do not count.
    excused("zombie-leader", "1500 stall 3000", &cut(6_000), &cut(6_002));
}

#[test]
fn nodes_that_stood_still_had_no_time_to_elect() {
    let without = |elected: u64| {
        format!(
            "0 boot\n100 n1 elected 1\n1000 n1 role looking\nSTALL\n{elected} n2 elected 2
             20000 phase stop"
        )
    };
    excused("no-leader", "2000 stall 3500", &without(9_000), &without(9_001));
    // A wait within the bound that the end of the run cuts off is a wait in time that counts.
    let text = "0 boot\n100 n1 elected 1\n1000 n1 role looking\n2000 stall 3500\n8000 phase stop";
    let said = judged(Transcript::new(text), "no-leader").1;
    let watched = "watched no longer than 4 s into a time without a leader, 5 s are allowed";
    assert_eq!(said, format!("unknown ({watched})"));
}

#[test]
fn a_wait_that_was_over_before_the_machine_stood_still_stays_too_long() {
    let text = "0 boot\n100 n1 elected 1\n1000 n1 role looking\n6001 stall 30000\n40000 phase stop";
    assert_eq!(judged(Transcript::new(text), "no-leader").0, Judgement::Invalid);
}

#[test]
fn a_follower_of_a_follower_had_no_time_to_hear_of_it() {
    let follows = |until: u64| {
        format!(
            "0 boot
             100 n3 elected 1
             110 n1 role follower
             110 n1 knows n3 1
             110 n2 role follower
             110 n2 knows n3 1
             1000 n1 knows n2 1
             STALL
             {until} n1 knows n3 1
             9000 phase stop"
        )
    };
    excused("mutual-follow", "1100 stall 1600", &follows(4_000), &follows(4_001));
}

#[test]
fn a_restarted_node_had_no_time_to_join() {
    let joins = |at: u64| {
        format!(
            "0 boot
             100 n3 elected 1
             110 n1 knows n3 1
             110 n2 knows n3 1
             1000 begin 1 restart up n2
             1000 exit n2 ok
             1001 spawn n2
             1010 n2 start 1
             1010 ready n2
             1010 end 1 restart up n2
             STALL
             {at} n2 knows n3 1
             20000 phase stop"
        )
    };
    excused("cannot-rejoin", "1500 stall 3000", &joins(9_010), &joins(9_011));
}

#[test]
fn a_write_was_not_answered_because_nobody_could() {
    let answered = |at: u64| {
        format!(
            "0 boot
             100 n1 elected 1
             1000 c1 invoke write x 1 at n1
             STALL
             {at} c1 ok write x 1 at n1
             20000 phase stop"
        )
    };
    excused("write-outage", "1500 stall 3000", &answered(14_000), &answered(14_001));
    // Clients ask on: the last answer is no longer ago than it was when the machine stood still.
    let infos = "0 boot
         100 n1 elected 1
         3000 c1 invoke write x 1 at n1
         12900 c1 info write x 1 at n1
         12910 stall 13900
         15500 n1 sent n1 1
         15501 c2 invoke write x 1 at n1
         15502 c2 ok write x 1 at n1";
    assert_eq!(judged(Transcript::new(infos), "write-outage").0, Judgement::Invalid);
}

#[test]
fn an_election_that_a_stall_began_is_none_of_a_loop() {
    let reigns = |more: &str| {
        format!(
            "0 boot
             100 n1 elected 1
             4000 n2 elected 2
             5000 n3 elected 3
             6000 n2 elected 4
             7000 n3 elected 5
             STALL
             8000 n1 elected 6
             {more}
             30000 phase stop"
        )
    };
    // Five beyond the first are too many.
    excused("election-loop", "7400 stall 7700", &reigns(""), &reigns("9000 n2 elected 7"));
}

#[test]
fn unrest_is_counted_in_time_in_which_somebody_could_win() {
    let unrest = |wins: u64| {
        format!(
            "0 boot
             100 n1 elected 1
             4000 n1 role looking
             6000 n2 role candidate
             7000 n3 role candidate
             STALL
             {wins} n2 elected 2
             40000 phase stop"
        )
    };
    // Ten seconds since n1 gave up, and three that do not count.
    excused("election-loop", "8000 stall 9500", &unrest(16_900), &unrest(17_100));
}

#[test]
fn a_leader_is_replaced_because_its_followers_timed_out_when_they_woke() {
    let steady = |replaced: u64| {
        let mut text = "0 boot\n100 n3 elected 1\n".to_owned();
        for t in (200..=replaced).step_by(100) {
            let stall = if t == 3_000 { "STALL\n" } else { "" };
            text.push_str(&format!("{stall}{t} n1 accepted n3 1\n{t} n2 accepted n3 1\n"));
        }
        format!("{text}{replaced} n2 elected 2\n9000 phase stop")
    };
    excused("disruption", "3000 stall 3250", &steady(3_740), &steady(3_760));
}

#[test]
fn connections_that_a_stall_broke_are_dialled_again() {
    let dials = |until: u64| {
        let dials = (1_000..until).step_by(100).map(|t| {
            let stall = if t == 3_000 { "STALL\n" } else { "" };
            format!("{stall}{t} n3 dials n1\n")
        });
        let dials: String = dials.collect();
        format!("0 boot\n10 n3 elected 1\n{dials}20000 phase stop")
    };
    excused("connection-storm", "3000 stall 4000", &dials(8_000), &dials(8_700));
}

#[test]
fn a_removed_leader_is_known_to_be_so_when_it_wakes() {
    let of = |text: &str| Transcript::of("raft", 5, text);
    let text = |sent: u64| {
        format!(
            "0 boot
             100 n1 elected 1
             110 n1 append 1.1:a
             120 n1 commit 1.1 by n1 n2 n3
             200 n1 append 1.2:b
             200 n1 config append 1.2 n2 n3 n4 n5
             210 n1 commit 1.2 by n2 n3 n4
             210 n1 config commit 1.2 n2 n3 n4 n5
             STALL
             {sent} n1 sent n1 1
             9000 phase stop"
        )
    };
    // Two heartbeats are allowed, 200 ms, and 300 do not count.
    excused_in(&of, "config-safety", "220 stall 320", &text(700), &text(712));
}

#[test]
fn a_value_is_no_staler_for_a_time_in_which_it_could_not_travel() {
    let bound =
        |text: &str| Transcript::new(text).asks("stale-read", json!({"bound-ns": 100 * MS}));
    let text = |read: u64| {
        format!(
            "10 c1 invoke write x 1
             20 c1 ok write x 1
             30 c1 invoke write x 2
             40 c1 ok write x 2
             STALL
             {read} c2 invoke read x at n3
             {} c2 ok read x 1 at n3",
            read + 1
        )
    };
    excused_in(&bound, "stale-read", "50 stall 150", &text(440), &text(442));
}

#[test]
fn two_leaders_of_one_term_are_two_whatever_the_machine_does() {
    let text = "0 boot\n100 n1 elected 1\n200 stall 1700\n1800 n2 elected 1\n9000 phase stop";
    assert_eq!(judged(Transcript::new(text), "dual-leaders").0, Judgement::Invalid);
}

#[test]
fn the_figures_say_how_often_and_how_long_the_machine_stood_still() {
    let of = |events: &str| {
        let text = format!("0 boot\n100 n1 elected 1\n{events}\n20000 phase end");
        let verdict = Transcript::new(&text).asks("no-leader", json!({})).judge().unwrap();
        assert_eq!(verdict.judgement, Judgement::Valid);
        verdict.figures.stalls
    };
    assert_eq!(of(""), None);
    let some = of("3000 stall 4000\n6000 stall 6200").unwrap();
    let times = [some.total_ns, some.longest_ns, some.uncounted_ns, some.of_ns];
    assert_eq!((some.count, times.map(|ns| ns / MS)), (2, [1_200, 1_000, 3_100, 20_000]));
    assert!(!some.are_many());
    assert!(of("3000 stall 4000\n6000 stall 7500").unwrap().are_many());
}

#[test]
fn a_stall_at_any_time_of_a_valid_run_makes_nothing_invalid() {
    const RECORDED: &str = include_str!("../data/raft-clients.jsonl");
    let lines: Vec<&str> = RECORDED.lines().collect();
    let judgements = |lines: &[&str]| -> Vec<_> {
        let text = lines.join("\n") + "\n";
        let checks = judge(&mut Reader::new(text.as_bytes()).unwrap()).unwrap().checks;
        checks.into_iter().map(|check| (check.check, check.judgement)).collect()
    };
    let without = judgements(&lines);
    assert!(without.iter().all(|(_, judgement)| *judgement != Judgement::Invalid));
    for place in (1..lines.len()).step_by(31) {
        let begins = Record::parse(lines[place].as_bytes()).unwrap().t;
        for ms in [200, 1_500] {
            let until = begins + ms * MS;
            let stall = Record::new(begins, Body::Harness(HarnessEvent::Stall { until })).to_line();
            let mut with = lines.clone();
            with.insert(place, &stall);
            assert_eq!(judgements(&with), without, "{ms} ms before line {}", place + 1);
        }
    }
}
