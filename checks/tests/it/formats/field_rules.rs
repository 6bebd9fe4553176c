//! The rules that servers' logs are held against: for each, logs that it must reject, and the nearest
//! that are right. The lines are etcd's own, cut down to those of three servers and one election.

use usurper_checks::Judgement;

use super::field::{judge, of};

/// A line of etcd's log, so many milliseconds after the begin.
fn line(ms: u32, message: &str) -> String {
    let (second, ms) = (ms / 1_000, ms % 1_000);
    let (minute, second) = (second / 60, second % 60);
    format!(
        "{{\"level\":\"info\",\"ts\":\"2026-11-22T03:{minute:02}:{second:02}.{ms:03}Z\",\"logger\":\"raft\",\"msg\":\"{message}\"}}\n"
    )
}

fn start(id: &str, ms: u32, term: u64) -> String {
    let index = if term == 0 { 0 } else { 4 };
    line(
        ms,
        &format!(
            "newRaft {id} [peers: [], term: {term}, commit: 0, applied: 0, lastindex: {index}, lastterm: 0]"
        ),
    )
}

/// How fast the servers are set to be, as 3.5 logs it.
const PACE: &str = "{\"level\":\"info\",\"ts\":\"2026-11-22T03:00:00.000Z\",\"msg\":\"starting an etcd server\",\"name\":\"x\",\"heartbeat-interval\":\"100ms\",\"election-timeout\":\"1s\"}\n";

/// `a1` is elected for term 2 by `b2`, and all know it.
fn elected() -> [String; 3] {
    let begin =
        |id: &str| [start(id, 0, 0), line(1, &format!("{id} became follower at term 1"))].concat();
    let lines = |id: &str, lines: &[(u32, &str)]| {
        let lines: Vec<String> = lines.iter().map(|(ms, message)| line(*ms, message)).collect();
        [PACE.to_owned(), begin(id), lines.concat()].concat()
    };
    [
        lines(
            "a1",
            &[
                (2, "a1 switched to configuration voters=(161 178 195)"),
                (100, "a1 became candidate at term 2"),
                (100, "a1 received MsgVoteResp from a1 at term 2"),
                (100, "a1 [logterm: 1, index: 3] sent MsgVote request to b2 at term 2"),
                (104, "a1 received MsgVoteResp from b2 at term 2"),
                (104, "a1 became leader at term 2"),
            ],
        ),
        lines(
            "b2",
            &[
                (102, "b2 [term: 1] received a MsgVote message with higher term from a1 [term: 2]"),
                (102, "b2 became follower at term 2"),
                (
                    102,
                    "b2 [logterm: 1, index: 3, vote: 0] cast MsgVote for a1 [logterm: 1, index: 3] at term 2",
                ),
                (106, "raft.node: b2 elected leader a1 at term 2"),
            ],
        ),
        lines(
            "c3",
            &[
                (106, "c3 [term: 1] received a MsgApp message with higher term from a1 [term: 2]"),
                (106, "c3 became follower at term 2"),
                (106, "raft.node: c3 elected leader a1 at term 2"),
            ],
        ),
    ]
}

