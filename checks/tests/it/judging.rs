//! What holds for every check: completeness, needs, requests and figures.

use serde_json::json;
use usurper_checks::{CHECKS, FaultCounts, Interval, JudgeError, Judgement, Spread, Verdict};

use crate::transcript::{MS, Transcript, check, check_raft, check_transcript, judge_text};

const RUN: &str = "0 boot
    10 n1 elected 1
    20 n1 votes n1 1
    30 n2 votes n1 1
    900 phase stop
    950 phase end";

#[test]
fn a_missing_event_makes_every_check_unknown() {
    for (name, expected) in [("dual-leaders", ""), ("crash", ""), ("no-leader", "")] {
        check(name, RUN, &format!("valid{expected}"));
        check(
            name,
            &RUN.replace("30 n2", "30 n2 lose 2\n30 n2"),
            "unknown (events are lost: n2 incarnation 1 lacks events 2 to 3 (line 14))",
        );
    }
}

#[test]
fn an_event_that_is_missing_at_the_begin_or_told_twice_is_noticed() {
    check(
        "crash",
        "0 spawn n1\n0 n1 lose 1\n0 ready n1\n10 n1 elected 1\n900 phase end",
        "unknown (events are lost: n1 incarnation 1 lacks event 1 (line 4))",
    );
    let text = Transcript::new(RUN).asks("crash", json!({})).text();
    let twice = text.lines().map(|line| {
        if line.contains(r#""event":"vote-cast""#) {
            format!("{line}\n{line}\n")
        } else {
            format!("{line}\n")
        }
    });
    let verdict = judge_text(&twice.collect::<String>()).unwrap();
    assert_eq!(verdict.judgement, Judgement::Unknown);
    assert!(verdict.lost[0].contains("n1 incarnation 1 repeats event 4"), "{:?}", verdict.lost);
}

#[test]
fn a_line_that_is_no_event_makes_every_check_unknown() {
    check(
        "crash",
        &RUN.replace("900 phase", "800 bad-line n3\n900 phase"),
        "unknown (events are lost: n3 incarnation 1 wrote a line that is no event: cut off (line 15))",
    );
}

#[test]
fn a_step_that_never_ran_makes_every_check_unknown_and_hides_no_finding() {
    let missed = "800 step-missed kill\n900 phase";
    check("crash", &RUN.replace("900 phase", missed), "unknown (kill never ran (line 15))");
    check(
        "dual-leaders",
        "0 boot\n10 n1 elected 1\n20 n1 role follower\n30 n2 elected 1\n40 step-missed kill",
        "invalid
         - n1 and n2 were both established as leader of epoch 1",
    );
}

#[test]
fn a_loss_does_not_hide_a_finding() {
    check(
        "dual-leaders",
        "0 boot\n10 n1 elected 1\n20 n1 role follower\n20 n2 lose 1\n30 n2 elected 1",
        "invalid
         - n1 and n2 were both established as leader of epoch 1",
    );
}

#[test]
fn an_incarnation_that_was_killed_simply_stops() {
    check(
        "crash",
        &RUN.replace(
            "900 phase",
            "100 exit n2 ok\n200 spawn n2\n210 n2 start 1\n220 ready n2\n900 phase",
        ),
        "valid",
    );
}

#[test]
fn a_run_without_node_events_is_unknown() {
    check("crash", "0 spawn n1\n900 phase end", "unknown (no node recorded any event)");
}

#[test]
fn a_run_without_a_leader_is_never_valid() {
    let text = "0 boot\n100 n1 prospective 1\n900 phase end";
    for info in CHECKS {
        let verdict = Transcript::new(text).asks(info.name, json!({})).judge().unwrap();
        assert_eq!(verdict.judgement, Judgement::Unknown, "{}", info.name);
    }
    check(
        "crash",
        text,
        "unknown (no leader was ever established, so nothing was put to the test)",
    );
    // A system that does not tell of leaders is judged by what it tells.
    check_transcript("crash", Transcript::new(text).without("leader-elected"), "valid");
}

#[test]
fn a_check_without_its_events_is_unknown() {
    check_transcript(
        "stale-leader-heartbeat",
        Transcript::new(RUN).without("heartbeat"),
        "unknown (needs: heartbeat)",
    );
    check_transcript(
        "mutual-follow",
        Transcript::new(RUN).without("leader-known").without("role-change"),
        "unknown (needs: leader-known, role-change)",
    );
}

