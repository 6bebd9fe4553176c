use serde_json::json;

use crate::transcript::{Transcript, check, check_transcript};

#[track_caller]
fn booted(events: &str, expected: &str) {
    check("no-leader", &format!("0 boot\n100 n1 elected 1\n{events}"), expected);
}

/// The history ends so long into a wait that is within the bound.
fn cut_short(after: &str) -> String {
    format!(
        "unknown (watched no longer than {after} into a time without a leader, 5 s are allowed)"
    )
}

#[test]
fn a_connected_majority_without_a_leader_is_rejected() {
    booted(
        "1000 n1 role looking
         9000 phase stop",
        "invalid
         - nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_leader_within_the_bound_is_accepted() {
    booted("1000 n1 role looking\n5900 n2 elected 2\n9000 phase stop", "valid");
}

#[test]
fn a_history_that_ends_during_a_wait_shows_neither() {
    booted("1000 n1 role looking\n3000 phase stop", &cut_short("2 s"));
    booted("1000 n1 role looking\n3000 n2 votes n1 1", &cut_short("2 s"));
    booted("1000 n1 role looking\n2900 n2 elected 2\n3000 phase stop", "valid");
}

#[test]
fn the_bound_is_an_option() {
    let text = "0 boot\n100 n1 elected 1\n1000 n1 role looking\n3000 n2 elected 2\n9000 phase stop";
    let with =
        |ms: u64| Transcript::new(text).asks("no-leader", json!({"bound-ns": ms * 1_000_000}));
    check_transcript("no-leader", with(2000), "valid");
    check_transcript(
        "no-leader",
        with(1999),
        "invalid
         - nobody led for 2 s although n1, n2 and n3 were up and connected (at most 1.9 s are allowed)",
    );
}

#[test]
fn a_cluster_that_never_elects_is_rejected() {
    check(
        "no-leader",
        "0 boot\n100 n2 prospective 1\n200 n2 role looking\n9000 phase stop",
        "invalid
         - nobody led for 9 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_dead_leader_does_not_lead() {
    booted(
        "1000 begin 1 kill down n1
         1001 exit n1 ok
         1002 end 1 kill down n1
         9000 phase stop",
        "invalid
         - nobody led for 7.9 s although n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn the_bound_does_not_run_while_the_majority_is_down() {
    booted(
        "1000 begin 1 kill down n1 n2
         1001 exit n1 ok
         1001 exit n2 ok
         1002 end 1 kill down n1 n2
         9000 spawn n2
         9010 n2 start 1
         9020 ready n2
         13000 n2 elected 2
         14000 phase stop",
        "valid",
    );
}

#[test]
fn the_bound_does_not_run_while_the_majority_is_frozen() {
    let frozen = "1000 n1 role looking
         1000 begin 1 pause frozen n1 n2
         1001 end 1 pause frozen n1 n2
         9000 begin 2 resume thawed n1 n2";
    booted(&format!("{frozen}\n9001 end 2 resume thawed n1 n2\n14000 n2 elected 2"), "valid");
    booted(
        &format!("{frozen}\n9001 end 2 resume thawed n1 n2\n14002 n2 elected 2"),
        "invalid
         - nobody led for 5 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
    // A repair that may not have worked is none.
    booted(
        &format!("{frozen}\n9001 end 2 resume thawed n1 n2 indeterminate\n20000 phase stop"),
        "valid",
    );
}

#[test]
fn the_bound_does_not_run_without_a_full_mesh() {
    // Each pair is cut in one direction only.
    booted(
        "1000 n1 role looking
         1000 begin 1 cut cut n2>n1 n3>n2
         1000 end 1 cut cut n2>n1 n3>n2
         1000 begin 2 cut cut n1>n3
         1000 end 2 cut cut n1>n3
         9000 phase stop",
        "valid",
    );
    // One cut leaves two overlapping majorities.
    booted(
        "1000 n1 role looking
         1000 begin 1 cut cut n2>n1
         1000 end 1 cut cut n2>n1
         9000 phase stop",
        "invalid
         - nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_degraded_majority_is_not_bound() {
    booted(
        "1000 n1 role looking
         1000 begin 1 slow-disk degraded n1 n2
         1001 end 1 slow-disk degraded n1 n2
         9000 phase stop",
        "valid",
    );
}

#[test]
fn a_majority_is_not_bound_while_it_hears_another_node_by_a_bad_link() {
    // n2 leads on, and what it says is told twice, or late.
    let led = |effect: &str, links: &str| {
        format!(
            "200 n2 elected 2
             1000 begin 1 fault {effect} {links}
             1000 end 1 fault {effect} {links}
             9000 phase stop"
        )
    };
    let both = "n2>n1 n2>n3";
    booted(&led("degraded", both), "valid");
    booted(&led("degraded", "n1>n2 n3>n2"), "valid");
    booted(
        &led("cut", both),
        "invalid
         - nobody led for 8 s although n1 and n3 were up and connected (at most 5 s are allowed)",
    );
    // Whom it can say nothing to over the bad link, it does not bind.
    booted(
        "200 n2 elected 2
         1000 begin 1 delay degraded n1>n2 n3>n2
         1000 end 1 delay degraded n1>n2 n3>n2
         1000 begin 2 one-way cut n2>n1 n2>n3
         1000 end 2 one-way cut n2>n1 n2>n3
         9000 phase stop",
        "invalid
         - nobody led for 8 s although n1 and n3 were up and connected (at most 5 s are allowed)",
    );
    // Nor does a bad link within the majority of which the leader is part.
    booted(
        "1000 begin 1 delay degraded n1>n2\n1000 end 1 delay degraded n1>n2\n9000 phase stop",
        "valid",
    );
    booted(
        "1000 begin 1 delay degraded n1>n2
         1000 end 1 delay degraded n1>n2
         1000 n1 role looking
         9000 phase stop",
        "invalid
         - nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_majority_is_not_bound_while_somebody_who_limps_can_speak_to_it() {
    let limps = |then: &str| {
        format!(
            "1000 n1 role looking
             1000 begin 1 clock-rate degraded n3
             1000 end 1 clock-rate degraded n3
             1100 {then}
             9000 phase stop"
        )
    };
    booted(&limps("n2 role looking"), "valid");
    // It is heard over one link still.
    booted(&limps("begin 2 cut cut n3>n1\n1100 end 2 cut cut n3>n1"), "valid");
    for silenced in [
        "begin 2 isolate cut n3>n1 n1>n3 n3>n2 n2>n3\n1100 end 2 isolate cut n3>n1 n1>n3 n3>n2 n2>n3",
        "begin 2 kill down n3\n1100 end 2 kill down n3",
        "begin 2 pause frozen n3\n1100 end 2 pause frozen n3",
    ] {
        booted(
            &limps(silenced),
            "invalid
             - nobody led for 7.9 s although n1 and n2 were up and connected (at most 5 s are allowed)",
        );
    }
}

#[test]
fn a_node_is_degraded_until_each_aspect_of_it_is_restored() {
    let restored = |aspect: &str| {
        format!(
            "1000 n1 role looking
             1000 begin 1 disk-slow degraded n1 n2 aspect=disk
             1000 end 1 disk-slow degraded n1 n2 aspect=disk
             1100 begin 2 clock-rate degraded n1 n2 aspect=clock
             1100 end 2 clock-rate degraded n1 n2 aspect=clock
             1200 begin 3 disk-restore restored n1 n2 aspect=disk
             1200 end 3 disk-restore restored n1 n2 aspect=disk
             9000 begin 4 restore restored n1 n2 {aspect}
             9000 end 4 restore restored n1 n2 {aspect}
             20000 phase stop"
        )
    };
    booted(&restored("aspect=disk"), "valid");
    for all in ["aspect=clock", ""] {
        booted(
            &restored(all),
            "invalid
             - nobody led for 11 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
        );
    }
}

#[test]
fn every_impairment_ends_with_its_repair() {
    let repaired = |impair: &str, repair: &str| {
        format!(
            "1000 n1 role looking
             1000 begin 1 some {impair}
             1000 end 1 some {impair}
             20000 begin 2 some {repair}
             20000 end 2 some {repair}
             26000 phase stop"
        )
    };
    for (impair, repair) in [
        ("degraded n1 n2", "restored n1 n2"),
        ("degraded n1>n2 n2>n3 n3>n1", "restored n1>n2 n2>n3 n3>n1"),
        // A slow link is not a slow node: the fault may name both.
        ("degraded n1 n1>n2 n2>n3 n3>n1", "restored n1>n2 n2>n3 n3>n1"),
        ("degraded n1>n2 n2>n3 n3>n1", "healed n1>n2 n2>n3 n3>n1"),
        ("cut n1 n2", "healed n1 n2"),
        ("cut n1 n2", "healed"),
        ("frozen n1 n2", "thawed n1 n2"),
        ("down n1 n2 indeterminate", "up n1 n2"),
        ("cut n1 n2 indeterminate", "healed n1 n2"),
    ] {
        booted(
            &repaired(impair, repair),
            "invalid
             - nobody led for 6 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
        );
    }
    for (impair, repair) in [
        ("degraded n1 n2", "thawed n1 n2"),
        ("cut n1 n2", "restored n1>n2 n2>n1 n1>n3 n3>n1 n2>n3 n3>n2"),
        ("frozen n1 n2", "thawed n1 n2 skipped"),
        ("down n1 n2", "up n1 n2"),
    ] {
        booted(&repaired(impair, repair), "valid");
    }
}

#[test]
fn a_skipped_fault_has_no_effect_and_an_indeterminate_one_counts_against_the_bound() {
    let events = |outcome: &str| {
        format!(
            "1000 n1 role looking
             3000 begin 1 kill down n2
             3001 end 1 kill down n2 {outcome}
             7000 phase stop"
        )
    };
    booted(
        &events("skipped"),
        "invalid
         - nobody led for 6 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
    booted(&events("indeterminate"), &cut_short("3.9 s"));
}

#[test]
fn every_fault_restarts_the_clock() {
    booted(
        "1000 n1 role looking
         4000 begin 1 cut cut n2>n1
         4000 end 1 cut cut n2>n1
         8000 begin 2 heal healed n2>n1
         8000 end 2 heal healed n2>n1
         12000 phase stop",
        &cut_short("4 s"),
    );
}

#[test]
fn a_fault_that_liveness_does_not_depend_on_leaves_the_clock_alone() {
    booted(
        "1000 n1 role looking
         4000 begin 1 transfer none n2
         4000 end 1 transfer none n2
         8000 phase stop",
        "invalid
         - nobody led for 7 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn an_isolated_leader_does_not_lead_the_majority() {
    booted(
        "1000 begin 1 isolate cut n1
         1001 end 1 isolate cut n1
         9000 phase stop",
        "invalid
         - nobody led for 7.9 s although n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_leader_that_was_paused_and_not_replaced_leads_again() {
    let paused = "1000 begin 1 pause frozen n1
         1001 end 1 pause frozen n1
         1100 begin 2 resume thawed n1
         1101 end 2 resume thawed n1";
    booted(&format!("{paused}\n9000 phase stop"), "valid");
}

#[test]
fn a_superseded_leader_does_not_lead() {
    // n2 was elected and has died; n1 comes back and still holds its old role.
    booted(
        "1000 begin 1 isolate cut n1
         1001 end 1 isolate cut n1
         2000 n2 elected 2
         3000 begin 2 kill down n2
         3001 exit n2 ok
         3002 end 2 kill down n2
         4000 begin 3 heal healed n1
         4001 end 3 heal healed n1
         12000 phase stop",
        "invalid
         - nobody led for 7.9 s although n1 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_restart_within_the_election_timeout_with_the_same_term_is_legal() {
    booted(
        "1000 begin 1 kill down n2
         1001 exit n2 ok
         1002 end 1 kill down n2
         1100 spawn n2
         1110 n2 start 1
         1120 ready n2
         9000 phase stop",
        "valid",
    );
}

#[test]
fn nothing_is_judged_once_the_nodes_are_stopped() {
    booted("4000 phase stop\n4001 n1 role looking\n20000 phase end", "valid");
}

#[test]
fn a_truncated_history_is_judged_to_its_last_record() {
    booted(
        "1000 n1 role looking\n9000 n3 votes n2 2",
        "invalid
         - nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn nothing_is_judged_between_the_begin_and_the_end_of_a_fault() {
    let healing = |begin: u64| {
        format!(
            "1000 n1 role looking
             {begin} begin 1 heal healed
             9000 n3 votes n2 2
             9000 end 1 heal healed
             12000 phase stop"
        )
    };
    booted(&healing(6000), &cut_short("3 s"));
    booted(
        &healing(6001),
        "invalid
         - nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_fault_that_ended_the_incarnation_before_says_nothing_about_this_one() {
    booted(
        "1000 n1 role looking
         2000 begin 1 restart down n2
         2001 exit n2 ok
         2002 spawn n2
         2003 n2 start 1
         2004 ready n2
         2005 end 1 restart down n2
         9000 phase stop",
        "invalid
         - nobody led for 6.9 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn a_winner_that_steps_down_before_it_led_does_not_lead() {
    check(
        "no-leader",
        "0 boot
         100 n1 wins 1
         110 n1 role follower
         9000 phase stop",
        "invalid
         - nobody led for 8.8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)",
    );
}

#[test]
fn the_last_words_of_an_ended_incarnation_do_not_make_a_leader() {
    let text = "0 boot
         100 n2 elected 1
         1000 n2 role looking
         1000 exit n1 ok
         1000 n1 wins 2
         1000 spawn n1
         1000 n1 start 1
         1000 ready n1
         9000 phase stop";
    let transcript = Transcript::new(text).asks("no-leader", json!({}));
    let history = transcript.text();
    let mut lines: Vec<&str> = history.lines().collect();
    let won = lines.iter().rposition(|line| line.contains(r#""event":"leader-elected""#)).unwrap();
    lines[won..won + 4].rotate_left(1);
    let verdict = crate::transcript::judge_text(&(lines.join("\n") + "\n")).unwrap();
    assert_eq!(
        crate::transcript::render(&verdict.checks[0]),
        "invalid\n- nobody led for 8 s although n1, n2 and n3 were up and connected (at most 5 s are allowed)"
    );
}

/// n3 is gone, so that n1 and n2 are needed, and nobody leads.
#[track_caller]
fn two_left(events: &str, expected: &str) {
    booted(&format!("900 exit n3 ok\n1000 n1 role looking\n{events}\n9000 phase stop"), expected);
}

fn nobody_led(seconds: &str) -> String {
    format!(
        "invalid
         - nobody led for {seconds} s although n1 and n2 were up and connected (at most 5 s are allowed)"
    )
}

#[test]
fn what_is_done_to_a_node_while_its_repair_is_looked_at_is_done() {
    for (hurts, heals) in
        [("pause frozen", "resume thawed"), ("disk-stall degraded", "disk-restore restored")]
    {
        let again = |acted: u64| {
            format!(
                "1100 begin 1 {hurts} n2
                 1101 end 1 {hurts} n2 acted=1100
                 1200 begin 2 {heals} n2
                 1202 begin 3 {hurts} n2
                 1203 end 3 {hurts} n2 acted={acted}
                 1205 end 2 {heals} n2 acted=1201"
            )
        };
        two_left(&again(1202), "valid");
        two_left(&again(1200), &nobody_led("7.7"));
    }
}

#[test]
fn a_link_that_is_slowed_while_it_is_restored_is_slow() {
    let again = |acted: u64| {
        format!(
            "1100 begin 1 delay degraded n1>n2
             1101 end 1 delay degraded n1>n2 acted=1100
             1200 begin 2 release restored n1>n2
             1202 begin 3 delay degraded n1>n2
             1203 end 3 delay degraded n1>n2 acted={acted}
             1205 end 2 release restored n1>n2 acted=1201"
        )
    };
    two_left(&again(1202), "valid");
    two_left(&again(1200), &nobody_led("7.7"));
}

#[test]
fn of_two_repairs_the_later_one_counts_in_whichever_order_they_end() {
    let repaired = |first: u64, second: u64| {
        format!(
            "1100 begin 1 pause frozen n2
             1101 begin 2 resume thawed n2
             1102 begin 3 resume thawed n2
             1300 end 2 resume thawed n2 acted={first}
             1301 end 3 resume thawed n2 acted={second}
             1302 end 1 pause frozen n2 acted=1200"
        )
    };
    for (first, second) in [(1250, 1150), (1150, 1250)] {
        two_left(&repaired(first, second), &nobody_led("7.6"));
    }
    two_left(&repaired(1150, 1160), "valid");
}

#[test]
fn a_process_whose_end_was_seen_does_not_become_ready() {
    two_left("1100 exit n2 ok\n1100 ready n2", "valid");
    two_left("1100 exit n2 ok\n1100 spawn n2\n1100 n2 start 1\n1101 ready n2", &nobody_led("7.8"));
}
