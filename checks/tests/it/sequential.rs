use crate::transcript::{Transcript, check as check_named, check_transcript};

#[track_caller]
fn check(text: &str, expected: &str) {
    check_named("sequential", text, expected);
}

/// Writes 1 and then 2.
const WRITES: &str = "10 c1 invoke write x 1
    20 c1 ok write x 1
    30 c1 invoke write x 2
    40 c1 ok write x 2\n";

#[test]
fn a_session_may_be_behind_and_may_not_go_back() {
    let reads = |first: u64, second: u64| {
        format!(
            "{WRITES} 50 c2 invoke read x at n3
             60 c2 ok read x {first} at n3
             70 c2 invoke read x at n2
             80 c2 ok read x {second} at n2"
        )
    };
    check(&reads(1, 1), "valid");
    check(&reads(1, 2), "valid");
    check(
        &reads(2, 1),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `x` (process 1, 4 to \
         5), read 2 on key `x` (process 2, 6 to 7) and read 1 on key `x` (process 2, 8 to 9): a \
         session went back, or the writes took effect in two orders",
    );
    // Another session is at another place.
    check(&reads(2, 1).replace("70 c2", "70 c3").replace("80 c2", "80 c3"), "valid");
    // And the same client goes on as another process.
    let resumed = reads(2, 1).replace("70 c2", "70 c3").replace("80 c2", "80 c3");
    let resumed = resumed.replace("read x", "read x session 7");
    check(
        &resumed,
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `x` (process 1, 4 to \
         5), read 2 on key `x` (process 2, 6 to 7) and read 1 on key `x` (process 3, 8 to 9): a \
         session went back, or the writes took effect in two orders",
    );
}

#[test]
fn a_session_sees_its_own_writes() {
    let text = |who: &str| format!("{WRITES} 50 {who} invoke read x\n 60 {who} ok read x 1");
    check(&text("c2"), "valid");
    check(
        &text("c1"),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `x` (process 1, 4 to \
         5) and read 1 on key `x` (process 1, 6 to 7): a session went back, or the writes took effect \
         in two orders",
    );
}

#[test]
fn a_session_does_not_go_back_on_another_key() {
    let text = |second: &str| {
        format!(
            "10 c1 invoke write x 1
             20 c1 ok write x 1
             30 c1 invoke write y 2
             40 c1 ok write y 2
             50 c2 invoke read y
             60 c2 ok read y 2
             70 c2 invoke read x
             80 c2 ok read x {second}"
        )
    };
    check(&text("1"), "valid");
    check(
        &text(""),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `y` (process 1, 4 to \
         5), read 2 on key `y` (process 2, 6 to 7) and read nil on key `x` (process 2, 8 to 9): a \
         session went back to what had been overwritten",
    );
}

#[test]
fn writes_that_overlap_have_one_order_for_all_sessions() {
    let text = |c4: (u64, u64)| {
        format!(
            "10 c1 invoke write x 1
             10 c2 invoke write x 2
             20 c1 ok write x 1
             20 c2 ok write x 2
             30 c3 invoke read x
             40 c3 ok read x 1
             41 c3 invoke read x
             42 c3 ok read x 2
             50 c4 invoke read x
             60 c4 ok read x {}
             61 c4 invoke read x
             62 c4 ok read x {}",
            c4.0, c4.1
        )
    };
    check(&text((1, 2)), "valid");
    check(&text((2, 2)), "valid");
    check(
        &text((2, 1)),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 4), write 2 on key `x` (process 2, 3 to \
         5), read 1 on key `x` (process 3, 6 to 7), read 2 on key `x` (process 3, 8 to 9), read 2 on \
         key `x` (process 4, 10 to 11) and read 1 on key `x` (process 4, 12 to 13): a session went \
         back, or the writes took effect in two orders",
    );
}

#[test]
fn nothing_is_read_before_it_is_written_or_without() {
    check(
        "10 c2 invoke read x
         20 c2 ok read x 1
         30 c1 invoke write x 1
         40 c1 ok write x 1",
        "invalid
         - no order holds read 1 on key `x` (process 2, 2 to 3) and write 1 on key `x` (process 1, 4 \
         to 5): it was seen before it was written",
    );
    check(
        "10 c2 invoke read x
         20 c1 invoke write x 1
         30 c2 ok read x 1
         40 c1 ok write x 1",
        "valid",
    );
    check(
        &format!("{WRITES} 50 c2 invoke read x\n 60 c2 ok read x 3"),
        "invalid
         - read 3 on key `x` (process 2, 6 to 7) found a value that nobody had written",
    );
    check(
        "10 c1 invoke write x 1\n 20 c1 info write x 1\n 30 c2 invoke read x\n 40 c2 ok read x 1",
        "valid",
    );
}

#[test]
fn a_cas_follows_what_it_replaced() {
    let text = |last: &str| {
        format!(
            "{WRITES} 50 c2 invoke cas x [2,3]
             60 c2 ok cas x [2,3]
             61 c2 invoke cas x [9,5]
             62 c2 fail cas x [9,5]
             70 c3 invoke {last}
             80 c3 ok {last}"
        )
    };
    check(&text("cas x [3,4]"), "unknown (no operation observed anything)");
    let read = "90 c2 invoke read x\n 95 c2 ok read x 4";
    check(&format!("{}\n{read}", text("cas x [3,4]")), "valid (1 failed cas not looked at)");
    check(
        &text("cas x [2,4]"),
        "invalid
         - no order holds cas 2 to 3 on key `x` (process 2, 6 to 7) and cas 2 to 4 on key `x` \
         (process 3, 10 to 11): each replaced the same value",
    );
    check(
        &text("cas x [1,4]"),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `x` (process 1, 4 to \
         5) and cas 1 to 4 on key `x` (process 3, 10 to 11): the first had been overwritten when it \
         was replaced",
    );
}

#[test]
fn what_cannot_be_told_is_unknown() {
    check(
        &format!("{WRITES} 50 c2 invoke write x 1\n 60 c2 ok write x 1"),
        "unknown (1 is written twice on key `x`, so reads do not tell which)",
    );
    check(
        &format!("{WRITES} 50 c2 invoke append l 1\n 60 c2 ok append l 1"),
        "unknown (only registers are judged, and `append` on key `l` is none of one)",
    );
    check(WRITES, "unknown (no operation observed anything)");
    check("0 boot", "unknown (needs: operations (no client recorded any))");
    check_transcript(
        "sequential",
        Transcript::new(WRITES).without("operations"),
        "unknown (needs: operations)",
    );
}

#[test]
fn a_session_is_held_to_the_order_of_what_it_had_not_open_at_once() {
    let text = |last: u64| {
        format!(
            "10 c1 invoke write x 1
             20 c1 ok write x 1
             21 c1 invoke write x 2
             22 c1 ok write x 2
             30 c2 invoke read x session 7
             31 c3 invoke read x session 7
             40 c2 ok read x 1 session 7
             41 c3 ok read x 2 session 7
             50 c2 invoke read x session 7
             60 c2 ok read x 2 session 7
             70 c2 invoke read x session 7
             80 c2 ok read x {last} session 7"
        )
    };
    check(&text(2), "valid");
    check(
        &text(1),
        "invalid
         - no order holds write 1 on key `x` (process 1, 2 to 3), write 2 on key `x` (process 1, 4 to \
         5), read 1 on key `x` (process 2, 6 to 8), read 2 on key `x` (process 2, 10 to 11) and read 1 on \
         key `x` (process 2, 12 to 13): a session went back, or the writes took effect in two orders",
    );
}
