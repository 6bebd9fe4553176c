//! Who decides is a matter of the configuration in force: each rule on five processes, of which not all
//! vote, judged both ways.

use crate::transcript::{Transcript, check_transcript};

#[track_caller]
fn check(name: &str, text: &str, expected: &str) {
    check_transcript(name, Transcript::of("raft", 5, &format!("0 boot\n{text}")), expected);
}

/// Processes end, and their end is seen.
fn killed(at: u64, nodes: &[&str]) -> String {
    let exits: String = nodes.iter().map(|node| format!("{at} exit {node} ok\n")).collect();
    let list = nodes.join(" ");
    format!("{at} begin 1 kill down {list}\n{exits}{at} end 1 kill down {list}\n")
}

/// n1 leads five processes until 900 ms; `before` and `after` it goes.
#[track_caller]
fn leaderless(before: &str, after: &str, expected: &str) {
    let text =
        format!("100 n1 elected 1\n{before}\n900 n1 role follower\n{after}\n9000 phase stop");
    check("no-leader", &text, expected);
}

fn nobody_led(seconds: &str, who: &str) -> String {
    format!(
        "invalid
         - nobody led for {seconds} s although {who} were up and connected (at most 5 s are allowed)"
    )
}

#[test]
fn a_majority_is_one_of_the_voters() {
    let voters = "200 n1 config commit 1.1 n1 n2 n3";
    // Three of five processes live, and one of three voters.
    leaderless(voters, &killed(1000, &["n2", "n3"]), "valid");
    // Two of five processes live, and they are two of three voters.
    leaderless(voters, &killed(1000, &["n3", "n4", "n5"]), &nobody_led("8", "n1 and n2"));
    // Where nothing is told of a configuration, every process counts.
    leaderless("", &killed(1000, &["n3", "n4", "n5"]), "valid");
    leaderless("", &killed(1000, &["n2", "n3"]), &nobody_led("8", "n1, n4 and n5"));
}

#[test]
fn a_node_that_starts_tells_who_votes() {
    // It is the first that anybody tells of, and nothing has changed it.
    leaderless("200 n2 stranger n1 n2 n3", &killed(1000, &["n2", "n3"]), "valid");
    leaderless(
        "200 n2 stranger n1 n2 n3\n250 ready n2",
        &killed(1000, &["n3", "n4", "n5"]),
        &nobody_led("8", "n1 and n2"),
    );
}

#[test]
fn learners_do_not_count() {
    let learning = "200 n1 config commit 1.1 n1 n2 n3 learn n4 n5";
    leaderless(learning, &killed(1000, &["n2", "n3"]), "valid");
    leaderless(learning, &killed(1000, &["n3", "n4"]), &nobody_led("8", "n1, n2 and n5"));
}

#[test]
fn a_joint_configuration_takes_both_majorities() {
    let joint =
        "200 n1 config commit 1.1 n1 n2 n3\n 300 n1 config commit 1.2 n3 n4 n5 out n1 n2 n3";
    let left = format!("{joint}\n400 n1 config commit 1.3 n3 n4 n5");
    // A majority of the new voters, and none of the old ones; and the other way round.
    leaderless(joint, &killed(1000, &["n1", "n2"]), "valid");
    leaderless(joint, &killed(1000, &["n4", "n5"]), "valid");
    leaderless(joint, &killed(1000, &["n1", "n4"]), &nobody_led("8", "n2, n3 and n5"));
    // Once it is left the new ones are enough.
    leaderless(&left, &killed(1000, &["n1", "n2"]), &nobody_led("8", "n3, n4 and n5"));
    leaderless(&left, &killed(1000, &["n4", "n5"]), "valid");
}

#[test]
fn a_change_that_is_not_committed_may_last_and_may_not() {
    let changing = |more: &str| {
        format!("200 n1 config commit 1.1 n1 n2 n3\n300 n1 config append 1.2 n1 n2 n3 n4{more}")
    };
    let two = killed(1000, &["n3", "n4", "n5"]);
    // Two of three, and two of four.
    leaderless(&changing(""), &two, "valid");
    leaderless(&changing("\n400 n1 config commit 1.2 n1 n2 n3 n4"), &two, "valid");
    // It is undone, or another entry is committed in its place.
    let wrong = nobody_led("8", "n1 and n2");
    leaderless(&changing("\n400 n1 config revert 1.1 n1 n2 n3"), &two, &wrong);
    let replaced = "\n300 n2 config append 1.1 n1 n2 n3\n400 n2 commit 2.3";
    leaderless(&changing(replaced), &two, &wrong);
    // What the commit index of who has it covers is committed.
    let shrinking = "200 n1 config commit 1.1 n1 n2 n3 n4\n300 n1 config append 1.2 n1 n2 n3";
    leaderless(shrinking, &two, "valid");
    leaderless(&format!("{shrinking}\n400 n1 commit 1.2"), &two, &wrong);
}

