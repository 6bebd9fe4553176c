use crate::transcript::{Transcript, check, check_transcript};

const NEW_LEADER: &str = "0 boot
     100 n1 elected 1
     150 n2 term 1
     160 n2 knows n1 1
     200 n2 accepted n1 1
     300 exit n1 ok
     800 n3 elected 2
     810 n2 term 2
     820 n2 knows n3 2
     830 n2 accepted n3 2
";

#[track_caller]
fn after_a_new_leader(events: &str, expected: &str) {
    check("stale-leader-heartbeat", &format!("{NEW_LEADER}{events}\n2000 phase end"), expected);
}

#[test]
fn accepting_an_older_term_is_rejected_and_counted() {
    after_a_new_leader(
        "900 n2 accepted n1 1
         950 n2 accepted n1 1",
        "invalid
         - n2 accepted 2 heartbeats of n1 for epoch 1 although it had been in epoch 2",
    );
}

#[test]
fn rejecting_an_older_term_is_right() {
    after_a_new_leader("900 n2 rejected n1 1\n910 n2 accepted n3 2", "valid");
}

#[test]
fn a_node_that_changes_its_mind_first_is_caught_too() {
    // A defect that believes whoever sends: the term goes back and the leader is another one.
    after_a_new_leader(
        "890 n2 term 1
         891 n2 knows n1 1
         900 n2 accepted n1 1",
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 1 although it had been in epoch 2",
    );
    after_a_new_leader(
        "891 n2 knows n1 2
         900 n2 accepted n1 2",
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 2 although it had followed n3 as leader of that epoch",
    );
}

#[test]
fn a_restart_does_not_forget_what_was_persisted() {
    let restarted = "850 n2 persist current-epoch 2
         860 exit n2 ok
         870 spawn n2
         880 n2 start 0
         881 ready n2";
    after_a_new_leader(
        &format!("{restarted}\n900 n2 accepted n1 1"),
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 1 although it had been in epoch 2",
    );
    after_a_new_leader(&format!("{restarted}\n900 n2 accepted n3 2"), "valid");
}

#[test]
fn a_term_that_was_only_in_memory_may_be_forgotten() {
    check(
        "stale-leader-heartbeat",
        "0 boot
         100 n1 elected 1
         200 n2 term 2
         300 exit n2 ok
         310 spawn n2
         320 n2 start 1
         330 ready n2
         400 n2 accepted n1 1
         900 phase end",
        "valid",
    );
}

#[test]
fn a_heartbeat_of_another_leader_of_the_same_term_is_rejected() {
    after_a_new_leader(
        "900 n2 accepted n1 2",
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 2 although it knew n3 as leader of that epoch",
    );
}

#[test]
fn a_follower_that_never_heard_the_leader_is_measured_by_what_was_established() {
    check(
        "stale-leader-heartbeat",
        "0 boot
         100 n3 elected 1
         200 n2 accepted n1 1
         900 phase end",
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 1 although the cluster had established n3 as leader of that epoch",
    );
}

#[test]
fn a_heartbeat_that_names_somebody_else_is_rejected() {
    after_a_new_leader(
        "900 n2 accepted n3 2 via n1",
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 2 although it names n3 as the leader",
    );
    after_a_new_leader("900 n2 accepted n3 2 via n3", "valid");
}

#[test]
fn a_minority_that_has_not_heard_may_accept_its_old_leader() {
    check(
        "stale-leader-heartbeat",
        "0 boot
         100 n1 elected 1
         200 n2 accepted n1 1
         800 n3 elected 2
         900 n2 accepted n1 1
         950 phase end",
        "valid",
    );
}

#[test]
fn a_higher_proposer_of_the_same_ballot_counter_is_a_newer_leader() {
    let text = "0 boot
         100 n1 elected 1
         200 n3 accepted n1 1
         300 n2 elected 1
         400 n3 accepted n2 1";
    let after = Transcript::of("multipaxos", 3, text);
    check_transcript("stale-leader-heartbeat", after, "valid");
    let back = Transcript::of("multipaxos", 3, &format!("{text}\n500 n3 accepted n1 1"));
    check_transcript(
        "stale-leader-heartbeat",
        back,
        "invalid
         - n3 accepted 1 heartbeat of n1 for ballot 1 although it had followed n2 as leader of that ballot",
    );
}

#[test]
fn a_run_without_an_accepted_heartbeat_is_unknown() {
    check(
        "stale-leader-heartbeat",
        "0 boot\n100 n1 elected 1\n200 n2 rejected n1 0\n900 phase end",
        "unknown (nobody accepted a heartbeat, so none could be wrong)",
    );
}

#[test]
fn every_sign_of_a_higher_term_counts() {
    for signs in [
        "200 n2 term 2\n210 n2 term 0",
        "200 n2 knows n3 2",
        "200 n2 accepted n3 2",
        "200 n2 persist hard-state 2",
        "200 n2 persist promise 2",
        "200 n2 persist term 2",
        "200 n2 persist vote 2 for n2",
        // What a node found on its disk counts for the incarnations after it, too.
        "200 exit n2 ok
         210 spawn n2
         220 n2 start 2
         230 exit n2 ok
         240 spawn n2
         250 n2 start 0",
    ] {
        check(
            "stale-leader-heartbeat",
            &format!("0 boot\n100 n1 elected 1\n{signs}\n300 n2 accepted n1 1\n900 phase end"),
            "invalid
             - n2 accepted 1 heartbeat of n1 for epoch 1 although it had been in epoch 2",
        );
    }
    // An accepted epoch that was never established is no term.
    check(
        "stale-leader-heartbeat",
        "0 boot
         100 n1 elected 1
         200 n2 persist accepted-epoch 2
         300 n2 accepted n1 1
         900 phase end",
        "valid",
    );
}

#[test]
fn whose_disk_was_taken_away_is_not_held_to_what_was_on_it() {
    let wiped = |outcome: &str| {
        format!(
            "0 boot
             100 n1 elected 1
             200 n2 persist hard-state 5
             210 exit n2 ok
             220 begin 1 wipe none n2
             220 end 1 wipe none n2 {outcome}
             230 spawn n2
             230 n2 start 0
             240 ready n2
             300 n2 accepted n1 1
             900 phase end"
        )
    };
    check("stale-leader-heartbeat", &wiped(""), "valid");
    check(
        "stale-leader-heartbeat",
        &wiped("skipped"),
        "invalid
         - n2 accepted 1 heartbeat of n1 for epoch 1 although it had been in epoch 5",
    );
}
