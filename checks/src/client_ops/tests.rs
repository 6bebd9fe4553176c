//! Client records in, judgement out.

use serde_json::{Value as Json, json};
use usurper_history::{NodeId, OpRecord, OpType};

use super::{ClientError, ClientJudgement, ClientRecord, ClientSettings, Object, linearizable};
use crate::{
    linearizability::{PairError, Unlimited},
    models::FailedCas,
    verdict::Judgement,
};

type Line = (u32, OpType, &'static str, Json);

use OpType::{Fail, Info, Invoke, Ok as Done};

fn of_line((process, op_type, f, value): &Line) -> OpRecord {
    OpRecord {
        process: *process,
        op_type: *op_type,
        f: (*f).to_owned(),
        key: Some("x".to_owned()),
        value: (!value.is_null()).then(|| value.clone()),
        server: Some(NodeId(1)),
        session: None,
        serial: None,
        error: None,
    }
}

fn judge(lines: &[Line], settings: &ClientSettings) -> Result<ClientJudgement, ClientError> {
    let records: Vec<OpRecord> = lines.iter().map(of_line).collect();
    let records: Vec<ClientRecord<'_>> =
        (2..).zip(&records).map(|(line, op)| ClientRecord { line, t: line * 1_000, op }).collect();
    linearizable(&records, settings, &Unlimited)
}

fn judgement(lines: &[Line]) -> Judgement {
    judge(lines, &ClientSettings::default()).unwrap().judgement
}

#[test]
fn a_stale_read_is_found_with_its_lines() {
    let nothing = Json::Null;
    let lines = [
        (0, Invoke, "write", json!(1)),
        (0, Done, "write", json!(1)),
        (0, Invoke, "write", json!(2)),
        (0, Done, "write", json!(2)),
        (1, Invoke, "read", nothing),
        (1, Done, "read", json!(1)),
    ];
    let judged = judge(&lines, &ClientSettings::default()).unwrap();
    assert_eq!(
        (judged.judgement, judged.objects[0].object),
        (Judgement::Invalid, Object::Register)
    );
    let [finding] = &judged.findings[..] else { panic!("one finding") };
    assert_eq!(finding.lines, [4, 5, 6, 7]);
    assert_eq!((finding.from_ns, finding.to_ns), (4_000, 7_000));
    assert_eq!(finding.nodes, [NodeId(1)]);
    assert_eq!(
        finding.sentence,
        "no order holds write 2 (process 0, 4 to 5) and read 1 (process 1, 6 to 7), whatever the \
         state before them and whatever else happened on key `x` (positions are lines); an order is known for its first \
         2 returns"
    );
    let mut fresh = lines;
    fresh[5].3 = json!(2);
    assert_eq!(judgement(&fresh), Judgement::Valid);
}

#[test]
fn an_unknown_outcome_may_take_effect_later_or_never() {
    let mut lines = vec![
        (0, Invoke, "write", json!(1)),
        (0, Info, "write", json!(1)),
        (1, Invoke, "read", Json::Null),
        (1, Done, "read", Json::Null),
        (2, Invoke, "read", Json::Null),
        (2, Done, "read", json!(1)),
    ];
    assert_eq!(judgement(&lines), Judgement::Valid);
    lines[1].1 = Fail;
    assert_eq!(judgement(&lines), Judgement::Invalid, "it certainly did not happen");
}

#[test]
fn a_failed_cas_is_taken_as_asked() {
    let lines = [
        (0, Invoke, "write", json!(1)),
        (0, Done, "write", json!(1)),
        (1, Invoke, "cas", json!([1, 2])),
        (1, Fail, "cas", json!([1, 2])),
    ];
    for (failed_cas, judgement) in
        [(FailedCas::SawAnother, Judgement::Invalid), (FailedCas::DidNotHappen, Judgement::Valid)]
    {
        let settings = ClientSettings { failed_cas, ..ClientSettings::default() };
        let judged = judge(&lines, &settings).unwrap();
        assert_eq!(judged.judgement, judgement);
        assert_eq!(judged.note.as_deref(), Some(&*format!("1 register; {}", failed_cas.name())));
    }
}

#[test]
fn the_other_objects_are_told_from_their_operations() {
    for (object, wrong, right) in [
        (Object::Text, ("append", json!("a"), "get", json!("b")), json!("a")),
        (Object::List, ("append", json!(1), "read", json!([2])), json!([1])),
        (Object::Counter, ("add", json!(2), "read", json!(1)), json!(2)),
        (Object::Set, ("add", json!(2), "read", json!([])), json!([2])),
        (Object::Queue, ("enqueue", json!(2), "dequeue", json!(3)), json!(2)),
    ] {
        let (change, value, read, answer) = wrong;
        let mut lines = vec![
            (0, Invoke, change, value.clone()),
            (0, Done, change, value),
            (0, Invoke, read, Json::Null),
            (0, Done, read, answer),
        ];
        let judged = judge(&lines, &ClientSettings::default()).unwrap();
        assert_eq!((judged.objects[0].object, judged.judgement), (object, Judgement::Invalid));
        lines[3].3 = right;
        assert_eq!(judgement(&lines), Judgement::Valid, "{object:?}");
    }
}

#[test]
fn a_history_in_which_nothing_was_observed_is_unknown() {
    let write = [(0, Invoke, "write", json!(1)), (0, Done, "write", json!(1))];
    let strange = [(0, Invoke, "advance", json!(1)), (0, Done, "advance", json!(1))];
    for (lines, reason) in [
        (&[][..], "needs: operations (no client recorded any)"),
        (&write, "no operation observed anything"),
        (&strange, "needs: operations (1 operation of no model's: `advance`)"),
    ] {
        let judged = judge(lines, &ClientSettings::default()).unwrap();
        assert_eq!(judged.judgement, Judgement::Unknown);
        assert_eq!(judged.reason.as_deref(), Some(reason));
    }
    let object = Some(Object::Register);
    let append = [(0, Invoke, "append", json!(1)), (0, Done, "append", json!(1))];
    let judged = judge(&append, &ClientSettings { object, ..ClientSettings::default() }).unwrap();
    assert_eq!(judged.reason.as_deref(), Some("no model of a register knows `append` on key `x`"));
}

#[test]
fn records_that_no_client_can_have_made_are_named() {
    let (call, done) = ((0, Invoke, "write", json!(1)), (0, Done, "write", json!(1)));
    let read = (0, Done, "read", json!(1));
    for (lines, error) in [
        (
            vec![call.clone(), done.clone(), done.clone()],
            PairError::DoubleCompletion { process: 0, line: 4, before: 3 }.into(),
        ),
        (vec![done], PairError::CompletionWithoutInvoke { process: 0, line: 2 }.into()),
        (
            vec![call.clone(), call.clone()],
            PairError::TwoOpen { process: 0, line: 3, before: 2 }.into(),
        ),
        (
            vec![call, read],
            ClientError::OtherOperation {
                line: 3,
                what: "read".to_owned(),
                asked: "write".to_owned(),
                invoked: 2,
            },
        ),
    ] {
        assert_eq!(judge(&lines, &ClientSettings::default()).unwrap_err(), error);
    }
    let cas = [(0, Invoke, "cas", json!(1)), (0, Done, "cas", json!(1))];
    let error = judge(&cas, &ClientSettings::default()).unwrap_err().to_string();
    assert_eq!(error, "line 3: value `1`, expected a list of two values");
}

#[test]
fn elements_that_nobody_can_count_are_of_a_set_although_it_was_never_read() {
    let lines = [
        (0, Invoke, "add", json!("a")),
        (0, Done, "add", json!("a")),
        (1, Invoke, "read", Json::Null),
        (1, Info, "read", Json::Null),
    ];
    let judged = judge(&lines, &ClientSettings::default()).unwrap();
    assert_eq!((judged.judgement, judged.objects[0].object), (Judgement::Unknown, Object::Set));
}

#[test]
fn a_string_is_not_taken_for_what_it_looks_like() {
    let read = |wrote: Json, read: Json| {
        judgement(&[
            (0, Invoke, "write", wrote.clone()),
            (0, Done, "write", wrote),
            (1, Invoke, "read", Json::Null),
            (1, Done, "read", read),
        ])
    };
    assert_eq!(read(json!("\u{0}true"), json!(true)), Judgement::Invalid);
    assert_eq!(read(json!("\u{0}true"), json!("\u{0}true")), Judgement::Valid);
    assert_eq!(read(json!(true), json!(true)), Judgement::Valid);
    assert_eq!(read(json!("1"), json!(1)), Judgement::Invalid);
}

#[test]
fn a_deadline_before_anything_was_decided_leaves_it_open() {
    let write = |at: i64, op_type| (0, op_type, "write", json!(at));
    let lines: Vec<Line> =
        (0..20_000).flat_map(|at| [write(at, Invoke), write(at, Done)]).collect();
    let reason = |looks_max: u32| {
        let looks = std::sync::atomic::AtomicU32::new(0);
        let budget = || looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= looks_max;
        let records: Vec<OpRecord> = lines.iter().map(of_line).collect();
        let records: Vec<ClientRecord<'_>> =
            (2..).zip(&records).map(|(line, op)| ClientRecord { line, t: line, op }).collect();
        let judged = linearizable(&records, &ClientSettings::default(), &budget).unwrap();
        assert_eq!(judged.judgement, Judgement::Unknown);
        (judged.reason.unwrap(), looks.into_inner())
    };
    let early = "the time was up before any key was looked at".to_owned();
    assert_eq!(reason(0), (early, 1));
    let later = "the time was up on key `x`; an order is known for the first 0 returns".to_owned();
    assert_eq!(reason(12), (later, 13));
}

#[test]
fn what_does_not_fit_in_memory_is_told_what_would_need_less() {
    // Appends of which nobody heard, and one read that has some of them in some order.
    let judged = |value: fn(u32) -> u32| {
        let mut lines: Vec<Line> = Vec::new();
        for process in 0..40 {
            lines.push((process, Invoke, "append", json!(value(process))));
            lines.push((process, Info, "append", Json::Null));
        }
        let read: Vec<u32> = (10..30).map(value).collect();
        let lacks: Vec<u32> = (10..20).map(value).collect();
        for read in [read, lacks] {
            lines.push((50, Invoke, "read", Json::Null));
            lines.push((50, Done, "read", json!(read)));
        }
        let mut settings = ClientSettings::default();
        settings.options.bytes_max = 1_000;
        judge(&lines, &settings).unwrap()
    };
    let twice = judged(|process| process / 2);
    assert_eq!(twice.judgement, Judgement::Unknown);
    assert_eq!(
        twice.reason.as_deref(),
        Some(
            "the search did not fit in memory on key `x`; an order is known for the first 0 returns; \
             0 was appended twice, and where each value is new no search is needed"
        )
    );
    // Each element once: that is decided at once, however many are open.
    assert_eq!(judged(|process| process).judgement, Judgement::Invalid);
}

#[test]
fn what_changes_something_ends_as_what_was_asked_for() {
    let ended = |f: &'static str, asked: Json, end: Json| {
        judge(&[(0, Invoke, f, asked), (0, Done, f, end)], &ClientSettings::default())
    };
    for f in ["write", "append", "add", "put", "enqueue"] {
        assert!(ended(f, json!("a"), json!("a")).is_ok(), "{f}");
        assert!(ended(f, json!("a"), Json::Null).is_ok(), "{f}");
        let error = ended(f, json!("a"), json!("b")).unwrap_err().to_string();
        let expected = format!("line 3: `{f} \"b\"` completes the `{f} \"a\"` of line 2");
        assert_eq!(error, expected);
    }
    // Others are answered.
    assert!(ended("read", Json::Null, json!("b")).is_ok());
    assert!(ended("acquire", Json::Null, json!(7)).is_ok());
    assert!(ended("cas", json!([1, 2]), json!([1, 3])).is_err());
}
