use crate::transcript::check_raft;

const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 append 1.1:a 1.2:b
    120 n2 append 1.1:a\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("commit-overreach", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn a_node_commits_what_it_has() {
    check("130 n1 commit 1.2\n 140 n2 commit 1.1", "valid");
    check(
        "130 n1 commit 1.2\n 140 n2 commit 1.2",
        "invalid
         - n2 committed (1, 2), but its log ends at (1, 1)",
    );
    check(
        "130 n3 commit 1.2",
        "invalid
         - n3 committed (1, 2), but its log is empty",
    );
}

#[test]
fn an_entry_of_another_term_is_not_what_was_committed() {
    check("130 n3 append 1.1:a 2.2:c\n 140 n3 commit 2.2", "valid");
    check(
        "130 n3 append 1.1:a 2.2:c\n 140 n3 commit 1.2",
        "invalid
         - n3 committed (1, 2), but its log has (2, 2) there",
    );
}

#[test]
fn a_removed_entry_is_not_had() {
    check(
        "130 n1 truncate 1.2 1.2\n 140 n1 commit 1.2",
        "invalid
         - n1 committed (1, 2), but its log ends at (1, 1)",
    );
    check("130 n1 truncate 1.2 1.2\n 135 n1 append 1.2:b\n 140 n1 commit 1.2", "valid");
}

#[test]
fn a_snapshot_is_had() {
    check("130 n3 snapshot install 1.2\n 140 n3 commit 1.2", "valid");
    check(
        "130 n3 snapshot install 1.2\n 140 n3 commit 1.3",
        "invalid
         - n3 committed (1, 3), but its log ends at (1, 2)",
    );
}

#[test]
fn a_restart_keeps_what_the_disk_had() {
    let restart = "130 n1 persist log 1.1\n 140 exit n1 ok\n 150 spawn n1\n";
    check(&format!("{restart} 150 n1 found last 1.2\n 160 n1 commit 1.2"), "valid");
    check(
        &format!("{restart} 150 n1 found last 1.1\n 160 n1 commit 1.2"),
        "invalid
         - n1 committed (1, 2), but its log ends at (1, 1)",
    );
}

#[test]
fn without_commits_nothing_is_known() {
    check("", "unknown (nothing was committed)");
}
