use serde_json::json;

use crate::transcript::{Transcript, check as check_named, check_transcript};

/// n1 leads, and a write is acknowledged. The bound is twice 5 s.
const BEGIN: &str = "0 boot
    100 n1 elected 1
    200 c1 invoke write x 1 at n1
    210 c1 ok write x 1 at n1\n";

#[track_caller]
fn check(events: &str, expected: &str) {
    check_named("write-outage", &format!("{BEGIN}{events}"), expected);
}

/// The writes of one client that each end without an answer after 2 s, from 1 s until `last`.
fn unanswered(last: u64, how: &str) -> String {
    (1..=last / 2_000)
        .map(|at| {
            let (from, to, process) = (at * 2_000 - 1_000, at * 2_000 + 900, at + 1);
            format!(
                "{from} c{process} invoke write x {at} at n1\n{to} c{process} {how} write x {at} at n1\n"
            )
        })
        .collect()
}

#[test]
fn a_majority_that_clients_ask_acknowledges_within_the_bound() {
    let answered = "10990 c99 invoke write x 99 at n1\n10995 c99 ok write x 99 at n1\n";
    check(&format!("{}{answered}", unanswered(9_000, "info")), "valid");
    let later = answered.replace("1099", "1300");
    check(
        &format!("{}{later}", unanswered(12_000, "info")),
        "invalid
         - no write was acknowledged for 12 s although n1, n2 and n3 were up and connected and \
         clients asked (at most 10 s are allowed)",
    );
    // One that stays open all the time is asking, too.
    check(
        "1000 c2 invoke write x 2 at n1\n11500 n1 sent n1 1",
        "invalid
         - no write was acknowledged for 10 s although n1, n2 and n3 were up and connected and \
         clients asked (at most 10 s are allowed)",
    );
}

#[test]
fn clients_that_stopped_asking_are_not_kept_waiting() {
    check(
        "1000 c2 invoke write x 2 at n1\n2000 c2 info write x 2 at n1\n20000 n1 sent n1 1",
        "valid",
    );
    check("20000 n1 sent n1 1", "valid");
}

#[test]
fn who_refuses_was_not_asked_unless_it_leads() {
    let refused = unanswered(12_000, "fail").replace("at n1\n", "error at n1\n");
    let end = "13000 n1 sent n1 1\n";
    check(&format!("{}{end}", refused.replace("at n1", "at n2")), "valid");
    check(
        &format!("{refused}{end}"),
        "invalid
         - no write was acknowledged for 12 s although n1, n2 and n3 were up and connected and \
         clients asked (at most 10 s are allowed)",
    );
    // A plain no is an answer.
    check(&format!("{}{end}", unanswered(12_000, "fail")), "valid");
}

#[test]
fn a_fault_starts_the_clock_anew() {
    let fault = "6000 begin 1 kill down n3\n6001 end 1 kill down n3\n6002 exit n3 ok\n";
    let mut events: Vec<String> =
        unanswered(14_000, "info").lines().chain(fault.lines()).map(str::to_owned).collect();
    let time = |line: &String| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    events.sort_by_key(time);
    check(&events.join("\n"), "valid");
    // Two of three down are no majority.
    let cut = events.join("\n").replace("down n3", "down n2 n3");
    check(&cut, "valid");
}

/// Whoever promises to replace a leader whose disk stalls is held to it.
#[test]
fn a_limping_leader_that_is_heard_counts_where_that_was_asked_for() {
    let in_order = |last: &str| {
        let stall = "600 begin 1 disk-stall degraded n1\n601 end 1 disk-stall degraded n1\n";
        let events = format!("{BEGIN}{stall}{}{last}", unanswered(12_000, "info"));
        let mut events: Vec<_> = events.lines().map(str::trim).collect();
        events.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u64>().unwrap());
        Transcript::new(&events.join("\n"))
    };
    let counts = json!({"limping": "counts"});
    let (silent, by_others) = (
        "13000 n1 sent n1 1",
        "9000 c99 invoke write x 99 at n2\n9010 c99 ok write x 99 at n2\n13000 n1 sent n1 1",
    );
    check_transcript(
        "write-outage",
        in_order(silent).asks("write-outage", counts.clone()),
        "invalid
         - no write was acknowledged for 12 s although n2 and n3 were up and connected and \
         clients asked (at most 10 s are allowed)",
    );
    check_transcript("write-outage", in_order(by_others).asks("write-outage", counts), "valid");
    check_transcript("write-outage", in_order(silent), "valid");
}

#[test]
fn without_writes_or_acknowledgements_nothing_is_known() {
    check_named(
        "write-outage",
        "0 boot\n 100 n1 elected 1",
        "unknown (needs: operations (no client wrote anything))",
    );
    check_named(
        "write-outage",
        "0 boot\n 100 n1 elected 1\n 200 c1 invoke write x 1 at n1\n 300 c1 info write x 1 at n1",
        "unknown (none of 1 write was ever acknowledged)",
    );
    check_transcript(
        "write-outage",
        Transcript::new(BEGIN).without("operations"),
        "unknown (needs: operations)",
    );
}

#[test]
fn an_outage_is_told_however_it_ends() {
    let lasted = |seconds: u64| {
        format!(
            "invalid
             - no write was acknowledged for {seconds} s although n1, n2 and n3 were up and connected \
             and clients asked (at most 10 s are allowed)"
        )
    };
    // The only write that was asked for is acknowledged after all.
    let asked = "1000 c2 invoke write x 2 at n1\n";
    check(&format!("{asked}10900 c2 ok write x 2 at n1"), "valid");
    check(&format!("{asked}21000 c2 ok write x 2 at n1"), &lasted(20));
    // Nobody could answer it any more.
    let killed =
        |at: u64| format!("{asked}{at} begin 1 kill down n1 n2\n{at} end 1 kill down n1 n2");
    check(&killed(10_900), "valid");
    check(&killed(13_000), &lasted(12));
}
