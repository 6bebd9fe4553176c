use crate::transcript::{Transcript, check_transcript};

#[track_caller]
fn check(events: &str, expected: &str) {
    let transcript = Transcript::of("paxos", 3, &format!("0 boot\n{events}"));
    check_transcript("agreement", transcript.without("leader-elected"), expected);
}

/// A majority accepts `a` in ballot 1 of n1; then n3 accepts another value in a later ballot.
fn accepted(later: &str) -> String {
    format!(
        "10 n1 append 1.1:a
         11 n1 ack accepted n1 1 1.1
         20 n2 append 1.1:a
         21 n2 ack accepted n1 1 1.1
         {later}"
    )
}

#[test]
fn one_value_is_chosen_per_instance() {
    // What a minority accepted may be replaced.
    check(&accepted("30 n3 append 2.1:b\n 31 n3 ack accepted n3 2 2.1"), "valid");
    let again = "30 n3 append 2.1:b
        31 n3 ack accepted n3 2 2.1
        40 n2 append 2.1:b
        41 n2 ack accepted n3 2 2.1";
    check(
        &accepted(again),
        "invalid
         - n2 and n3 chose b for instance 1 in ballot 2 of n3, and a had been chosen in ballot 1 of n1",
    );
    check(&accepted(&again.replace(":b", ":a")), "valid");
    check(&accepted(&again.replace(".1", ".2")), "valid");
}

#[test]
fn one_value_is_proposed_per_ballot() {
    let text = accepted("30 n3 append 1.1:b\n 31 n3 ack accepted n1 1 1.1");
    check(
        &text,
        "invalid
         - n3 accepted b for instance 1 in ballot 1 of n1, in which n1 and n2 had accepted a",
    );
    // Another proposer may use the same counter.
    check(&text.replace("n3 ack accepted n1", "n3 ack accepted n3"), "valid");
}

#[test]
fn what_is_decided_is_what_was_chosen() {
    check(&accepted("30 n3 append 1.1:a\n 31 n3 commit 1.1"), "valid");
    check(
        &accepted("30 n3 append 2.1:b\n 31 n3 commit 2.1"),
        "invalid
         - n3 decided b for instance 1, for which a had been chosen in ballot 1 of n1",
    );
    check(&accepted("30 n2 commit 1.1\n 40 n3 apply 1.1:a"), "valid");
    check(
        &accepted("30 n2 commit 1.1\n 40 n3 apply 1.1:b"),
        "invalid
         - n3 decided b for instance 1, for which n2 had decided a",
    );
}

#[test]
fn without_acceptances_or_a_choice_nothing_is_known() {
    check("10 n1 append 1.1:a", "unknown (no acceptance was told with its value)");
    check(
        "10 n1 append 1.1:a\n 11 n1 ack accepted n1 1 1.1",
        "unknown (nothing was chosen, so nothing could be agreed on)",
    );
}
