use crate::transcript::{Transcript, check, check_transcript};

#[test]
fn an_epoch_accepted_for_two_leaders_is_rejected() {
    check(
        "double-vote",
        "0 boot
         100 n3 elected 1
         200 n1 accepts n3 2
         300 spawn n1
         300 n1 start 1
         400 n1 accepts n2 2
         500 phase stop",
        "invalid
         - n1 accepted n3 and then n2 as leader of epoch 2",
    );
}

#[test]
fn what_was_told_counts_as_what_was_stored() {
    check(
        "double-vote",
        "0 boot
         100 n3 elected 1
         200 n1 acks n3 2
         400 n1 acks n2 2
         500 phase stop",
        "invalid
         - n1 accepted n3 and then n2 as leader of epoch 2",
    );
}

#[test]
fn the_same_leader_may_be_accepted_again_and_another_in_another_epoch() {
    check(
        "double-vote",
        "0 boot
         100 n3 elected 1
         200 n1 accepts n3 2
         210 n1 acks n3 2
         220 n1 acks n3 2
         300 n2 accepts n2 2
         400 n1 accepts n2 3
         500 phase stop",
        "valid",
    );
}

#[test]
fn votes_of_fast_election_may_be_changed_and_those_of_raft_may_not() {
    let text = "0 boot
         100 n3 elected 1
         150 n1 accepts n3 1
         200 n1 votes n3 2
         300 n1 votes n2 2
         500 phase stop";
    check("double-vote", text, "valid");
    check_transcript(
        "double-vote",
        Transcript::of("raft", 3, text),
        "invalid
         - n1 voted for n3 and then n2 as leader of term 2",
    );
    check_transcript("double-vote", Transcript::of("paxos", 3, text), "valid");
}

#[test]
fn a_vote_that_was_stored_counts_as_one_that_was_cast() {
    let text = |whom: &str| {
        format!(
            "0 boot
             100 n3 elected 1
             200 n1 persist hard-state 2 for n3
             300 spawn n1
             300 n1 start 2
             400 n1 persist hard-state 2 for {whom}
             500 phase stop"
        )
    };
    let raft = |text: &str| Transcript::of("raft", 3, text);
    check_transcript("double-vote", raft(&text("n3")), "valid");
    check_transcript(
        "double-vote",
        raft(&text("n2")),
        "invalid
         - n1 voted for n3 and then n2 as leader of term 2",
    );
}

#[test]
fn where_nobody_told_of_an_acceptance_nothing_is_known() {
    let text = "0 boot
         100 n3 elected 1
         200 n1 votes n3 2
         300 n1 votes n2 2
         500 phase stop";
    check("double-vote", text, "unknown (no node told that it accepted an epoch)");
}
