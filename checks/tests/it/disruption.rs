use crate::transcript::check;

/// n3 leads and is heard by both others all the time until it is 3 s. T is 500 ms.
#[track_caller]
fn steady(events: &str, expected: &str) {
    let mut text = "0 boot\n100 n3 elected 1\n".to_owned();
    for t in (200..=3_000).step_by(100) {
        text.push_str(&format!("{t} n1 accepted n3 1\n{t} n2 accepted n3 1\n"));
    }
    check("disruption", &format!("{text}{events}"), expected);
}

#[test]
fn a_leader_that_gives_up_with_all_its_followers_is_rejected() {
    steady(
        "3100 n3 role follower
         5000 phase stop",
        "invalid
         - n3 led epoch 1 and gave up (test) although n1 and n2 followed it and nothing was broken \
           between them",
    );
}

#[test]
fn a_leader_that_is_replaced_is_rejected() {
    steady(
        "3050 n1 role looking
         3050 n2 role looking
         3300 n2 persist accepted-epoch 2
         3300 n1 persist accepted-epoch 2
         3310 n2 elected 2
         5000 phase stop",
        "invalid
         - n3 led epoch 1 and was replaced by n2 in epoch 2 although n1 and n2 followed it and \
           nothing was broken between them",
    );
}

#[test]
fn a_follower_that_got_no_time_for_long_is_no_follower_yet() {
    // It stood still from 3 s on, and has just read what came meanwhile.
    let late = |at: u64| format!("{at} n1 accepted n3 1\n{at} n2 accepted n3 1\n");
    let gave_up = "3620 n3 role follower\n5000 phase stop";
    steady(&format!("{}{gave_up}", late(3600)), "valid");
    steady(
        &format!("{}{}{}{gave_up}", late(3200), late(3400), late(3600)),
        "invalid
         - n3 led epoch 1 and gave up (test) although n1 and n2 followed it and nothing was broken \
           between them",
    );
}

#[test]
fn a_leader_that_hands_over_is_not_disrupted() {
    let replaced = "3300 n2 elected 2\n5000 phase stop";
    steady(&format!("3250 n3 phase transfer\n3290 n3 role follower\n{replaced}"), "valid");
    steady(&format!("3250 n3 phase transfer\n{replaced}"), "valid");
    // Another phase, and another node's word, excuse nothing.
    for other in ["n3 phase steady", "n2 phase transfer"] {
        steady(
            &format!("3250 {other}\n{replaced}"),
            "invalid
             - n3 led epoch 1 and was replaced by n2 in epoch 2 although n1 and n2 followed it and \
               nothing was broken between them",
        );
    }
}

#[test]
fn silence_is_a_cause() {
    steady("3510 n2 elected 2\n5000 phase stop", "valid");
    steady("3260 n3 role looking\n5000 phase stop", "valid");
}

#[test]
fn a_fault_is_a_cause() {
    for fault in ["kill down n3", "pause frozen n3", "cut cut n1>n3 n2>n3"] {
        let events = format!(
            "3010 begin 1 {fault}
             3011 end 1 {fault}
             3300 n2 elected 2
             5000 phase stop"
        );
        steady(&events, "valid");
    }
}

#[test]
fn a_fault_of_one_follower_is_none() {
    steady(
        "3010 begin 1 kill down n1
         3010 exit n1 ok
         3011 end 1 kill down n1
         3100 n3 role follower
         5000 phase stop",
        "invalid
         - n3 led epoch 1 and gave up (test) although n2 followed it and nothing was broken \
           between them",
    );
}

#[test]
fn a_follower_that_was_just_healed_does_not_count() {
    let mut text = "0 boot\n100 n3 elected 1\n".to_owned();
    text.push_str("1000 begin 1 cut cut n1>n3\n1001 end 1 cut cut n1>n3\n");
    text.push_str("1002 begin 2 kill down n2\n1002 exit n2 ok\n1003 end 2 kill down n2\n");
    text.push_str("2000 begin 3 heal healed n1>n3\n2001 end 3 heal healed n1>n3\n");
    text.push_str("2100 n1 accepted n3 1\n2200 n3 role looking\n5000 phase stop");
    check("disruption", &text, "valid");
}

#[test]
fn a_promise_from_out_of_reach_excuses_the_leader() {
    let away = "1000 begin 1 cut cut n1>n3
                1001 end 1 cut cut n1>n3
                1500 n1 persist accepted-epoch 5
                1900 begin 2 heal healed n1>n3
                1901 end 2 heal healed n1>n3";
    let run = |away: &str| {
        let heard: String =
            (200..=3_000).step_by(100).map(|t| format!("{t} n2 accepted n3 1\n")).collect();
        let mut lines: Vec<_> = heard.lines().chain(away.lines()).map(str::trim).collect();
        lines.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap());
        format!(
            "0 boot\n100 n3 elected 1\n{}\n3050 n3 role looking\n5000 phase stop",
            lines.join("\n")
        )
    };
    check("disruption", &run(away), "valid");
    check(
        "disruption",
        &run(&away.replace("1500 n1 persist accepted-epoch 5", "1500 n1 persist accepted-epoch 1")),
        "invalid
         - n3 led epoch 1 and gave up (test) although n2 followed it and nothing was broken \
           between them",
    );
}

#[test]
fn it_does_not_excuse_those_who_replace_the_leader() {
    let heard: String =
        (200..=3_000).step_by(100).map(|t| format!("{t} n2 accepted n3 1\n")).collect();
    let (before, after) = heard.split_at(heard.find("1000 ").unwrap());
    let text = format!(
        "0 boot\n100 n3 elected 1\n{before}
         1000 begin 1 cut cut n1>n3
         1001 end 1 cut cut n1>n3
         {}
         3200 n1 persist accepted-epoch 2
         3210 n1 elected 2
         5000 phase stop",
        after.trim_start_matches("1000 n2 accepted n3 1\n")
    );
    check(
        "disruption",
        &text,
        "invalid
         - n3 led epoch 1 and was replaced by n1 in epoch 2 although n2 followed it and nothing was \
           broken between them",
    );
}
