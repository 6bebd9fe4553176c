//! Histories of no sense at all: nothing panics, and the same history gets the same verdict.

use proptest::prelude::*;
use serde_json::json;
use usurper_checks::CHECKS;

use crate::transcript::{Transcript, judge_text};

/// One line of a transcript, without its time.
fn line() -> impl Strategy<Value = String> {
    let node = (1_u8..=4).prop_map(|id| format!("n{id}"));
    let events = prop::sample::select(vec![
        "elected",
        "prospective",
        "knows",
        "accepted",
        "sent",
        "rejected",
        "role",
        "term",
        "persist",
        "lose",
        "config",
        "start",
        "append",
        "append-two",
        "persist-log",
        "truncate",
        "snapshot",
        "ack",
        "ack-vote",
        "commit",
        "apply",
        "found",
    ]);
    // Mostly small, so that things meet; and the largest, which must not overflow.
    let number = prop_oneof![12 => 0_u64..4, 1 => Just(u64::MAX)];
    let of_node = (node.clone(), events, node.clone(), number, 0_usize..4).prop_map(
        |(node, event, peer, term, role)| match event {
            "knows" | "accepted" | "sent" | "rejected" => format!("{node} {event} {peer} {term}"),
            "role" => {
                let role = ["looking", "follower", "candidate", "leader"][role];
                format!("{node} role {role}")
            }
            "persist" => format!("{node} persist current-epoch {term}"),
            "config" => format!("{node} config {peer}"),
            "append" => format!("{node} append {role}.{term}:d"),
            "append-two" if term < 4 => format!("{node} append 1.{term}:d {role}.{}:e", term + 1),
            "append-two" => format!("{node} append 1.{term}:d"),
            "persist-log" => format!("{node} persist log {role}.{term}"),
            "truncate" => format!("{node} truncate {role}.{term} {role}.{term}"),
            "snapshot" => format!("{node} snapshot install {role}.{term}"),
            "lose" => format!("{node} lose {role}"),
            "ack" => format!("{node} ack append {peer} {role} {role}.{term}"),
            "ack-vote" => format!("{node} ack vote {peer} {role}"),
            "commit" => format!("{node} commit {role}.{term} by {node} {peer}"),
            "apply" => format!("{node} apply {role}.{term}:d state s op 1.{role}"),
            "found" => format!("{node} found term {role} last {role}.{term}"),
            _ => format!("{node} {event} {term}"),
        },
    );
    let effects = prop::sample::select(vec![
        "down", "up", "frozen", "thawed", "cut", "healed", "degraded", "restored", "none",
    ]);
    let outcomes = prop::sample::select(vec!["installed", "skipped", "indeterminate"]);
    let named = (node.clone(), node.clone(), any::<bool>())
        .prop_map(|(a, b, link)| if link { format!("{a}>{b}") } else { a });
    let fault = (any::<bool>(), 1_u8..5, effects, named, outcomes).prop_map(
        |(begin, id, effect, named, outcome)| {
            let (phase, outcome) = if begin { ("begin", "") } else { ("end", outcome) };
            format!("{phase} {id} some {effect} {named} {outcome}")
        },
    );
    let harness = (node, 0_usize..8).prop_map(|(node, what)| match what {
        0 | 1 => format!("spawn {node}"),
        2 | 3 => format!("ready {node}"),
        4 => format!("exit {node} ok"),
        5 => format!("exit {node} code 1"),
        6 => format!("bad-line {node}"),
        _ => "phase settle".to_owned(),
    });
    prop_oneof![6 => of_node, 2 => fault, 1 => harness]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_history_is_judged_twice_alike(
        steps in prop::collection::vec((0_u64..800, line()), 0..80),
        system in prop::sample::select(vec!["fle", "raft", "multipaxos"]),
    ) {
        // The fourth node speaks although it is no member; it is spawned so that it can.
        let mut text = "0 boot\n0 spawn n4\n".to_owned();
        let mut t = 0;
        for (later, line) in &steps {
            t += later;
            text.push_str(&format!("{t} {line}\n"));
        }
        let mut transcript = Transcript::of(system, 3, &text);
        for info in CHECKS {
            transcript = transcript.asks(info.name, json!({}));
        }
        let history = transcript.text();
        let verdict = judge_text(&history).unwrap();
        let again = judge_text(&history).unwrap();
        prop_assert_eq!(
            serde_json::to_string(&verdict).unwrap(),
            serde_json::to_string(&again).unwrap()
        );
        for check in &verdict.checks {
            for finding in check.findings.iter().chain(&check.warnings) {
                prop_assert!(finding.from_ns <= finding.to_ns, "{:?}", finding);
                prop_assert!(finding.to_ns <= t * 1_000_000, "{:?}", finding);
                prop_assert!(!finding.lines.is_empty(), "{:?}", finding);
                prop_assert!(finding.lines.iter().all(|it| (2..=verdict.lines).contains(it)));
            }
        }
    }
}
