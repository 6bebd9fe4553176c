use serde_json::json;
use usurper_checks::{JudgeError, Means};
use usurper_history::Reader;

use crate::transcript::{Transcript, check as check_named, check_transcript, render};

#[track_caller]
fn check(text: &str, expected: &str) {
    check_named("linearizable", text, expected);
}

/// Writes 1 and then 2.
const WRITES: &str = "10 c1 invoke write x 1
    20 c1 ok write x 1
    30 c1 invoke write x 2
    40 c1 ok write x 2\n";

#[test]
fn a_read_does_not_return_what_was_overwritten_before_it_began() {
    check(
        &format!("{WRITES} 50 c2 invoke read x at n3\n 60 c2 ok read x 1 at n3"),
        "invalid (1 register; a failed cas saw another value)
         - no order holds write 2 (process 1, 4 to 5) and read 1 (process 2, 6 to 7), whatever the \
         state before them and whatever else happened on key `x` (positions are lines); an order is known for its first 2 returns",
    );
    check(
        &format!("{WRITES} 50 c2 invoke read x at n3\n 60 c2 ok read x 2 at n3"),
        "valid (1 register; a failed cas saw another value)",
    );
}

#[test]
fn what_ended_in_info_may_take_effect_later_or_never() {
    let text = |end: &str| {
        format!(
            "10 c1 invoke write x 1
             {end}
             40 c2 invoke read x
             50 c2 ok read x
             60 c2 invoke read x
             70 c2 ok read x 1"
        )
    };
    let valid = "valid (1 register; a failed cas saw another value)";
    check(&text("20 c1 info write x 1"), valid);
    check(&text(""), valid);
    check(
        &text("20 c1 fail write x 1 error"),
        "invalid (1 register; a failed cas saw another value)
         - no order holds read nil (process 2, 4 to 5) and read 1 (process 2, 6 to 7), whatever the \
         state before them and whatever else happened on key `x` (positions are lines); an order is \
         known for its first 1 return",
    );
}

#[test]
fn a_failed_cas_is_taken_as_the_header_says() {
    let text = "10 c1 invoke write x 1
        20 c1 ok write x 1
        30 c1 invoke cas x [1,2]
        40 c1 fail cas x [1,2]
        50 c1 invoke read x
        60 c1 ok read x 1";
    check(
        text,
        "invalid (1 register; a failed cas saw another value)
         - no order holds write 1 (process 1, 2 to 3) and failed cas from 1 (process 1, 4 to 5), \
         whatever the state before them and whatever else happened on key `x` (positions are \
         lines); an order is known for its first 1 return",
    );
    let options = json!({"failed-cas": "did-not-happen"});
    check_transcript(
        "linearizable",
        Transcript::new(text).asks("linearizable", options),
        "valid (1 register; a failed cas did not happen)",
    );
    // With an error the system was never asked.
    check(
        &text.replace("fail cas x [1,2]", "fail cas x [1,2] error"),
        "valid (1 register; a failed cas saw another value)",
    );
}

#[test]
fn a_lock_has_one_holder_and_its_tokens_grow() {
    let text = |second: &str| {
        format!(
            "10 c1 invoke acquire l
             20 c1 ok acquire l 1
             30 c2 invoke acquire l
             40 c2 {second}
             50 c1 invoke release l 1
             60 c1 ok release l 1
             70 c2 invoke acquire l
             80 c2 ok acquire l 3"
        )
    };
    check(&text("fail acquire l"), "valid (1 lock; a failed cas saw another value)");
    check(&text("fail acquire l error"), "valid (1 lock; a failed cas saw another value)");
    check(
        &text("ok acquire l 2"),
        "invalid (1 lock; a failed cas saw another value)
         - no order holds acquire by 1 with token 1 (process 1, 2 to 3) and acquire by 2 with token 2 \
         (process 2, 4 to 5), whatever else happened on key `l` (positions are lines); an order is known for its first 1 return",
    );
    check(
        &text("fail acquire l").replace("ok acquire l 3", "ok acquire l 1"),
        "invalid (1 lock; a failed cas saw another value)
         - no order holds release with token 1 (process 1, 6 to 7) and acquire by 2 with token \
         1 (process 2, 8 to 9), whatever else happened on key `l` (positions are lines); an order is known for its first 3 returns",
    );
}

#[test]
fn a_holder_may_release_after_its_client_went_on_as_another_process() {
    check(
        "10 c1 invoke acquire l
         20 c1 ok acquire l 7
         30 c1 invoke acquire m
         40 c1 info acquire m
         50 c2 invoke release l 7
         60 c2 ok release l 7
         70 c3 invoke acquire l
         80 c3 ok acquire l 8",
        "valid (2 locks; a failed cas saw another value)",
    );
}

#[test]
fn keys_of_several_kinds_are_judged_by_what_each_is() {
    let text = "10 c1 invoke append l 1
        20 c1 ok append l 1
        30 c1 invoke read l
        40 c1 ok read l [1]
        50 c1 invoke add n 2
        60 c1 ok add n 2
        70 c1 invoke read n
        80 c1 ok read n 2
        90 c1 invoke enqueue q 5
        100 c1 ok enqueue q 5
        110 c1 invoke dequeue q
        120 c1 ok dequeue q 5
        130 c1 invoke write x 9
        140 c1 ok write x 9";
    check(
        text,
        "valid (1 register, 1 list, 1 counter and 1 queue; a failed cas saw another value)",
    );
    check(
        &text.replace("ok read l [1]", "ok read l []"),
        "invalid (1 register, 1 list, 1 counter and 1 queue; a failed cas saw another value)
         - no order holds append 1 (process 1, 2 to 3) and read [] (process 1, 4 to 5), \
         whatever else happened on key `l` (positions are lines); an order is known for its first 1 return",
    );
}

