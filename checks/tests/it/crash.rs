use crate::transcript::check;

#[test]
fn a_node_that_ends_by_itself_is_a_crash() {
    check(
        "crash",
        "0 boot
         10 n1 elected 1
         500 exit n2 code 101
         900 phase end",
        "invalid
         - n2 (incarnation 1) ended with exit code 101 although nobody ended it; its last words: `thread main panicked at connection.rs`",
    );
    check(
        "crash",
        "0 boot
         10 n1 elected 1
         500 exit n2 signal 11
         900 phase end",
        "invalid
         - n2 (incarnation 1) ended by signal 11 although nobody ended it; its last words: `thread main panicked at connection.rs`",
    );
}

#[test]
fn a_node_that_the_harness_ends_is_no_crash() {
    check(
        "crash",
        "0 boot
         10 n1 elected 1
         490 begin 1 kill down n2
         500 exit n2 ok
         501 end 1 kill down n2
         600 spawn n2
         610 n2 start 1
         620 ready n2
         900 phase end",
        "valid",
    );
}

#[test]
fn an_incarnation_that_nobody_started_shows_an_unseen_crash() {
    check(
        "crash",
        "0 boot
         10 n1 elected 1
         500 n2 start 1
         900 phase end",
        "invalid
         - n2 started as incarnation 2 although the harness did not start it: the process before it has ended unseen",
    );
}

#[test]
fn a_node_may_speak_just_before_its_spawn_is_noted() {
    let text = "0 boot
         10 n1 elected 1
         490 exit n2 ok
         500 spawn n2
         500 n2 start 1
         510 ready n2
         900 phase end";
    let transcript = crate::transcript::Transcript::new(text).asks("crash", serde_json::json!({}));
    let history = transcript.text();
    let mut lines: Vec<&str> = history.lines().collect();
    let spawn = lines.iter().rposition(|line| line.contains(r#""spawn""#)).unwrap();
    lines.swap(spawn, spawn + 1);
    let verdict = crate::transcript::judge_text(&(lines.join("\n") + "\n")).unwrap();
    assert_eq!(crate::transcript::render(&verdict.checks[0]), "valid");
}
