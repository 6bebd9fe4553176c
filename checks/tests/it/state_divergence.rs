use crate::transcript::{Transcript, check_raft, check_transcript};

const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 apply 1.1:a state x
    120 n1 apply 1.2:b state y
    130 n2 apply 1.1:a state x\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("state-divergence", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn another_entry_at_an_applied_index_is_rejected() {
    check("140 n2 apply 1.2:b state y", "valid");
    check(
        "140 n2 apply 1.2:c",
        "invalid
         - n2 applied (1, 2) as `c`, and n1 as `b`",
    );
    check(
        "140 n2 apply 2.2:b",
        "invalid
         - n2 applied (2, 2) where n1 had applied (1, 2)",
    );
}

#[test]
fn another_state_at_an_index_is_rejected() {
    check("140 n2 apply 1.2:b", "valid");
    check(
        "140 n2 apply 1.2:b state z",
        "invalid
         - the state of n2 at index 2 is `z`, that of n1 `y`",
    );
}

#[test]
fn an_entry_is_applied_once_and_in_order() {
    check("140 n1 apply 1.3:c\n 150 n1 apply 1.4:d", "valid");
    check(
        "140 n1 apply 1.2:b state y",
        "invalid
         - n1 applied (1, 2) after it had applied up to index 2",
    );
    check(
        "140 n1 apply 1.1:a state x",
        "invalid
         - n1 applied (1, 1) after it had applied up to index 2",
    );
}

#[test]
fn an_entry_that_another_applied_is_not_left_out() {
    check(
        "140 n2 apply 1.3:c",
        "invalid
         - n2 applied (1, 3) without (1, 2), which n1 had applied",
    );
    // No-ops need not be told, and then nobody tells them.
    check("140 n1 apply 1.4:d\n 150 n2 apply 1.2:b\n 160 n2 apply 1.4:d", "valid");
    check(
        "140 n1 apply 1.4:d\n 150 n2 apply 1.2:b\n 160 n2 apply 1.3:c",
        "invalid
         - n2 applied (1, 3), which n1 had left out",
    );
}

#[test]
fn a_restart_applies_again_from_where_its_state_was() {
    let restart = "140 exit n1 ok\n 150 spawn n1\n";
    check(&format!("{restart} 150 n1 found last 1.2\n 160 n1 apply 1.1:a state x"), "valid");
    check(&format!("{restart} 150 n1 found last 1.2 applied 1\n 160 n1 apply 1.2:b"), "valid");
    check(
        &format!("{restart} 150 n1 found last 1.2 applied 1\n 160 n1 apply 1.1:a"),
        "invalid
         - n1 started with a state up to index 1 and applied (1, 1) again",
    );
    check(
        &format!("{restart} 150 n1 found last 1.2\n 160 n1 apply 1.1:z"),
        "invalid
         - n1 applied (1, 1) as `z`, and n1 as `a`",
    );
}

#[test]
fn an_installed_snapshot_covers_what_is_left_out() {
    check("140 n3 snapshot install 1.2\n 150 n3 apply 1.3:c\n 160 n1 apply 1.3:c", "valid");
    check(
        "140 n3 snapshot take 1.2\n 150 n3 apply 1.3:c\n 160 n1 apply 1.3:c",
        "invalid
         - n3 applied (1, 3) without (1, 1), which n1 had applied",
    );
}

#[test]
fn nothing_applied_is_unknown_and_so_are_logs_of_another_kind() {
    check_raft(
        "state-divergence",
        "0 boot\n 100 n1 elected 1",
        "unknown (nothing was applied, so no states could differ)",
    );
    check_transcript(
        "state-divergence",
        Transcript::of("zab", 3, BEGIN),
        "unknown (the positions of `zab` in its log are not indices without a gap)",
    );
}
