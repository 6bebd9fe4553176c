use crate::transcript::check;

#[track_caller]
fn led(events: &str, expected: &str) {
    check(
        "term-rollback",
        &format!(
            "0 boot\n50 n3 persist current-epoch 1\n100 n3 elected 1\n{events}\n900 phase stop"
        ),
        expected,
    );
}

#[test]
fn an_epoch_that_a_restart_has_forgotten_is_rejected() {
    led(
        "200 n1 persist current-epoch 4
         300 spawn n1
         300 n1 start 3",
        "invalid
         - n1 started with current epoch 3 although it had been at 4",
    );
}

#[test]
fn an_acceptance_that_was_told_and_not_stored_is_rejected() {
    led(
        "200 n1 acks n3 4
         300 spawn n1
         300 n1 restarts-accepted 3",
        "invalid
         - n1 started with accepted epoch 3 although it had been at 4",
    );
    led("200 n1 acks n3 4\n300 spawn n1\n300 n1 restarts-accepted 4", "valid");
}

#[test]
fn what_was_in_memory_alone_is_rightly_gone_with_the_node() {
    // Its disk stalls, so nobody is answered; then it loses its power.
    let restarted = "300 spawn n1\n300 n1 start 3";
    led(&format!("200 n1 term 4\n{restarted}"), "valid");
    led(
        &format!("200 n1 term 4\n210 n1 persist current-epoch 4\n{restarted}"),
        "invalid
         - n1 started with current epoch 3 although it had been at 4",
    );
    led(
        &format!("200 n1 term 4\n{restarted}\n400 n1 term 5\n500 n1 term 4"),
        "invalid
         - n1 went to current epoch 4 although it had been at 5",
    );
    // What it knew before is still what counts.
    led(
        &format!("150 n1 persist current-epoch 4\n200 n1 term 5\n{restarted}"),
        "invalid
         - n1 started with current epoch 3 although it had been at 4",
    );
}

#[test]
fn a_wiped_disk_is_no_rollback_and_a_skipped_wipe_is_none() {
    let events = |outcome: &str| {
        format!(
            "200 n1 persist current-epoch 4
             300 begin 1 wipe none n1
             300 end 1 wipe none n1 {outcome}
             310 spawn n1
             310 n1 start 3"
        )
    };
    led(&events(""), "valid");
    led(
        &events("skipped"),
        "invalid
         - n1 started with current epoch 3 although it had been at 4",
    );
}

#[test]
fn going_back_in_memory_or_on_the_disk_is_rejected() {
    led(
        "200 n1 persist accepted-epoch 4
         300 n1 persist accepted-epoch 2",
        "invalid
         - n1 stored accepted epoch 2 although it had been at 4",
    );
    led(
        "200 n1 term 4
         300 n1 term 2",
        "invalid
         - n1 went to current epoch 2 although it had been at 4",
    );
}

#[test]
fn the_term_of_a_stored_vote_is_stored() {
    let stored = |what: &str| format!("200 n1 persist {what} 4\n300 spawn n1\n300 n1 found term 3");
    for what in ["vote", "term", "hard-state"] {
        let expected = "invalid
             - n1 started with term 3 although it had been at 4";
        led(&stored(what), expected);
        led(&stored(what).replace('3', "4").replace("400", "300"), "valid");
    }
}

#[test]
fn what_only_rises_is_fine_and_nodes_are_apart() {
    led(
        "200 n1 persist current-epoch 4
         210 n2 persist current-epoch 2
         300 spawn n1
         300 n1 start 4
         310 n1 persist current-epoch 5",
        "valid",
    );
}
