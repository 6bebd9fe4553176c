use crate::transcript::check_raft;

/// One entry is committed in term 1, a second only appended.
const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 append 1.1:a 1.2:b
    120 n2 append 1.1:a
    130 n1 commit 1.1
    140 n1 role follower\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("leader-completeness", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn a_leader_has_what_was_committed_and_need_not_have_more() {
    check("200 n2 elected 2", "valid");
    check(
        "200 n3 elected 2",
        "invalid
         - n3 was established as leader of term 2 without (1, 1), committed by n1 before",
    );
    check(
        "150 n1 commit 1.2\n 200 n3 elected 2",
        "invalid
         - n3 was established as leader of term 2 without (1, 1) and 1 more, committed by n1 before",
    );
}

#[test]
fn another_entry_there_is_not_it() {
    check("150 n3 append 1.1:a\n 200 n3 elected 2", "valid");
    check(
        "150 n3 append 1.1:z\n 200 n3 elected 2",
        "invalid
         - n3 was established as leader of term 2 without (1, 1), committed by n1 before",
    );
}

#[test]
fn what_is_told_as_committed_later_does_not_count() {
    check("200 n2 elected 2\n 210 n1 commit 1.2", "valid");
}

#[test]
fn a_slow_count_of_an_older_term_need_not_have_what_a_newer_one_committed() {
    // n3 counts the votes of term 2 when n2 has led term 3 and committed in it.
    let newer = "150 n3 append 1.1:a
        200 n2 elected 3
        210 n2 append 3.2:c
        220 n1 term 3
        221 n1 truncate 1.2 1.2
        222 n1 append 3.2:c
        230 n2 commit 3.2\n";
    check(&format!("{newer} 240 n3 elected 2"), "valid");
    check(
        &format!("{newer} 240 n3 elected 4"),
        "invalid
         - n3 was established as leader of term 4 without (3, 2), committed by n2 before",
    );
}

#[test]
fn winning_votes_alone_is_no_establishment() {
    check("200 n3 prospective 2\n 210 n2 elected 2", "valid");
}

#[test]
fn a_snapshot_holds_what_it_covers() {
    check("150 n3 snapshot install 1.1\n 200 n3 elected 2", "valid");
}

#[test]
fn a_restart_that_lost_a_committed_entry_is_noticed_at_the_election() {
    check(
        "150 exit n2 ok
         160 spawn n2
         160 n2 found last 0.0
         200 n2 elected 2",
        "invalid
         - n2 was established as leader of term 2 without (1, 1), committed by n1 before",
    );
}

#[test]
fn a_first_leader_shows_nothing() {
    check_raft(
        "leader-completeness",
        "0 boot\n 100 n1 elected 1",
        "valid (no leader was elected after anything was committed)",
    );
}
