use serde_json::json;

use crate::transcript::{Transcript, check as check_named, check_transcript};

/// A read of 1 that begins 15 ms after 2 was written over it; then one of 2.
const STALE: &str = "10 c1 invoke write x 1
    20 c1 ok write x 1
    30 c1 invoke write x 2
    40 c1 ok write x 2
    55 c2 invoke read x at n3
    60 c2 ok read x 1 at n3
    70 c2 invoke read x at n2
    80 c2 ok read x 2 at n2\n";

#[track_caller]
fn check(bound_ms: Option<u64>, text: &str, expected: &str) {
    let options = bound_ms.map_or_else(|| json!({}), |ms| json!({"bound-ns": ms * 1_000_000}));
    check_transcript("stale-read", Transcript::new(text).asks("stale-read", options), expected);
}

#[test]
fn a_stale_read_is_a_warning_until_a_bound_is_set() {
    check(
        None,
        STALE,
        "valid (1 of 2 reads stale, by up to 15 ms)
         ~ read 1 on key `x` (process 2, 6 to 7) returned what had been overwritten for 15 ms",
    );
    check(
        Some(15),
        STALE,
        "valid (1 of 2 reads stale, by up to 15 ms)
         ~ read 1 on key `x` (process 2, 6 to 7) returned what had been overwritten for 15 ms",
    );
    check(
        Some(14),
        STALE,
        "invalid (1 of 2 reads stale, by up to 15 ms)
         - read 1 on key `x` (process 2, 6 to 7) returned what had been overwritten for 15 ms",
    );
    check(Some(14), &STALE.replace("60 c2 ok read x 1", "60 c2 ok read x 2"), "valid");
}

#[test]
fn only_what_certainly_came_later_makes_a_read_stale() {
    // The second write may have taken effect first.
    check(Some(1), &STALE.replace("20 c1 ok write x 1\n", "").replace("10 c1", "10 c3"), "valid");
    // It may have taken effect after the read began.
    let late =
        STALE.replace("40 c1 ok write x 2\n", "").replace("70 c2", "65 c1 ok write x 2\n 70 c2");
    check(Some(1), &late, "valid");
    // A write of unknown outcome has ended when somebody has seen it.
    let info = STALE.replace("40 c1 ok write x 2", "40 c1 info write x 2");
    check(Some(1), &info, "valid");
    let seen = info.replace("55 c2", "41 c4 invoke read x\n 45 c4 ok read x 2\n 55 c2");
    check(
        Some(1),
        &seen,
        "invalid (1 of 3 reads stale, by up to 10 ms)
         - read 1 on key `x` (process 2, 8 to 9) returned what had been overwritten for 10 ms",
    );
}

#[test]
fn what_a_cas_replaced_was_overwritten() {
    let text = "10 c1 invoke write x 1
        15 c2 invoke cas x [1,2]
        18 c2 ok cas x [1,2]
        20 c1 ok write x 1
        30 c3 invoke read x
        40 c3 ok read x 1";
    check(
        Some(1),
        text,
        "invalid (1 of 1 read stale, by up to 12 ms)
         - read 1 on key `x` (process 3, 6 to 7) returned what had been overwritten for 12 ms",
    );
    check(Some(1), &text.replace("ok read x 1", "ok read x 2"), "valid");
}

#[test]
fn without_reads_or_unique_values_nothing_is_known() {
    check_named(
        "stale-read",
        "10 c1 invoke write x 1\n 20 c1 ok write x 1",
        "unknown (no operation observed anything)",
    );
    check_named("stale-read", "0 boot", "unknown (needs: operations (no client recorded any))");
    check_named(
        "stale-read",
        &STALE.replace("write x 2", "write x 1"),
        "unknown (1 is written twice on key `x`, so reads do not tell which)",
    );
}
