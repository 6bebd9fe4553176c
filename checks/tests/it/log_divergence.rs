use crate::transcript::{Transcript, check_raft, check_transcript};

/// A leader appends two entries, a follower one.
const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 append 1.1:a 1.2:b after 0.0
    120 n2 append 1.1:a after 0.0\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("log-divergence", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn another_digest_of_the_same_id_is_rejected() {
    check("130 n2 append 1.2:b after 1.1", "valid");
    check(
        "130 n2 append 1.2:c after 1.1",
        "invalid
         - n2 put (1, 2) in its log as `c`, which n1 had there as `b`",
    );
}

#[test]
fn a_restart_and_a_snapshot_make_no_other_entry_of_an_id_legal() {
    check(
        "130 n1 persist log 1.1
         140 exit n1 ok
         150 spawn n1
         150 n1 found term 1 last 1.1
         160 n1 append 1.2:c",
        "invalid
         - n1 put (1, 2) in its log as `c`, which n1 had there as `b`",
    );
    check(
        "130 n3 snapshot install 1.1
         140 n3 append 1.2:b
         150 n3 append 1.3:d",
        "valid",
    );
}

#[test]
fn another_predecessor_of_the_same_id_is_rejected() {
    let before = "130 n2 append 2.2:c after 1.1
        140 n1 truncate 1.2 1.2\n";
    check(&format!("{before} 150 n1 append 2.2:c 2.3:d\n 160 n2 append 2.3:d"), "valid");
    check(
        &format!("{before} 150 n1 append 3.2:x 2.3:d\n 160 n2 append 2.3:d"),
        "invalid
         - n2 put (2, 3) in its log after (2, 2), which n1 had there after (3, 2)",
    );
}

#[test]
fn what_the_event_says_of_the_predecessor_is_what_the_log_has() {
    check(
        "130 n2 append 1.2:b after 2.1",
        "invalid
         - n2 put (1, 2) in its log after (1, 1), and said that it follows (2, 1)",
    );
}

#[test]
fn an_entry_is_replaced_only_after_its_removal() {
    check(
        "130 n2 append 1.2:b
         140 n2 truncate 1.2 1.2
         150 n2 append 2.2:c",
        "valid",
    );
    check(
        "130 n2 append 1.2:b
         150 n2 append 2.2:c",
        "invalid
         - n2 put (2, 2) in its log where (1, 2) was, without removing that",
    );
    // The very same entry again replaces nothing.
    check("130 n2 append 1.1:a 1.2:b\n 140 n1 append 1.1:a", "valid");
}

#[test]
fn a_hole_is_rejected_and_one_that_a_snapshot_fills_is_not() {
    check(
        "130 n3 append 1.2:b",
        "invalid
         - n3 put (1, 2) in its log although it ended at nothing",
    );
    check("120 n3 snapshot install 1.1\n 130 n3 append 1.2:b", "valid");
}

#[test]
fn uncommitted_tails_may_differ_by_id_and_survive() {
    check(
        "130 n2 append 2.2:c
         140 n3 append 1.1:a 1.2:b
         150 n2 truncate 2.2 2.2
         160 n2 append 1.2:b 3.3:d",
        "valid",
    );
}

#[test]
fn unsynced_writes_may_survive_a_kill_and_may_not() {
    let appended = "130 n2 append 1.2:b\n 131 n2 append 1.3:c\n 140 exit n2 ok\n 150 spawn n2\n";
    for last in ["0.0", "1.1", "1.2", "1.3"] {
        check(&format!("{appended} 150 n2 found term 1 last {last}"), "valid");
    }
    check(
        &format!("{appended} 150 n2 found term 1 last 2.2"),
        "unknown (n2 started with a log that it was not seen to write (line 19))",
    );
    check(
        &format!("{appended} 150 n2 found term 1"),
        "unknown (n2 does not say where its log ended at its start (line 19))",
    );
}

#[test]
fn an_unsynced_removal_may_be_undone_by_a_kill() {
    let removed = "121 n2 append 1.2:b
        130 n2 persist log 1.2
        140 n2 truncate 1.2 1.2
        145 n2 append 2.2:c
        150 exit n2 ok
        150 spawn n2\n";
    for (last, next) in [("1.1", "3.2:d"), ("1.2", "3.3:d"), ("2.2", "3.3:d")] {
        let text = format!("{removed} 160 n2 found term 1 last {last}\n 170 n2 append {next}");
        check(&text, "valid");
    }
    check(
        &format!("{removed} 160 n2 found term 1 last 1.2\n 170 n2 append 3.2:d"),
        "invalid
         - n2 put (3, 2) in its log where (1, 2) was, without removing that",
    );
}

#[test]
fn entries_of_several_terms_at_once_are_resolved_by_their_digests() {
    let text = "130 n1 append 2.3:d
        140 n1 append 3.4:e\n";
    check(&format!("{text} 150 n3 append 1.1:a 1.2:b 2.3:d 3.4:e"), "valid");
    check(
        &format!("{text} 150 n3 append 1.1:a 1.2:b 2.3:x 3.4:e"),
        "unknown (n3 appends entries of several terms at once (line 17))",
    );
}

#[test]
fn nothing_appended_is_unknown_and_so_are_logs_of_another_kind() {
    check_raft(
        "log-divergence",
        "0 boot\n 100 n1 elected 1",
        "unknown (nothing was appended, so no logs could differ)",
    );
    check_transcript(
        "log-divergence",
        Transcript::of("zab", 3, BEGIN),
        "unknown (the positions of `zab` in its log are not indices without a gap)",
    );
}

#[test]
fn a_long_log_is_forgotten_and_still_judged() {
    let mut text = "0 boot\n 0 n1 elected 1\n".to_owned();
    for index in 1..=600 {
        for node in ["n1", "n2", "n3"] {
            text.push_str(&format!("{index} {node} append 1.{index}:d{index}\n"));
            text.push_str(&format!("{index} {node} persist log 1.{index}\n"));
            text.push_str(&format!("{index} {node} commit 1.{index}\n"));
        }
    }
    for check in ["log-divergence", "lost-commit", "commit-overreach"] {
        check_raft(check, &text, "valid");
    }
    // What is forgotten still is not to be replaced.
    check_raft(
        "log-divergence",
        &format!("{text} 700 n3 append 1.9:d9\n 710 n3 append 2.9:x"),
        "invalid
         - n3 put (2, 9) in its log where (1, 9) was, without removing that",
    );
    check_raft(
        "lost-commit",
        &format!("{text} 700 n3 truncate 1.9 1.600"),
        "invalid
         - n3 removed its log from (1, 9) on, and had committed it up to index 600",
    );
    // A node that lost its disk learns the log anew, and wrongly.
    text.push_str(
        "700 exit n3 ok\n 700 spawn n3\n 700 n3 found fresh\n 710 n3 append 1.1:d1 1.2:other",
    );
    check_raft(
        "log-divergence",
        &text,
        "invalid
         - n3 put (1, 2) in its log as `other`, which n1 had there as `d2`",
    );
}
