use crate::transcript::{Transcript, check_raft, check_transcript};

/// Two entries on the leader and one follower.
const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 append 1.1:a 1.2:b
    120 n2 append 1.1:a 1.2:b
    130 n1 commit 1.1\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("lost-commit", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn a_committed_index_does_not_change() {
    let text = "140 n3 append 1.1:a 2.2:c\n 150 n2 commit 1.2\n";
    check(text, "valid");
    check(
        &format!("{text} 160 n3 commit 2.2"),
        "invalid
         - n3 committed (2, 2), an index that n2 had committed as an entry of term 1",
    );
    check(
        "140 n3 append 1.1:z\n 150 n3 commit 1.1",
        "invalid
         - n3 committed (1, 1), an index that n1 had committed with another digest",
    );
}

#[test]
fn a_snapshot_ends_with_what_is_committed() {
    check("140 n3 snapshot install 1.1", "valid");
    check(
        "140 n3 snapshot install 2.1",
        "invalid
         - n3 installed a snapshot up to (2, 1), an index that n1 had committed as an entry of term 1",
    );
}

#[test]
fn the_same_index_committed_again_is_compared_again() {
    let again = "140 n2 commit 1.1\n 150 n2 snapshot install 1.1\n";
    check(&format!("{again} 160 n2 commit 1.1"), "valid");
    check(
        &format!("{again} 160 n2 commit 2.1"),
        "invalid
         - n2 committed (2, 1), an index that n1 had committed as an entry of term 1",
    );
}

#[test]
fn every_index_below_a_commit_is_compared() {
    check(
        "140 n3 append 1.1:z 1.2:b\n 150 n3 commit 1.2",
        "invalid
         - n3 committed (1, 1), an index that n1 had committed with another digest",
    );
    check(
        "140 n1 commit 1.2\n 150 n3 append 1.1:y 1.2:z\n 160 n3 commit 1.2",
        "invalid
         - n3 committed (1, 1), an index that n1 had committed with another digest, and 1 entry after it likewise",
    );
}

#[test]
fn a_commit_index_goes_back_only_with_a_restart() {
    check(
        "140 n1 commit 1.2\n 150 n1 commit 1.1",
        "invalid
         - n1 had committed up to index 2 and now (1, 1)",
    );
    check(
        "140 n1 commit 1.2
         141 n1 persist log 1.2
         145 exit n1 ok
         146 spawn n1
         146 n1 found term 1 last 1.2
         150 n1 commit 1.1",
        "valid",
    );
}

#[test]
fn what_a_node_knows_as_committed_is_not_removed() {
    check("140 n1 truncate 1.2 1.2 commit 1", "valid");
    check(
        "140 n1 truncate 1.1 1.2 commit 1",
        "invalid
         - n1 removed its log from (1, 1) on, and had committed it up to index 1",
    );
    check(
        "140 n2 truncate 1.2 1.2 commit 2",
        "invalid
         - n2 removed its log from (1, 2) on, and had committed it up to index 2",
    );
}

#[test]
fn what_anybody_has_committed_is_not_removed() {
    // An entry that reached a majority and was not committed is no commitment.
    check("140 n2 truncate 1.2 1.2", "valid");
    // Another entry of that index may go.
    check("140 n3 append 2.1:c\n 150 n3 truncate 2.1 2.1", "valid");
    check(
        "135 n2 term 1\n 140 n2 truncate 1.1 1.2",
        "invalid
         - n2 removed (1, 1) from its log, which n1 had committed",
    );
}

#[test]
fn a_node_that_has_not_heard_of_the_term_may_remove_what_was_committed_in_it() {
    // A late append of the leader of term 2 reaches n4, which had no part in the commit of term 3.
    let text = |term: u64| {
        format!(
            "0 boot
             100 n1 elected 1
             110 n1 append 1.1:a
             120 n2 append 1.1:a
             120 n3 append 1.1:a
             120 n4 append 1.1:a
             200 n5 elected 2
             210 n5 append 2.1:x
             300 n1 elected 3
             310 n1 append 3.2:b
             310 n2 append 3.2:b
             310 n3 append 3.2:b
             320 n1 commit 3.2
             390 n4 term {term}
             400 n4 truncate 1.1 1.1
             410 n4 append 2.1:x"
        )
    };
    check_transcript("lost-commit", Transcript::of("raft", 5, &text(2)), "valid");
    check_transcript(
        "lost-commit",
        Transcript::of("raft", 5, &text(3)),
        "invalid
         - n4 removed (1, 1) from its log, which n1 had committed",
    );
}

#[test]
fn a_removal_of_what_was_not_there_is_not_silently_right() {
    check(
        "140 n3 truncate 1.1 1.1",
        "unknown (n3 removed (1, 1), which its log did not show (line 16))",
    );
}

#[test]
fn a_removed_tail_may_be_committed_later() {
    check("140 n2 truncate 1.2 1.2\n 150 n2 append 1.2:b\n 160 n2 commit 1.2", "valid");
}

#[test]
fn what_a_snapshot_covers_is_not_removed() {
    check("140 n3 snapshot install 1.2\n 150 n3 append 1.3:c\n 160 n3 truncate 1.3 1.3", "valid");
    check(
        "140 n3 snapshot install 1.2
         141 n3 persist snapshot 1.2
         145 exit n3 ok
         146 spawn n3
         146 n3 found term 1 last 1.2
         150 n3 truncate 1.2 1.2",
        "invalid
         - n3 removed its log from (1, 2) on, which a snapshot covers or all had committed",
    );
}

#[test]
fn without_commits_nothing_is_known() {
    check_raft(
        "lost-commit",
        "0 boot\n 100 n1 elected 1\n 110 n1 append 1.1:a",
        "unknown (nothing was committed, so nothing could be lost)",
    );
}
