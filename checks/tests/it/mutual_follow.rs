use crate::transcript::check;

/// n3 led, and yields; what the others do then is up to the test. The bound is 1.5 s.
#[track_caller]
fn after_yielding(events: &str, expected: &str) {
    let text = format!(
        "0 boot
         100 n3 elected 1
         110 n1 role follower
         110 n1 knows n3 1
         110 n2 role follower
         110 n2 knows n3 1
         {events}"
    );
    check("mutual-follow", &text, expected);
}

#[test]
fn two_nodes_that_follow_each_other_are_rejected() {
    after_yielding(
        "1000 n1 knows n2 1
         1001 n2 knows n1 1
         4000 phase stop",
        "invalid
         - n1 follows n2 and n2 follows n1, for 2.9 s: nobody of them leads",
    );
}

#[test]
fn a_circle_of_three_is_named_whole() {
    after_yielding(
        "1000 n3 role follower
         1000 n3 knows n1 1
         1001 n1 knows n2 1
         4000 phase stop",
        "invalid
         - n1 follows n2, n2 follows n3 and n3 follows n1, for 2.9 s: nobody of them leads",
    );
}

#[test]
fn a_belief_in_a_follower_is_rejected_only_when_it_persists() {
    after_yielding(
        "1000 n1 knows n2 1\n4000 phase stop",
        "invalid
         - n1 follows n2, for 3 s, although that node does not lead",
    );
    // Who has just heard a leader that steps down may wait for it for two election timeouts.
    after_yielding("1000 n1 knows n2 1\n2400 n1 knows n3 1\n4000 phase stop", "valid");
    after_yielding(
        "1000 n1 knows n2 1\n2600 n1 knows n3 1\n4000 phase stop",
        "invalid
         - n1 follows n2, for 1.6 s, although that node does not lead",
    );
}

#[test]
fn a_node_that_runs_for_leader_may_be_followed() {
    after_yielding(
        "1000 n2 role looking
         1000 n1 knows n2 1
         4000 phase stop",
        "valid",
    );
}

#[test]
fn a_dead_or_frozen_node_that_is_followed_is_another_matter() {
    after_yielding(
        "1000 n1 knows n2 1
         1500 begin 1 pause frozen n2
         1501 end 1 pause frozen n2
         9000 phase stop",
        "valid",
    );
    after_yielding(
        "1000 n1 knows n2 1
         1500 begin 1 cut cut n2>n1
         1501 end 1 cut cut n2>n1
         9000 phase stop",
        "valid",
    );
}

#[test]
fn a_change_of_the_topology_restarts_the_clock() {
    after_yielding(
        "1000 n1 knows n2 1
         1900 begin 1 cut cut n3>n2
         1900 end 1 cut cut n3>n2
         3300 n1 knows n3 1
         9000 phase stop",
        "valid",
    );
}

#[test]
fn a_run_in_which_nobody_tells_whom_it_follows_is_unknown() {
    check(
        "mutual-follow",
        "0 boot\n100 n3 elected 1\n900 phase stop",
        "unknown (no node ever told whom it follows)",
    );
}

#[test]
fn a_circle_that_closes_late_is_one_finding() {
    after_yielding(
        "1000 n1 knows n2 1
         1500 n2 knows n1 1
         2100 n3 votes n3 1
         4000 phase stop",
        "invalid
         - n1 follows n2 and n2 follows n1, for 2.5 s: nobody of them leads",
    );
}

#[test]
fn nothing_is_judged_between_the_begin_and_the_end_of_a_fault() {
    after_yielding(
        "1000 n1 knows n2 1
         1500 begin 1 heal healed
         5000 end 1 heal healed
         5900 phase stop",
        "valid",
    );
}