#[test]
fn a_change_may_be_committed_by_who_never_told_of_it() {
    let growing = |more: &str| {
        format!(
            "200 n1 config commit 1.1 n1 n2 n3\n300 n1 config append 1.2 n1 n2 n3 n4 n5\n{more}"
        )
    };
    let old = killed(1000, &["n3", "n4", "n5"]);
    let new = killed(1000, &["n2", "n3"]);
    // Nobody knows yet which of them is in force.
    leaderless(&growing(""), &new, "valid");
    leaderless(&growing(""), &old, "valid");
    // Before an entry of one term stand all earlier ones of that term.
    for later in ["400 n4 commit 1.2", "400 n4 commit 1.3"] {
        leaderless(&growing(later), &new, &nobody_led("8", "n1, n4 and n5"));
        leaderless(&growing(later), &old, "valid");
    }
    // Of an entry of a later term nobody knows whether it replaced the change or comes after it,
    leaderless(&growing("400 n4 commit 2.3"), &new, "valid");
    leaderless(&growing("400 n4 commit 2.3"), &old, "valid");
    // unless who has it tells of configurations, and not of this one.
    let tells = "350 n4 config append 1.1 n1 n2 n3\n400 n4 commit 2.3";
    leaderless(&growing(tells), &old, &nobody_led("8", "n1 and n2"));
    leaderless(&growing(tells), &new, "valid");
}

#[test]
fn a_node_that_starts_without_a_word_of_it_still_has_what_it_had() {
    let growing = |last: &str| {
        format!(
            "200 n1 config commit 1.1 n1 n2 n3
             250 n4 config append 1.2 n1 n2 n3 n4 n5
             300 exit n4 ok
             350 spawn n4
             360 n4 resumed {last}
             370 ready n4"
        )
    };
    let old = killed(1000, &["n3", "n5"]);
    leaderless(&growing("1.2"), &killed(1000, &["n3", "n4", "n5"]), "valid");
    // Its disk is empty, so nobody has it.
    leaderless(&growing("0.0"), &old, &nobody_led("8", "n1 and n2"));
}

#[test]
fn a_change_that_nobody_could_have_committed_is_no_excuse() {
    let removes_at = |at: u64| {
        format!(
            "100 n1 elected 1
             200 n1 config commit 1.1 n1 n2 n3
             {}
             {at} n1 config append 1.2 n1 n3
             {at} n1 role follower
             19000 phase stop",
            killed(1000, &["n3", "n4", "n5"])
        )
    };
    // The leader may not know yet that n3 is gone; T is 500 ms.
    check("no-leader", &removes_at(1900), "valid");
    check("no-leader", &removes_at(2100), &nobody_led("16", "n1 and n2"));
}

/// n3 leads five processes, and `followers` hear it all the time until it gives up at 3.1 s.
#[track_caller]
fn deposed(config: &str, followers: &[&str], expected: &str) {
    let mut text = format!("100 n3 elected 1\n150 n3 {config}\n");
    for t in (200..=3_000).step_by(100) {
        for node in followers {
            text.push_str(&format!("{t} {node} accepted n3 1\n"));
        }
    }
    check("disruption", &format!("{text}3100 n3 role follower\n5000 phase stop"), expected);
}

#[test]
fn a_leader_is_deposed_against_a_majority_of_the_voters() {
    let disrupted = |who: &str| {
        format!(
            "invalid
             - n3 led term 1 and gave up (test) although {who} followed it and nothing was broken \
             between them"
        )
    };
    deposed("config commit 1.1 n1 n2 n3", &["n1"], &disrupted("n1"));
    deposed("config commit 1.1 n1 n2 n3 n4", &["n1"], "valid");
    deposed("config commit 1.1 n3 n4 n5 learn n1 n2", &["n1", "n2"], "valid");
    deposed("config commit 1.1 n1 n2 n3 learn n4 n5", &["n1", "n2"], &disrupted("n1 and n2"));
    // Three of five processes, and by the change that is not committed one of two.
    deposed("config append 1.1 n3 n4", &["n1", "n2"], "valid");
    deposed("config append 1.1 n3 n1", &["n1", "n2"], &disrupted("n1 and n2"));
}

#[test]
fn a_leader_that_was_removed_has_to_give_up() {
    deposed("config commit 1.1 n1 n2 n4", &["n1", "n2", "n4"], "valid");
    deposed("config append 1.1 n1 n2 n4", &["n1", "n2", "n4"], "valid");
}

