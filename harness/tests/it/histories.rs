//! Histories that `check` is handed.

use std::fs;

use crate::support::Place;

#[test]
fn a_history_that_cannot_be_read_is_an_error_with_its_line() {
    let place = Place::new();
    place.usurper("run fle/healthy-cold-start --settle 100ms").expect(0, &[]);
    let good = fs::read_to_string(place.only_run().join("history.jsonl")).unwrap();
    let lines: Vec<_> = good.lines().collect();
    let check = |text: &str, code: i32, texts: &[&str]| {
        place.file("history.jsonl", text);
        place.usurper("check history.jsonl").expect(code, texts);
    };
    check("", 2, &["cannot judge `history.jsonl`", "the file is empty"]);
    check("{\"usurper-history\":99}\n", 2, &["format version 99", "a newer usurper wrote it"]);
    check("hello\n", 2, &["line 1 is not the header of a history"]);
    let mut corrupt = lines.clone();
    corrupt[4] = "{\"t\":1,";
    check(&corrupt.join("\n"), 2, &["line 5: not JSON"]);
    // A killed harness may tear its last line; that is told, and such a history is not valid.
    let torn = &good[..good.len() - 20];
    let cut_off = "the history was cut off";
    check(torn, 3, &[cut_off, "verdict    unknown", "stored in  history.jsonl"]);
    check(&lines[..lines.len() / 2].join("\n"), 3, &[cut_off, "verdict    unknown"]);
    // Out of order is what a killed harness leaves, too: it is brought into order.
    let mut late = lines.clone();
    let last = late.remove(lines.len() - 3);
    late.insert(10, last);
    check(&late.join("\n"), 0, &["verdict    valid"]);
    place.usurper("check nothing-here").expect(2, &["cannot judge `nothing-here`"]);
}

#[test]
fn lost_events_and_no_events_are_unknown_and_never_valid() {
    let place = Place::new();
    place.usurper("run fle/healthy-cold-start --settle 100ms").expect(0, &[]);
    let good = fs::read_to_string(place.only_run().join("history.jsonl")).unwrap();
    let without = |unwanted: &dyn Fn(&str) -> bool| {
        let kept: Vec<_> = good.lines().filter(|line| !unwanted(line)).collect();
        place.file("history.jsonl", &kept.join("\n"));
        place.usurper("check history.jsonl")
    };
    let lost = without(&|line| line.contains("\"node\":\"n2\"") && line.contains("\"seq\":7,"));
    lost.expect(3, &["verdict    unknown", "n2 incarnation 1 lacks event 7"]);
    let none = without(&|line| line.contains("\"record\":\"node\""));
    none.expect(3, &["verdict    unknown", "no node recorded any event"]);
}
