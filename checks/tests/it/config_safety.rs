use crate::transcript::{Transcript, check_transcript};

/// n1 leads five nodes in term 1 and has committed an entry of it.
const BEGIN: &str = "0 boot
    100 n1 elected 1 by n1 n2 n3
    110 n1 append 1.1:a
    120 n1 commit 1.1 by n1 n2 n3\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    let transcript = Transcript::of("raft", 5, &format!("{BEGIN}{events}"));
    check_transcript("config-safety", transcript, expected);
}

#[test]
fn a_decision_takes_a_majority_of_those_who_vote() {
    check("130 n1 commit 1.1 by n1 n2 n3", "valid (the configuration never changed)");
    check(
        "130 n1 commit 1.1 by n1 n2",
        "invalid (the configuration never changed)
         - n1 committed up to (1, 1) by n1 and n2, which is no quorum of its configuration: n1, n2, \
         n3, n4 and n5",
    );
    // A leader that does not say whose votes it had shows nothing.
    check("200 n2 elected 2", "valid (the configuration never changed)");
    check(
        "200 n2 elected 2 by n2 n3",
        "invalid (the configuration never changed)
         - n2 came to lead term 2 by n2 and n3, which is no quorum of its configuration: n1, n2, n3, \
         n4 and n5",
    );
}

#[test]
fn a_configuration_is_in_force_from_its_entry_on() {
    let text = |by: &str| {
        format!(
            "200 n1 config append 1.2 n1 n2 n3 n4
             210 n1 commit 1.2 by {by}
             210 n1 config commit 1.2 n1 n2 n3 n4"
        )
    };
    check(&text("n1 n2 n3"), "valid");
    check(
        &text("n1 n2 n5"),
        "invalid
         - n1 committed up to (1, 2) by n1, n2 and n5, which is no quorum of its configuration: n1, \
         n2, n3 and n4",
    );
    // An entry that is removed takes its configuration with it.
    let reverted = "200 n1 config append 1.2 n1 n2 n3 n4
        210 n1 truncate 1.2 1.2
        210 n1 config revert 0.0 n1 n2 n3 n4 n5
        220 n1 commit 1.2 by n1 n2 n5";
    check(reverted, "valid");
}

#[test]
fn a_joint_configuration_takes_a_majority_of_each() {
    let text = |by: &str| {
        format!(
            "200 n1 config append 1.2 n3 n4 n5 out n1 n2 n3 n4 n5
             210 n1 commit 1.2 by {by}
             210 n1 config commit 1.2 n3 n4 n5 out n1 n2 n3 n4 n5
             220 n1 config append 1.3 n3 n4 n5"
        )
    };
    check(&text("n1 n3 n4"), "valid");
    let words =
        "which is no quorum of its configuration: n3, n4 and n5 jointly with n1, n2, n3, n4 and n5";
    check(
        &text("n1 n2 n3"),
        &format!("invalid\n- n1 committed up to (1, 2) by n1, n2 and n3, {words}"),
    );
    check(&text("n3 n4"), &format!("invalid\n- n1 committed up to (1, 2) by n3 and n4, {words}"));
}

#[test]
fn majorities_of_configurations_that_follow_each_other_meet() {
    check("200 n1 config append 1.2 n1 n2 n3 n4", "valid");
    check(
        "200 n1 config append 1.2 n1 n2 n3",
        "invalid
         - the configuration n1, n2, n3, n4 and n5 was followed at (1, 2) by n1, n2 and n3: n1, n4 \
         and n5 decide by the first, n2 and n3 by the second, and do not meet",
    );
}

#[test]
fn one_change_at_a_time_and_after_an_entry_of_the_own_term() {
    let text = |commit: &str| {
        format!(
            "200 n1 config append 1.2 n1 n2 n3 n4
             {commit}
             220 n1 config append 1.3 n1 n2 n3"
        )
    };
    check(&text("210 n1 commit 1.2 by n1 n2 n3"), "valid");
    check(
        &text(""),
        "invalid
         - n1 changed the configuration at (1, 3) although the change at (1, 2) was not committed",
    );
    check(
        "200 n2 elected 2 by n2 n3 n4\n 210 n2 append 2.2:b\n 215 n2 commit 2.2 by n2 n3 n4\n 220 n2 config append 2.3 n1 n2 n3 n4",
        "valid",
    );
    check(
        "200 n2 elected 2 by n2 n3 n4\n 220 n2 config append 2.2 n1 n2 n3 n4",
        "invalid
         - n2 changed the configuration at (2, 2) before it had committed anything of term 2",
    );
    // A follower gets several at once.
    check(
        "200 n1 config append 1.2 n1 n2 n3 n4
         210 n1 commit 1.2 by n1 n2 n3
         220 n1 config append 1.3 n1 n2 n3
         230 n4 config append 1.2 n1 n2 n3 n4
         230 n4 config append 1.3 n1 n2 n3",
        "valid",
    );
}

#[test]
fn an_index_is_committed_as_one_configuration() {
    let text = |voters: &str| {
        format!(
            "200 n1 config append 1.2 n1 n2 n3 n4
             210 n1 commit 1.2 by n1 n2 n3
             210 n1 config commit 1.2 n1 n2 n3 n4
             220 n5 config commit 1.2 {voters}"
        )
    };
    check(&text("n1 n2 n3 n4"), "valid");
    check(
        &text("n1 n2 n3 n5"),
        "invalid
         - n5 committed (1, 2) as the configuration n1, n2, n3 and n5, and n1 had committed (1, 2) as \
         n1, n2, n3 and n4",
    );
}

#[test]
fn a_leader_that_is_removed_stops_once_that_is_committed() {
    let text = |after: &str| {
        format!(
            "200 n1 config append 1.2 n2 n3 n4 n5
             205 n1 append 1.3:c
             210 n1 commit 1.2 by n2 n3 n4
             210 n1 config commit 1.2 n2 n3 n4 n5
             {after}"
        )
    };
    check(&text("211 n1 sent n1 1\n 212 n1 role follower\n 230 n1 append 1.4:d"), "valid");
    check(
        &text("220 n1 commit 1.3 by n2 n3 n4"),
        "invalid
         - n1 went on leading after its removal at (1, 2) was committed: it committed up to (1, 3)",
    );
    check(
        &text("450 n1 sent n1 1"),
        "invalid
         - n1 went on leading after its removal at (1, 2) was committed: it sent heartbeats",
    );
}

#[test]
fn without_a_decision_nothing_is_known() {
    let transcript = Transcript::of("raft", 3, "0 boot\n 10 n1 prospective 1 by n1 n2");
    check_transcript("config-safety", transcript, "unknown (nothing was decided by a quorum)");
}