#[test]
fn checks_that_could_not_apply_are_listed() {
    let transcript = Transcript::new(RUN).without("heartbeat").asks("crash", json!({}));
    let verdict = transcript.judge().unwrap();
    let names: Vec<_> = verdict.not_applied.iter().map(|it| (&*it.check, &*it.needs)).collect();
    let lacks = &["heartbeat".to_owned()][..];
    assert_eq!(names, [("disruption", lacks), ("stale-leader-heartbeat", lacks)]);
    assert_eq!(verdict.judgement, Judgement::Valid);
}

#[test]
fn a_verdict_over_no_check_is_unknown() {
    assert_eq!(Transcript::new(RUN).judge().unwrap().judgement, Judgement::Unknown);
}

#[test]
fn the_worst_check_is_the_judgement_of_the_run() {
    let text = "0 boot\n10 n1 elected 1\n20 n1 role follower\n30 n2 elected 1\n900 phase end";
    let verdict = Transcript::new(text)
        .asks("crash", json!({}))
        .asks("dual-leaders", json!({}))
        .asks("stale-leader-heartbeat", json!(null))
        .judge()
        .unwrap();
    let each: Vec<_> = verdict.checks.iter().map(|it| it.judgement).collect();
    assert_eq!(each, [Judgement::Valid, Judgement::Invalid, Judgement::Unknown]);
    assert_eq!(verdict.judgement, Judgement::Invalid);
}

#[track_caller]
fn refuses(transcript: Transcript, expected: &str) {
    let error = transcript.judge().unwrap_err();
    let text = match &error {
        JudgeError::Request(request) => request.to_string(),
        other => other.to_string(),
    };
    assert_eq!(text, expected);
}

#[test]
fn unknown_checks_and_options_are_refused_with_the_nearest_names() {
    let asks = |check, options| Transcript::new(RUN).asks(check, options);
    refuses(
        asks("dual-leader", json!({})),
        "unknown check `dual-leader`, expected `dual-leaders` or `no-leader`",
    );
    refuses(
        asks("no-leader", json!({"bound": 1})),
        "check `no-leader` has no option `bound`, expected `bound-ns`",
    );
    refuses(asks("crash", json!({"bound": 1})), "check `crash` has no option `bound`");
    refuses(
        asks("no-leader", json!({"bound-ns": 0})),
        "option `bound-ns` of check `no-leader` is `0`, expected a positive integer",
    );
    refuses(
        asks("no-leader", json!([1])),
        "the options of check `no-leader` are `[1]`, expected an object",
    );
    let mut transcript = asks("election-loop", json!({}));
    transcript.header.timing.election_timeout_ns = 0;
    refuses(
        transcript,
        "the header's timing has `election-timeout-ns` 0, and check `election-loop` measures with it",
    );
}

#[test]
fn a_history_out_of_order_is_refused_with_its_line() {
    refuses(
        Transcript::new("0 boot\n20 n1 elected 1\n10 n1 role follower"),
        "line 13 is at 10000000 ns, before the line above it at 20000000 ns; sort the history first",
    );
}

#[test]
fn a_history_that_stops_early_is_marked_and_never_valid() {
    let complete = Transcript::new(RUN).asks("crash", json!({}));
    let verdict = complete.judge().unwrap();
    assert!(!verdict.truncated && verdict.torn.is_none());
    assert_eq!(verdict.judgement, Judgement::Valid);
    let cut = complete.text().replace("\"phase\":\"end\"", "\"phase\":\"settle\"");
    let verdict = judge_text(&cut).unwrap();
    assert!(verdict.truncated && verdict.torn.is_none());
    assert_eq!(verdict.judgement, Judgement::Unknown);
    assert!(verdict.checks[0].reason.as_ref().unwrap().contains("cut off"));
    // What was found by then stays found.
    let crashed = Transcript::new(&RUN.replace("900 phase", "800 exit n2 signal 11\n900 phase"));
    let crashed = crashed.asks("crash", json!({})).text();
    let crashed = crashed.replace("\"phase\":\"end\"", "\"phase\":\"settle\"");
    assert_eq!(judge_text(&crashed).unwrap().judgement, Judgement::Invalid);
    let verdict = judge_text(&(complete.text() + "{\"t\":1")).unwrap();
    assert!(verdict.truncated);
    assert_eq!(verdict.torn.map(|torn| (torn.line, torn.bytes)), Some((verdict.lines + 1, 6)));
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let mut text = "0 boot\n".to_owned();
    for term in 1..=25 {
        let at = 10 * term;
        text.push_str(&format!("{at} n1 elected {term}\n{at} n1 role follower\n"));
        text.push_str(&format!("{at} n2 elected {term}\n{at} n2 role follower\n"));
    }
    let verdict = Transcript::new(&text).asks("dual-leaders", json!({})).judge().unwrap();
    assert_eq!((verdict.checks[0].findings.len(), verdict.checks[0].findings_omitted), (20, 5));
}

