use crate::transcript::check;

/// n3 leads from 100 ms on. The bound is two seconds.
#[track_caller]
fn led(events: &str, expected: &str) {
    let text = format!(
        "0 boot
         100 n3 elected 1
         {events}"
    );
    check("zombie-leader", &text, expected);
}

const CUT: &str = "1000 begin 1 isolate cut n3>n1 n1>n3 n3>n2 n2>n3
                   1001 end 1 isolate cut n3>n1 n1>n3 n3>n2 n2>n3";

#[test]
fn a_leader_that_is_cut_off_and_goes_on_is_rejected() {
    led(
        &format!("{CUT}\n1500 n2 elected 2\n4000 n3 role looking\n5000 phase stop"),
        "invalid
         - n3 went on leading for 2.9 s although it reached nobody (at most 2 s are allowed)",
    );
}

#[test]
fn one_that_gives_up_in_time_is_fine() {
    led(&format!("{CUT}\n1500 n3 role looking\n5000 phase stop"), "valid");
}

#[test]
fn one_direction_is_enough_to_be_cut_off() {
    led(
        "1000 begin 1 cut cut n1>n3 n2>n3
         1001 end 1 cut cut n1>n3 n2>n3
         5000 phase stop",
        "invalid
         - n3 went on leading for 3.9 s although it reached nobody (at most 2 s are allowed)",
    );
}

#[test]
fn followers_that_are_down_are_no_majority() {
    led(
        "1000 begin 1 kill down n1 n2
         1000 exit n1 ok
         1000 exit n2 ok
         1001 end 1 kill down n1 n2
         5000 phase stop",
        "invalid
         - n3 went on leading for 3.9 s although it reached nobody (at most 2 s are allowed)",
    );
}

#[test]
fn with_one_follower_of_two_it_has_a_majority() {
    led(
        "1000 begin 1 cut cut n1>n3
         1001 end 1 cut cut n1>n3
         9000 phase stop",
        "valid",
    );
}

#[test]
fn a_stopped_leader_does_not_lead() {
    led(
        &format!(
            "{CUT}
             1100 begin 2 pause frozen n3
             1101 end 2 pause frozen n3
             9000 phase stop"
        ),
        "valid",
    );
}

#[test]
fn a_link_that_heals_in_time_is_fine() {
    led(
        &format!(
            "{CUT}
             2500 begin 2 heal healed n1>n3 n3>n1
             2501 end 2 heal healed n1>n3 n3>n1
             9000 phase stop"
        ),
        "valid",
    );
}

/// The pause and the resume of both followers overlap: the pause is still looked at when the resume has
/// ended.
#[track_caller]
fn paused_and_resumed(resumed: u64, outcome: &str, expected: &str) {
    led(
        &format!(
            "1000 begin 1 pause frozen n1 n2
             1001 begin 2 resume thawed n1 n2
             1003 end 2 resume thawed n1 n2 acted={resumed}
             1500 end 1 pause frozen n1 n2 {outcome} acted=1001
             5000 phase stop"
        ),
        expected,
    );
}

#[test]
fn followers_that_were_resumed_before_anybody_saw_them_stop_are_there() {
    paused_and_resumed(1002, "indeterminate", "valid");
    paused_and_resumed(1002, "installed", "valid");
}

#[test]
fn followers_that_stop_after_they_were_resumed_are_gone() {
    let expected = "invalid
         - n3 went on leading for 3.5 s although it reached nobody (at most 2 s are allowed)";
    paused_and_resumed(1000, "installed", expected);
}

/// The leader is cut off and healed; while that is looked at, its links are cut again, at this time.
#[track_caller]
fn healed_and_cut_again(again: u64, expected: &str) {
    led(
        &format!(
            "{CUT}
             1100 begin 2 heal healed n3>n1 n1>n3 n3>n2 n2>n3
             1102 begin 3 isolate cut n3>n1 n1>n3 n3>n2 n2>n3
             1103 end 3 isolate cut n3>n1 n1>n3 n3>n2 n2>n3 acted={again}
             1105 end 2 heal healed n3>n1 n1>n3 n3>n2 n2>n3 acted=1101
             5000 phase stop"
        ),
        expected,
    );
}

#[test]
fn a_link_that_is_cut_while_its_heal_is_looked_at_is_cut() {
    let expected = "invalid
         - n3 went on leading for 3.8 s although it reached nobody (at most 2 s are allowed)";
    healed_and_cut_again(1102, expected);
    healed_and_cut_again(1100, "valid");
}

#[test]
fn a_link_that_is_slowed_while_its_heal_is_looked_at_is_not_cut_any_more() {
    led(
        &format!(
            "{CUT}
             1100 begin 2 heal healed n3>n1 n1>n3 n3>n2 n2>n3
             1102 begin 3 delay degraded n3>n1 n1>n3 n3>n2 n2>n3
             1103 end 3 delay degraded n3>n1 n1>n3 n3>n2 n2>n3 acted=1102
             1105 end 2 heal healed n3>n1 n1>n3 n3>n2 n2>n3 acted=1101
             5000 phase stop"
        ),
        "valid",
    );
}
