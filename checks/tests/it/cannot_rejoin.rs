use crate::transcript::{check, check_raft};

/// n3 leads and n1 follows; n2 is restarted. The bound is five seconds.
#[track_caller]
fn restarted(events: &str, expected: &str) {
    check("cannot-rejoin", &with(events), expected);
}

fn with(events: &str) -> String {
    format!(
        "0 boot
         100 n3 elected 1
         110 n1 knows n3 1
         110 n2 knows n3 1
         1000 begin 1 kill down n2
         1000 exit n2 ok
         1001 end 1 kill down n2
         1100 begin 2 restart up n2
         1101 spawn n2
         1110 n2 start 1
         1110 ready n2
         1110 end 2 restart up n2
         {events}"
    )
}

#[test]
fn a_node_that_never_follows_the_leader_is_rejected() {
    restarted(
        "9000 phase stop",
        "invalid
         - n2 did not come to follow n3 for 7.8 s although it could reach it (at most 5 s are allowed)",
    );
}

#[test]
fn one_that_comes_to_know_it_is_fine() {
    restarted("4000 n2 knows n3 1\n19000 phase stop", "valid");
}

#[test]
fn one_that_knows_another_does_not_follow_this_one() {
    restarted(
        "2000 n2 knows n1 1
         9000 phase stop",
        "invalid
         - n2 did not come to follow n3 for 7.8 s although it could reach it (at most 5 s are allowed)",
    );
}

#[test]
fn one_that_cannot_reach_the_leader_is_not_judged() {
    restarted(
        "2000 begin 3 cut cut n3>n2
         2001 end 3 cut cut n3>n2
         9000 phase stop",
        "valid",
    );
}

/// One follower and the leader settled on the leader: n2 needs the word of both.
#[test]
fn who_joins_by_a_majority_is_not_judged_where_only_the_leader_is_heard() {
    let cut = "2000 begin 3 cut cut n1>n2\n2001 end 3 cut cut n1>n2\n9000 phase stop";
    restarted(cut, "valid");
    check_raft(
        "cannot-rejoin",
        &with(cut),
        "invalid
         - n2 did not come to follow n3 for 6.9 s although it could reach it (at most 5 s are allowed)",
    );
    let healed = "2000 begin 3 cut cut n1>n2\n2001 end 3 cut cut n1>n2\n\
                  3000 begin 4 heal healed n1>n2\n3001 end 4 heal healed n1>n2\n9000 phase stop";
    restarted(
        healed,
        "invalid
         - n2 did not come to follow n3 for 5.9 s although it could reach it (at most 5 s are allowed)",
    );
}

#[test]
fn where_nobody_leads_there_is_nobody_to_follow() {
    restarted("2000 n3 role looking\n9000 phase stop", "valid");
}

#[test]
fn a_node_that_is_no_member_is_not_judged() {
    restarted("1200 n2 stranger n1 n3\n9000 phase stop", "valid");
    restarted(
        "1200 n2 stranger n1 n2 n3\n9000 phase stop",
        "invalid
         - n2 did not come to follow n3 for 7.8 s although it could reach it (at most 5 s are allowed)",
    );
}

#[test]
fn a_node_that_was_removed_is_not_judged() {
    let rejected = |since: &str| {
        format!(
            "invalid
             - n2 did not come to follow n3 for {since} s although it could reach it (at most 5 s are \
             allowed)"
        )
    };
    restarted("1200 n3 config commit 1.2 n1 n3\n9000 phase stop", "valid");
    restarted("1200 n3 config commit 1.2 n1 n2 n3\n9000 phase stop", &rejected("7.8"));
    // A learner follows, too.
    restarted("1200 n3 config commit 1.2 n1 n3 learn n2\n9000 phase stop", &rejected("7.8"));
    // While the change is not committed it may be undone.
    restarted("1200 n3 config append 1.2 n1 n3\n9000 phase stop", "valid");
    restarted(
        "1200 n3 config append 1.2 n1 n3\n1500 n3 config revert 0.0 n1 n2 n3\n9000 phase stop",
        &rejected("7.5"),
    );
}

#[test]
fn one_that_knows_the_leader_from_an_earlier_term_does_not_follow_it() {
    let led_again = |more: &str| {
        format!(
            "0 boot
             100 n3 elected 1
             110 n1 knows n3 1
             110 n2 knows n3 1
             1000 n3 role follower
             1100 n1 elected 2
             1200 n1 role follower
             1300 n3 elected 3
             1310 n1 knows n3 3
             {more}
             9000 phase stop"
        )
    };
    let expected = "invalid
         - n2 did not come to follow n3 for 7.7 s although it could reach it (at most 5 s are allowed)";
    check_raft("cannot-rejoin", &led_again(""), expected);
    check_raft("cannot-rejoin", &led_again("1320 n2 knows n3 3"), "valid");
    // Its belief has not changed, and so it need not tell of it again.
    check_raft("cannot-rejoin", &led_again("1320 n2 term 3"), "valid");
    // Some logs tell whom a node follows, and not in which term.
    check_raft("cannot-rejoin", &led_again("1320 n2 knows n3 0"), "valid");
}