/// A key that nobody has written yet is what the other keys are.
#[test]
fn a_key_that_is_only_read_is_what_the_others_are() {
    let text = |write: &str, seen: &str| {
        format!(
            "10 c1 invoke {write}
             20 c1 ok {write}
             30 c1 invoke read y
             40 c1 ok read y {seen}"
        )
    };
    check(&text("append x 1", "[]"), "valid (2 lists; a failed cas saw another value)");
    check(
        &text("append x 1", "[1]"),
        "invalid (2 lists; a failed cas saw another value)
         - read [1] (process 1, 4 to 5) cannot have happened, whatever else happened on key `y` (positions \
         are lines); an order is known for its first 0 returns",
    );
    check(&text("add x 1", "0"), "valid (2 counters; a failed cas saw another value)");
    check(
        &text("write x 1", "0"),
        "invalid (2 registers; a failed cas saw another value)
         - read 0 (process 1, 4 to 5) cannot have happened, whatever else happened on key `y` (positions \
         are lines); an order is known for its first 0 returns",
    );
    let only_read = |seen: &str| format!("10 c1 invoke read y\n20 c1 ok read y {seen}");
    check(
        &only_read("[]"),
        "unknown (nothing tells what is read on key `y`: it was never written)",
    );
    // Beside others it is a register that nobody wrote; alone it shows nothing.
    check(&only_read(""), "unknown (no operation has a value)");
    check(&text("write x 1", ""), "valid (2 registers; a failed cas saw another value)");
}

#[test]
fn what_no_model_knows_is_left_out_or_makes_its_key_unknown() {
    let advance = "5 c9 invoke advance - 3\n 6 c9 ok advance - 3\n";
    check(
        &format!("{advance} {WRITES} 50 c2 invoke read x\n 60 c2 ok read x 2"),
        "valid (1 register; a failed cas saw another value; 1 operation of `advance` is of no model)",
    );
    check(advance, "unknown (needs: operations (1 operation of no model's: `advance`))");
    check("0 boot", "unknown (needs: operations (no client recorded any))");
    check(
        &format!("{WRITES} 50 c2 invoke advance x 3\n 60 c2 ok advance x 3"),
        "unknown (no model of a register knows `advance` on key `x`)",
    );
    check(WRITES, "unknown (no operation observed anything)");
    check_transcript(
        "linearizable",
        Transcript::new(WRITES).without("operations"),
        "unknown (needs: operations)",
    );
}

#[test]
fn a_model_that_is_named_is_taken_or_refused() {
    let asked = |model: &str| {
        let options = json!({"model": model});
        Transcript::new(
            "10 c1 invoke add x 1\n 20 c1 ok add x 1\n 30 c1 invoke read x\n 40 c1 ok read x",
        )
        .asks("linearizable", options)
    };
    check_transcript(
        "linearizable",
        asked("set"),
        "invalid (1 set; a failed cas saw another value)
         - no order holds add 1 (process 1, 2 to 3) and read nothing (process 1, 4 to 5), whatever \
         else happened on key `x` (positions are lines); an order is known for its first 1 return",
    );
    check_transcript(
        "linearizable",
        asked("register"),
        "unknown (no model of a register knows `add` on key `x`)",
    );
    let error = asked("heap").judge().unwrap_err();
    let JudgeError::Request(error) = error else { panic!("{error}") };
    assert_eq!(
        error.to_string(),
        "option `model` of check `linearizable` is `\"heap\"`, expected register, text, list, \
         counter, set, queue, lock"
    );
}

#[test]
fn a_time_that_is_up_makes_it_unknown_with_what_was_verified() {
    let text = format!("{WRITES} 50 c2 invoke read x\n 60 c2 ok read x 2");
    let transcript = Transcript::new(&text).asks("linearizable", json!({"time-limit-ns": 1}));
    let ticks = std::sync::atomic::AtomicU64::new(0);
    let elapsed = move || ticks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let means = Means { elapsed_ns: Some(std::sync::Arc::new(elapsed)), threads: 2 };
    let text = transcript.text();
    let mut reader = Reader::new(text.as_bytes()).unwrap();
    let verdict = usurper_checks::judge_with(&mut reader, &means).unwrap();
    assert_eq!(
        render(&verdict.checks[0]),
        "unknown (the time was up on key `x`; an order is known for the first 0 returns)"
    );
}

#[test]
fn records_that_no_client_can_have_made_are_an_error() {
    let text = "10 c1 invoke write x 1\n 20 c1 invoke write x 2";
    let transcript = Transcript::new(text).asks("linearizable", json!({}));
    let JudgeError::Client(error) = transcript.judge().unwrap_err() else { panic!("an error") };
    assert_eq!(
        error.to_string(),
        "line 3: process 1 invokes an operation while that of line 2 is open"
    );
}

#[test]
fn lost_events_of_nodes_do_not_matter_and_a_step_that_never_ran_does() {
    let text = format!(
        "0 boot\n 1 n1 lose 3\n 2 n1 elected 1\n {WRITES} 50 c2 invoke read x\n 60 c2 ok read x 2\n"
    );
    check(&text, "valid (1 register; a failed cas saw another value)");
}
