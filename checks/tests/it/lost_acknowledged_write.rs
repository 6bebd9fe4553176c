use crate::transcript::{Transcript, check as check_named, check_transcript};

#[track_caller]
fn check(text: &str, expected: &str) {
    check_named("lost-acknowledged-write", text, expected);
}

#[test]
fn an_acknowledged_write_is_there_or_overwritten_at_the_end() {
    let text = |end: &str, last: &str| {
        format!(
            "10 c1 invoke write x 1
             20 c1 ok write x 1
             30 c1 invoke write x 2
             40 c1 {end} write x 2
             50 c2 invoke read x
             60 c2 ok read x {last}"
        )
    };
    check(&text("ok", "2"), "valid");
    check(
        &text("ok", "1"),
        "invalid
         - write 2 on key `x` (process 1, 4 to 5) was acknowledged, and no final read shows it; the \
         last is read 1 (process 2, 6 to 7)",
    );
    // Of unknown outcome, it may be missing.
    check(&text("info", "1"), "valid");
    check(&text("info", "2"), "valid");
    // One final read that shows it suffices.
    check(&format!("{}\n 70 c3 invoke read x\n 80 c3 ok read x 2", text("ok", "1")), "valid");
    // A read that overlaps it is none.
    check(
        "10 c1 invoke write x 1
         20 c2 invoke read x
         30 c1 ok write x 1
         40 c2 ok read x",
        "unknown (no key was read after its last acknowledged change)",
    );
}

#[test]
fn an_element_is_there_or_may_have_been_removed() {
    let text = |remove: &str, last: &str| {
        format!(
            "10 c1 invoke add s 1
             20 c1 ok add s 1
             30 c1 invoke add s 2
             40 c1 ok add s 2
             {remove}
             50 c2 invoke read s
             60 c2 ok read s {last}"
        )
    };
    check(&text("", "[1,2]"), "valid");
    let lost = "invalid
         - add 2 on key `s` (process 1, 4 to 5) was acknowledged, and no final read shows it; the last \
         is read ";
    check(&text("", "[1]"), &format!("{lost}[1] (process 2, 6 to 7)"));
    check(&text("41 c3 invoke remove s 2", "[1]"), "valid");
    check(
        &text("41 c3 invoke remove s 2\n 42 c3 fail remove s 2 error", "[1]"),
        &format!("{lost}[1] (process 2, 8 to 9)"),
    );
    check(&text("", "[1,2]").replace("add", "append"), "valid");
    check(
        &text("", "[1]").replace("add", "append"),
        &format!("{}[1] (process 2, 6 to 7)", lost.replace("add", "append")),
    );
}

#[test]
fn a_counter_shows_at_least_what_was_acknowledged() {
    let text = |last: u64| {
        format!(
            "10 c1 invoke add n 2
             20 c1 ok add n 2
             30 c1 invoke add n 3
             40 c1 ok add n 3
             41 c3 invoke add n 4
             50 c2 invoke read n
             60 c2 ok read n {last}"
        )
    };
    check(&text(5), "valid");
    check(&text(9), "valid");
    check(
        &text(4),
        "invalid
         - 5 were acknowledged in sum on key `n`, and no final read shows more than 4: read 4 (process \
         2, 7 to 8)",
    );
}

#[test]
fn a_queue_hands_out_what_it_took_before_it_is_empty() {
    let text = |first: &str| {
        format!(
            "10 c1 invoke enqueue q 1
             20 c1 ok enqueue q 1
             30 c2 invoke dequeue q
             40 c2 {first}
             50 c3 invoke dequeue q
             60 c3 ok dequeue q"
        )
    };
    check(&text("ok dequeue q 1"), "valid");
    check(&text("info dequeue q"), "valid");
    check(
        &text("fail dequeue q error"),
        "invalid
         - enqueue 1 on key `q` (process 1, 2 to 3) was acknowledged, and no final read shows it; the \
         last is dequeue nil (process 3, 6 to 7)",
    );
}

#[test]
fn without_a_final_read_nothing_is_known() {
    let text = "10 c1 invoke write x 1\n 20 c1 ok write x 1";
    check(text, "unknown (no key was read after its last acknowledged change)");
    check(
        &format!(
            "{text}\n 30 c1 invoke write y 1\n 40 c1 ok write y 1\n 50 c1 invoke read y\n 60 c1 ok read y 1"
        ),
        "valid (1 key without a final read)",
    );
    check("0 boot", "unknown (needs: operations (no client recorded any))");
    check_transcript(
        "lost-acknowledged-write",
        Transcript::new(text).without("operations"),
        "unknown (needs: operations)",
    );
}

#[test]
fn a_set_of_texts_that_is_found_empty_has_lost_what_was_added() {
    let text = |last: &str| {
        format!(
            "10 c1 invoke add x \"a\"
             20 c1 ok add x \"a\"
             50 c2 invoke read x
             60 c2 ok read x {last}"
        )
    };
    check(&text("[\"a\"]"), "valid");
    check(
        &text("null"),
        "invalid
         - add \"a\" on key `x` (process 1, 2 to 3) was acknowledged, and no final read shows it; the \
         last is read nil (process 2, 4 to 5)",
    );
}
