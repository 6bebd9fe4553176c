use crate::transcript::check_raft;

const BEGIN: &str = "0 boot
    100 n1 elected 1
    110 n1 apply 1.1:a op 7.1
    120 n1 apply 1.2:b op 7.2
    130 n2 apply 1.1:a op 7.1\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_raft("duplicate-apply", &format!("{BEGIN}{events}"), expected);
}

#[test]
fn a_command_takes_effect_at_one_place() {
    check("140 n1 apply 1.3:c op 7.3\n 150 n1 apply 1.4:c op 8.3", "valid");
    check(
        "140 n1 apply 1.3:b op 7.2",
        "invalid
         - n1 applied command 2 of session 7 at (1, 3), which it had applied at (1, 2)",
    );
    check(
        "140 n2 apply 1.2:b op 7.1",
        "invalid
         - n2 applied command 1 of session 7 at (1, 2), which n1 had applied at (1, 1)",
    );
}

#[test]
fn a_retry_that_had_no_effect_is_told_without_its_session() {
    check("140 n1 apply 1.3:b\n 150 n2 apply 1.2:b op 7.2\n 160 n2 apply 1.3:b", "valid");
}

#[test]
fn a_command_takes_effect_once() {
    check(
        "140 n1 apply 1.2:b op 7.2",
        "invalid
         - n1 applied command 2 of session 7 at (1, 2) after it had applied (1, 2)",
    );
    check(
        "140 n1 apply 1.1:a op 7.1",
        "invalid
         - n1 applied command 1 of session 7 at (1, 1) after it had applied (1, 2)",
    );
}

#[test]
fn a_restart_may_apply_again() {
    check(
        "140 exit n1 ok
         150 spawn n1
         150 n1 found last 1.2
         160 n1 apply 1.1:a op 7.1
         170 n1 apply 1.2:b op 7.2",
        "valid",
    );
}

#[test]
fn without_sessions_nothing_is_known() {
    check_raft(
        "duplicate-apply",
        "0 boot\n 100 n1 elected 1\n 110 n1 apply 1.1:a\n 120 n1 apply 1.2:a",
        "unknown (no command of a session was applied, so none could be twice)",
    );
}