/// Lines that are added to the logs of `a1`, `b2` and `c3`.
fn with(more: &[(usize, String)]) -> Vec<String> {
    let mut logs = elected();
    for (log, line) in more {
        logs[*log].push_str(line);
    }
    logs.to_vec()
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

#[track_caller]
fn valid(logs: &[String]) {
    let verdict = judge(logs);
    assert_eq!(
        verdict.judgement,
        Judgement::Valid,
        "{:#?} {:#?}",
        verdict.checks,
        verdict.imported
    );
}

/// That this one check rejects the logs, and with what sentence.
#[track_caller]
fn invalid(logs: &[String], check: &str, sentence: &str) {
    let verdict = judge(logs);
    let found = of(&verdict, check);
    assert_eq!(
        found.judgement,
        Judgement::Invalid,
        "{:#?} {:#?}",
        verdict.checks,
        verdict.imported
    );
    assert_eq!(found.findings[0].sentence, sentence);
    for other in verdict.checks.iter().filter(|other| other.check != check) {
        assert_ne!(other.judgement, Judgement::Invalid, "{other:#?}");
    }
}

#[track_caller]
fn unknown(logs: &[String], reason: &str) {
    let verdict = judge(logs);
    assert_eq!(verdict.judgement, Judgement::Unknown, "{:#?}", verdict.checks);
    let told = verdict.imported.unwrap().doubts;
    assert!(told.iter().any(|doubt| doubt.contains(reason)), "{told:?}");
}

fn cast(whom: &str, term: u64, ms: u32) -> (usize, String) {
    let message = format!(
        "b2 [logterm: 2, index: 4, vote: 0] cast MsgVote for {whom} [logterm: 2, index: 4] at term {term}"
    );
    (B, line(ms, &message))
}

fn stands(log: usize, term: u64, ms: u32) -> (usize, String) {
    let id = ["a1", "b2", "c3"][log];
    (log, line(ms, &format!("{id} became candidate at term {term}")))
}

fn counts(log: usize, term: u64, ms: u32) -> (usize, String) {
    let id = ["a1", "b2", "c3"][log];
    (log, line(ms, &format!("{id} received MsgVoteResp from b2 at term {term}")))
}

#[test]
fn one_election_is_right() {
    valid(&elected());
}

#[test]
fn a_server_that_votes_for_two_is_found_and_one_that_refuses_the_second_is_not() {
    let refused = "b2 [logterm: 2, index: 4, vote: a1] rejected MsgVote from c3 [logterm: 2, index: 4] at term 2";
    valid(&with(&[stands(C, 2, 200), (B, line(210, refused))]));
    invalid(
        &with(&[stands(C, 2, 200), cast("c3", 2, 210)]),
        "double-vote",
        "n2 voted for n1 and then n3 as leader of term 2",
    );
    // Its own vote counts, too.
    invalid(
        &with(&[stands(C, 3, 200), stands(B, 3, 205), cast("c3", 3, 210)]),
        "double-vote",
        "n2 voted for n2 and then n3 as leader of term 3",
    );
}

#[test]
fn a_vote_of_which_nobody_heard_may_be_forgotten_by_a_restart_and_another_may_not() {
    let again = |heard: &[(usize, String)], term: u64| {
        let votes = [stands(C, 3, 200), cast("c3", 3, 210)];
        let restarts = [(B, start("b2", 300, term)), stands(A, 3, 390), cast("a1", 3, 400)];
        with(&[&votes, heard, &restarts].concat())
    };
    valid(&again(&[], 2));
    invalid(
        &again(&[counts(C, 3, 220)], 3),
        "double-vote",
        "n2 voted for n3 and then n1 as leader of term 3",
    );
}

#[test]
fn two_that_count_one_vote_prove_it_without_the_log_of_who_gave_it() {
    let logs = with(&[stands(A, 3, 200), counts(A, 3, 210), stands(C, 3, 200), counts(C, 3, 210)]);
    invalid(
        &[logs[A].clone(), logs[C].clone()],
        "double-vote",
        "n3 voted for n1 and for n2 as leader of term 3: both counted it",
    );
    let logs = with(&[stands(A, 3, 200), counts(A, 3, 210), stands(C, 4, 220), counts(C, 4, 230)]);
    unknown(
        &[logs[A].clone(), logs[C].clone()],
        "the log of n3, server b2, is not among the files",
    );
}

#[test]
fn a_term_that_goes_back_is_found() {
    let follower = |term: u64, ms| (B, line(ms, &format!("b2 became follower at term {term}")));
    valid(&with(&[follower(3, 200), follower(3, 210)]));
    invalid(
        &with(&[follower(3, 200), follower(2, 210)]),
        "term-rollback",
        "n2 went to term 2 although it had been at 3",
    );
}

#[test]
fn a_term_that_a_restart_has_lost_is_found_if_it_was_told_to_others() {
    // Its vote of term 2 was counted.
    valid(&with(&[(B, start("b2", 300, 2))]));
    invalid(
        &with(&[(B, start("b2", 300, 1))]),
        "term-rollback",
        "n2 started with term 1 although it had been at 2",
    );
    // Nobody heard of term 3, so it may never have been stored.
    valid(&with(&[stands(B, 3, 200), (B, start("b2", 300, 2))]));
    let heard = "c3 [term: 2] received a MsgVote message with higher term from b2 [term: 3]";
    invalid(
        &with(&[stands(B, 3, 200), (C, line(210, heard)), (B, start("b2", 300, 2))]),
        "term-rollback",
        "n2 started with term 2 although it had been at 3",
    );
}

#[test]
fn lines_that_must_be_missing_make_nothing_valid() {
    let without = |log: usize, words: &str| {
        let mut logs = elected().to_vec();
        logs[log] = logs[log].split_inclusive('\n').filter(|line| !line.contains(words)).collect();
        logs
    };
    for (log, words, reason) in [
        (A, "became leader", "lines are missing in the log of n1: n2:7 shows that it led term 2"),
        (
            A,
            "became candidate",
            "lines are missing in the log of n1: n2:4 shows that it voted for n1",
        ),
        (B, "cast MsgVote", "lines are missing in the log of n2: n1:8 shows that it voted for n1"),
        (A, "from b2", "or it led without a majority: in term 2 it counts the votes of n1 (n1:8)"),
    ] {
        unknown(&without(log, words), reason);
    }
}

#[test]
fn where_lines_are_missing_two_votes_are_none_because_a_start_may_be_missing_too() {
    let logs = with(&[cast("c3", 2, 210)]);
    unknown(&logs, "lines are missing in the log of n3: n2:8 shows that it voted for n3 in term 2");
}

#[test]
fn a_long_time_without_a_leader_is_suspicious_and_no_more() {
    let next = |ms: u32| {
        with(&[
            (A, line(108, "a1 received terminated signal, shutting down...")),
            (C, line(ms, "c3 became candidate at term 3")),
            (C, line(ms, "c3 received MsgVoteResp from c3 at term 3")),
            (B, line(ms + 1, "b2 became follower at term 3")),
            cast("c3", 3, ms + 1),
            (C, line(ms + 2, "c3 received MsgVoteResp from b2 at term 3")),
            (C, line(ms + 2, "c3 became leader at term 3")),
            (B, line(ms + 4, "raft.node: b2 elected leader c3 at term 3")),
        ])
    };
    let suspicions = |ms: u32| {
        let verdict = judge(&next(ms));
        assert_ne!(verdict.judgement, Judgement::Invalid);
        let import = verdict.imported.unwrap();
        import.suspicions.into_iter().map(|it| (it.check, it.finding.sentence)).collect::<Vec<_>>()
    };
    assert_eq!(suspicions(5_000), []);
    let found = suspicions(30_000);
    let nobody =
        "nobody led for 29 s although n2 and n3 were up and connected (at most 10 s are allowed)";
    assert!(found.contains(&("no-leader".to_owned(), nobody.to_owned())), "{found:?}");
}