#[test]
fn a_verdict_reads_back_as_itself() {
    let transcript = Transcript::new(RUN).asks("crash", json!({})).asks("no-leader", json!({}));
    let verdict = transcript.judge().unwrap();
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(text.contains(r#""judgement":"valid""#), "{text}");
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}

#[test]
fn figures_count_faults_leaders_and_what_it_took_to_replace_them() {
    let figures = Transcript::new(
        "0 boot
         500 n1 elected 1
         510 n2 accepted n1 1
         520 n2 rejected n3 0
         530 n1 sent n1 1
         990 c1 invoke write x 1
         1000 begin 1 kill down n1
         1010 exit n1 ok
         1020 end 1 kill down n1
         1100 begin 2 kill down
         1100 end 2 kill down skipped
         1380 n3 sends vote-resp n2 2
         1400 n2 elected 2
         1450 c1 ok write x 1
         2000 begin 3 kill down n2
         2000 exit n2 ok
         2000 end 3 kill down n2
         2050 c1 invoke write x 2
         2100 spawn n2
         2200 n2 start 2
         2300 ready n2
         2500 c1 ok write x 2
         2800 n3 elected 3
         3000 begin 4 pause frozen n3
         6000 phase stop
         6100 exit n3 ok
         9000 phase end",
    )
    .judge()
    .unwrap()
    .figures;
    let kills = FaultCounts { installed: 2, skipped: 1, ..FaultCounts::default() };
    let pauses = FaultCounts { unfinished: 1, ..FaultCounts::default() };
    assert_eq!(figures.faults["kill"], kills);
    assert_eq!(figures.faults["pause"], pauses);
    assert_eq!(figures.leader_establishments, 3);
    assert_eq!(figures.observed_ns, 6000 * MS);
    assert!((figures.elections_per_minute - 30.0).abs() < 1e-9);
    assert_eq!(figures.first_leader_ns, Some(500 * MS));
    let interval = |from: u64, to: u64| Interval { from_ns: from * MS, to_ns: to * MS };
    assert_eq!(
        figures.leaderless,
        [interval(1000, 1400), interval(2000, 2800), interval(3000, 6000)]
    );
    assert_eq!(figures.leaderless_ns, 4200 * MS);
    let spread = |count: u64, min: u64, median: u64, max: u64| {
        let [min_ns, median_ns, max_ns] = [min, median, max].map(|ms| ms * MS);
        Some(Spread { count, min_ns, median_ns, p95_ns: max_ns, max_ns })
    };
    assert_eq!(figures.failover, spread(2, 400, 800, 800));
    assert_eq!(figures.leaderless_spells, spread(3, 400, 800, 3000));
    assert_eq!(figures.write_recovery, spread(2, 500, 1500, 1500));
    assert_eq!(figures.terms_consumed, 3);
    assert_eq!((figures.election_messages, figures.messages_per_election), (1, Some(1.0 / 3.0)));
    assert_eq!((figures.exits_expected, figures.exits_unexpected), (3, 0));
    let heartbeats = figures.heartbeats;
    assert_eq!((heartbeats.sent, heartbeats.accepted, heartbeats.rejected), (1, 1, 1));
}

/// As `usurper export` writes what it has read of servers' logs.
#[test]
fn what_logs_of_servers_lack_may_take_back_what_they_tell_but_for_two_leaders() {
    let of_logs = |missed: &str, timeout_ns: u64| {
        let text = format!(
            "0 boot
             100 n1 elected 1
             200 n2 persist hard-state 2 for n1
             300 n2 persist hard-state 2 for n3
             400 n1 role follower
             500 n3 elected 1
             600 {missed}
             900 phase end"
        );
        let mut transcript = Transcript::of("etcd", 3, &text);
        transcript.header.timing.election_timeout_ns = timeout_ns;
        transcript
    };
    let voted = "n2 voted for n1 and then n3 as leader of term 2";
    let invalid = format!("invalid\n- {voted}");
    check_transcript("double-vote", of_logs("n1 term 2", 0), &invalid);
    check_transcript(
        "double-vote",
        of_logs("step-missed rest", 0),
        &format!("unknown (rest never ran (line 18))\n~ {voted}"),
    );
    // A run tells everything, and a step that never ran takes nothing back.
    check_transcript("double-vote", of_logs("step-missed rest", 1), &invalid);
    for missed in ["n1 term 2", "step-missed rest"] {
        let led = "invalid\n- n1 and n3 were both established as leader of term 1";
        check_transcript("dual-leaders", of_logs(missed, 0), led);
    }
}

#[test]
fn a_check_whose_events_nobody_recorded_is_unknown() {
    let unseen = |kind: &str| {
        format!("unknown (no node recorded any `{kind}`, so nothing was put to the test)")
    };
    let elected = "0 boot\n10 n1 elected 1\n900 phase stop";
    let with = |more: &str| format!("{elected}\n{more}");
    for (name, kind, more) in [
        ("connection-storm", "conn", "905 n2 dials n1"),
        ("cannot-rejoin", "leader-known", "905 n2 knows n1 1"),
        ("disruption", "heartbeat", "905 n2 accepted n1 1"),
    ] {
        check(name, elected, &unseen(kind));
        check(name, &with(more), "valid");
    }
    check_raft("term-rollback", elected, &unseen("persist"));
    check_raft("term-rollback", &with("905 n2 persist hard-state 1 for n1"), "valid");
}

#[test]
fn a_history_of_other_nodes_than_its_header_names_is_unknown() {
    let of = |nodes: &[&str]| {
        let header = |text: String| {
            let (header, rest) = text.split_once('\n').unwrap();
            let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
            header["nodes"] = json!(nodes);
            format!("{header}\n{rest}")
        };
        let text = header(Transcript::new(RUN).asks("dual-leaders", json!({})).text());
        let verdict = judge_text(&text).unwrap();
        let two = header(
            Transcript::new("0 boot\n10 n1 elected 1\n20 n2 elected 1")
                .asks("dual-leaders", json!({}))
                .text(),
        );
        // What is found is found, whoever is named.
        assert_eq!(judge_text(&two).unwrap().judgement, Judgement::Invalid);
        (verdict.judgement, verdict.checks[0].reason.clone().unwrap_or_default())
    };
    assert_eq!(of(&["n1", "n2", "n3"]), (Judgement::Valid, String::new()));
    let unknown = |why: &str| (Judgement::Unknown, why.to_owned());
    assert_eq!(of(&["n1", "n2", "n3", "n4"]), unknown("n4 recorded no event"));
    assert_eq!(of(&["n1", "n3"]), unknown("n2 is none of the header's nodes"));
    assert_eq!(of(&[]), unknown("n1 is none of the header's nodes"));
}

#[test]
fn where_every_step_was_skipped_nothing_was_put_to_the_test() {
    let run = |steps: &str| format!("0 boot\n10 n1 elected 1\n{steps}\n900 phase stop");
    let skipped = "20 begin 1 kill down n2\n30 end 1 kill down n2 skipped";
    let unknown = "unknown (nothing was broken: 1 step skipped, the first one was `kill`: )";
    for name in ["dual-leaders", "crash", "no-leader"] {
        check(name, &run(""), "valid");
        check(name, &run(skipped), unknown);
        // A repair breaks nothing, and one step that was done is enough.
        check(
            name,
            &run(&format!("{skipped}\n40 begin 2 heal healed\n50 end 2 heal healed")),
            unknown,
        );
        let done = "40 begin 2 kill down n3\n45 exit n3 ok\n50 end 2 kill down n3";
        check(name, &run(&format!("{skipped}\n{done}")), "valid");
        check(name, &run("20 begin 1 heal healed\n30 end 1 heal healed skipped"), "valid");
    }
}