/// n3 leads, and from 1 s on it is cut off from some others.
#[track_caller]
fn cut_off(config: &str, from: &[&str], expected: &str) {
    let links: Vec<_> = from.iter().map(|node| format!("n3>{node} {node}>n3")).collect();
    let links = links.join(" ");
    let text = format!(
        "100 n3 elected 1
         {config}
         1000 begin 1 cut cut {links}
         1001 end 1 cut cut {links}
         5000 phase stop"
    );
    check("zombie-leader", &text, expected);
}

#[test]
fn a_leader_needs_a_quorum_of_its_voters() {
    let zombie = |whom: &str| {
        format!(
            "invalid
             - n3 went on leading for 3.9 s although it reached {whom} (at most 2 s are allowed)"
        )
    };
    // Three of five processes, and one of three voters.
    cut_off("", &["n1", "n2"], "valid");
    cut_off("200 n3 config commit 1.1 n1 n2 n3 learn n4 n5", &["n1", "n2"], &zombie("n4 and n5"));
    // Two of five processes, and two of three voters.
    cut_off("", &["n1", "n4", "n5"], &zombie("n2"));
    cut_off("200 n3 config commit 1.1 n1 n2 n3", &["n1", "n4", "n5"], "valid");
    let joint = "200 n3 config commit 1.1 n1 n2 n3\n300 n3 config commit 1.2 n3 n4 n5 out n1 n2 n3";
    cut_off(joint, &["n1", "n2"], &zombie("n4 and n5"));
    cut_off(joint, &["n1", "n5"], "valid");
}

#[test]
fn a_leader_that_reaches_a_quorum_of_what_may_be_in_force_may_lead() {
    let grows = "200 n3 config commit 1.1 n1 n2 n3\n300 n3 config append 1.2 n1 n2 n3 n4";
    cut_off(grows, &["n1", "n4"], "valid");
    let zombie = "invalid
        - n3 went on leading for 3.9 s although it reached n2 and n5 (at most 2 s are allowed)";
    cut_off(&format!("{grows}\n400 n3 config commit 1.2 n1 n2 n3 n4"), &["n1", "n4"], zombie);
    // It reaches a quorum of neither.
    cut_off(grows, &["n1", "n2"], &zombie.replace("n2 and n5", "n4 and n5"));
}

#[test]
fn elections_go_on_for_ever_only_where_the_voters_could_work() {
    let mut reigns = String::new();
    for term in 2..8 {
        let at = 3_300 + term * 600;
        reigns.push_str(&format!("{at} n1 elected {term}\n{} n1 role follower\n", at + 500));
    }
    let text = |voters: &str| {
        format!(
            "100 n1 elected 1\n200 n1 config commit 1.1 {voters}\n{}\n{reigns}8500 phase stop",
            killed(1000, &["n2", "n3"])
        )
    };
    check("election-loop", &text("n1 n2 n3"), "valid");
    check(
        "election-loop",
        &text("n1 n2 n4"),
        "invalid
         - n1 was elected 5 times in 2.4 s (terms 3 to 7) although n1 and n4 were up and connected all \
         the time, and no heartbeat was sent by any of them",
    );
}

#[test]
fn writes_are_owed_only_where_the_voters_could_work() {
    let text = |voters: &str| {
        format!(
            "100 n1 elected 1
             200 n1 config commit 1.1 {voters}
             300 c1 invoke write x 1 at n1
             310 c1 ok write x 1 at n1
             {}
             2000 c2 invoke write x 2 at n1
             13000 n1 sent n1 1",
            killed(1000, &["n2", "n3"])
        )
    };
    check("write-outage", &text("n1 n2 n3"), "valid");
    check(
        "write-outage",
        &text("n1 n2 n4"),
        "invalid
         - no write was acknowledged for 11 s although n1 and n4 were up and connected and clients \
         asked (at most 10 s are allowed)",
    );
}

#[test]
fn two_leaders_have_a_quorum_each_of_the_voters() {
    let text = |voters: &str| {
        format!(
            "50 n2 stranger {voters}
             100 n1 elected 1
             900 n3 elected 2
             940 n2 accepted n1 1
             950 n4 accepted n1 1
             999 n1 role follower
             999 phase end"
        )
    };
    let legal = "~ n1 (term 1) and n3 (term 2) both held the role of leader for 99 ms; legal as long \
                 as the older one achieves nothing";
    check("dual-leaders", &text("n1 n3 n5"), &format!("valid\n{legal}"));
    check(
        "dual-leaders",
        &text("n1 n2 n3"),
        &format!(
            "invalid
             - n1 went on leading term 1, followed by n2, after n3 had been established as leader of \
             term 2: each had a quorum
             {legal}"
        ),
    );
}
