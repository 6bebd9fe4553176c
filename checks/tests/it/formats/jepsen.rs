//! Jepsen's histories, read and written.

use proptest::prelude::*;
use serde_json::{Value, json};
use usurper_checks::{Judgement, formats::write_jepsen_edn};
use usurper_history::{Body, NodeId, OpRecord, OpType, Record};

use super::{judged, texts, verdict};

#[test]
fn a_register_is_read() {
    let history = r#"
{:type :info, :f :start, :value nil, :process :nemesis, :time 1, :index 0}
{:process 0, :type :invoke, :f :write, :value 1, :time 3, :index 1}
{:process 0, :type :ok, :f :write, :value 1, :time 5, :index 2}
{:process 1, :type :invoke, :f :cas, :value [1 2], :time 6, :index 3}
{:process 2, :type :invoke, :f :cas, :value [1 3], :time 7, :index 4, :error nil}
{:process 1, :type :ok, :f :cas, :value [1 2], :time 8, :index 5}
{:process 2, :type :fail, :f :cas, :value [1 3], :time 9, :index 6}
{:process 3, :type :invoke, :f :read, :value nil, :time 10, :index 7}
{:process 3, :type :ok, :f :read, :value 2, :time 11, :index 8}
{:process 4, :type :invoke, :f :write, :value 9, :time 12, :index 9}
{:process 4, :type :info, :f :write, :value 9, :error [:timeout "x"], :time 13, :index 10}
"#;
    let verdict = judged(history, Judgement::Valid);
    let notes = verdict.imported.unwrap().notes;
    assert_eq!(
        notes,
        [
            "a failed operation did not happen, and saw nothing",
            "1 steps of no client (`:nemesis`) are left out"
        ]
    );
    // A stale read, and the lines that prove it.
    let verdict = judged(
        &history.replace(":ok, :f :read, :value 2", ":ok, :f :read, :value 1"),
        Judgement::Invalid,
    );
    assert!(verdict.checks[0].findings[0].lines.contains(&10), "{:?}", verdict.checks);
    // A cas that failed says nothing: so it may well be one that should have succeeded.
    judged(&history.replace("[1 3]", "[2 3]"), Judgement::Valid);
}

#[test]
fn one_vector_over_many_lines_is_read() {
    let history = "[{:process 0, :type :invoke,\n  :f :write :value 1} {:process 0 :type :ok :f :write\n :value 1} {:process 1 :type :invoke :f :read}\n {:process 1, :type :ok, :f :read, :value 2}]";
    let verdict = judged(history, Judgement::Invalid);
    // Two steps share a line, so positions count steps.
    assert_eq!(verdict.checks[0].findings[0].lines, [1, 2, 3, 4]);
    judged(&history.replace(":value 2}", ":value 1}"), Judgement::Valid);
}

#[test]
fn independent_keys_are_told_by_pairs() {
    let history = "
{:process 0, :type :invoke, :f :write, :value [5 1]}
{:process 0, :type :ok, :f :write, :value [5 1]}
{:process 0, :type :invoke, :f :read, :value [6 nil]}
{:process 0, :type :ok, :f :read, :value [6 nil]}
{:process 0, :type :invoke, :f :read, :value [5 nil]}
{:process 0, :type :ok, :f :read, :value [5 1]}";
    judged(history, Judgement::Valid);
    judged(
        &history
            .replace("[6 nil]}\n{:process 0, :type :invoke", "[6 1]}\n{:process 0, :type :invoke"),
        Judgement::Invalid,
    );
}

#[test]
fn independent_keys_are_told_by_nested_pairs_where_nobody_reads() {
    let history = "
{:process 0, :type :invoke, :f :write, :value [5 1]}
{:process 0, :type :ok, :f :write, :value [5 1]}
{:process 0, :type :invoke, :f :cas, :value [5 [1 2]]}
{:process 0, :type :ok, :f :cas, :value [5 [1 2]]}";
    judged(history, Judgement::Valid);
    judged(&history.replace("[5 [1 2]]", "[5 [2 1]]"), Judgement::Invalid);
}

/// Two keys of one history, of which one is written and the other read.
#[track_caller]
fn keys(one: &str, other: &str) {
    let pair = |key: &str, value: &str| format!(":value [{key} {value}]");
    let field = |key: &str, value: &str| format!(":key {key}, :value {value}");
    for named in [&pair as &dyn Fn(&str, &str) -> String, &field] {
        let of = |read: &str, value: &str| {
            format!(
                "
{{:process 0, :type :invoke, :f :write, {}}}
{{:process 0, :type :ok, :f :write, {}}}
{{:process 0, :type :invoke, :f :write, {}}}
{{:process 0, :type :ok, :f :write, {}}}
{{:process 1, :type :invoke, :f :read, {}}}
{{:process 1, :type :ok, :f :read, {}}}",
                named(one, "1"),
                named(one, "1"),
                named(other, "2"),
                named(other, "2"),
                named(read, "nil"),
                named(read, value)
            )
        };
        for (key, right, wrong) in [(one, "1", "2"), (other, "2", "1")] {
            judged(&of(key, right), Judgement::Valid);
            judged(&of(key, wrong), Judgement::Invalid);
        }
    }
    let lists = |key: &str, read: &str| {
        format!(
            "
{{:process 0, :type :invoke, :f :txn, :value [[:append {one} 1]]}}
{{:process 0, :type :ok, :f :txn, :value [[:append {one} 1]]}}
{{:process 0, :type :invoke, :f :txn, :value [[:append {other} 2]]}}
{{:process 0, :type :ok, :f :txn, :value [[:append {other} 2]]}}
{{:process 1, :type :invoke, :f :txn, :value [[:r {key} nil]]}}
{{:process 1, :type :ok, :f :txn, :value [[:r {key} {read}]]}}"
        )
    };
    judged(&lists(one, "[1]"), Judgement::Valid);
    judged(&lists(one, "[1 2]"), Judgement::Invalid);
}

#[test]
fn keys_of_different_kinds_are_different_keys() {
    keys("1", "\"1\"");
    keys("\"1\"", "1");
    keys(":a", "\"a\"");
    keys(":a", "\":a\"");
    keys("a", "\"a\"");
    keys("1", "1.0");
    keys("true", "\"true\"");
    keys("[1 2]", "\"[1 2]\"");
    keys("1", "123456789012345678901234567890N");
    keys("\"123456789012345678901234567890N\"", "123456789012345678901234567890N");
}

#[test]
fn keys_of_one_kind_are_shown_as_they_are() {
    for (key, shown) in [("1", "1"), ("\"1\"", "1"), ("\"a b\"", "a b"), (":a", ":a")] {
        let history = format!(
            "{{:process 0, :type :invoke, :f :write, :value [{key} 1]}}
{{:process 0, :type :ok, :f :write, :value [{key} 1]}}
{{:process 1, :type :invoke, :f :read, :value [{key} nil]}}
{{:process 1, :type :ok, :f :read, :value [{key} 2]}}"
        );
        let verdict = judged(&history, Judgement::Invalid);
        let sentence = &verdict.checks[0].findings[0].sentence;
        assert!(sentence.contains(&format!("on key `{shown}`")), "{sentence}");
    }
}

#[test]
fn values_of_different_kinds_are_different_values() {
    let history = |written: &str, read: &str| {
        format!(
            "
{{:process 0, :type :invoke, :f :write, :value {written}}}
{{:process 0, :type :ok, :f :write, :value {written}}}
{{:process 1, :type :invoke, :f :read, :value nil}}
{{:process 1, :type :ok, :f :read, :value {read}}}"
        )
    };
    let big = "123456789012345678901234567890N";
    for (one, other) in [
        ("1", "\"1\""),
        ("1", "1.0"),
        ("0", "false"),
        ("\"nil\"", "nil"),
        ("\"true\"", "true"),
        ("[1 \"1\"]", "[\"1\" 1]"),
        (big, "123456789012345678901234567891N"),
        ("1.00000000000000000001", "1.0"),
        ("[##NaN 1]", "[##Inf 1]"),
        ("{1 2}", "{2 2}"),
    ] {
        for value in [one, other].iter().filter(|value| **value != "nil") {
            judged(&history(value, value), Judgement::Valid);
        }
        judged(&history(one, other), Judgement::Invalid);
    }
    // What JSON has no word for would be the same text.
    for (one, text) in [
        (":a", "\":a\""),
        ("a", "\"a\""),
        (big, "\"123456789012345678901234567890N\""),
        ("\\a", "\"\\\\a\""),
        ("[1 :a]", "[1 \":a\"]"),
        ("{1 2}", "{\"1\" 2}"),
        ("{:a 2}", "{\":a\" 2}"),
    ] {
        judged(&history(one, one), Judgement::Valid);
        judged(&history(text, text), Judgement::Valid);
        let error = texts(&[history(one, text).as_bytes()], None, false).unwrap_err();
        assert!(error.to_string().contains("line 5: the text `\""), "{error}");
    }
    // A character is no text.
    judged(&history("\\a", "\"a\""), Judgement::Invalid);
    // A key is written in another place.
    judged(&history(":a", ":a").replace(":f ", ":key \":a\", :f "), Judgement::Valid);
}

#[test]
fn transactions_of_lists_are_read() {
    let history = "
{:process 0, :type :invoke, :f :txn, :value [[:append 3 1]]}
{:process 0, :type :ok, :f :txn, :value [[:append 3 1]]}
{:process 0, :type :invoke, :f :txn, :value [[:append 3 2]]}
{:process 0, :type :ok, :f :txn, :value [[:append 3 2]]}
{:process 1, :type :invoke, :f :txn, :value [[:r 3 nil]]}
{:process 1, :type :ok, :f :txn, :value [[:r 3 [1 2]]]}
";
    judged(history, Judgement::Valid);
    judged(&history.replace("[1 2]", "[2 1]"), Judgement::Invalid);
    // Of several at once it is not said that they were atomic.
    let several = format!(
        "{history}{}",
        "{:process 1, :type :invoke, :f :txn, :value [[:r 3 nil] [:append 4 1]]}
{:process 1, :type :ok, :f :txn, :value [[:r 3 [1 2]] [:append 4 1]]}
"
    );
    let verdict = judged(&several, Judgement::Unknown);
    assert!(verdict.checks[0].reason.as_ref().unwrap().contains("whether they were atomic"));
    judged(&several.replace("[[:r 3 [1 2]] [", "[[:r 3 [1]] ["), Judgement::Invalid);
}

#[test]
fn sets_and_queues_are_read() {
    let set = "
{:process 0, :type :invoke, :f :add, :value 1}
{:process 0, :type :ok, :f :add, :value 1}
{:process 0, :type :invoke, :f :read, :value nil}
{:process 0, :type :ok, :f :read, :value #{1}}";
    judged(set, Judgement::Valid);
    judged(&set.replace("#{1}", "#{}"), Judgement::Invalid);
    let queue = "
{:process 0, :type :invoke, :f :enqueue, :value 1}
{:process 0, :type :ok, :f :enqueue, :value 1}
{:process 0, :type :invoke, :f :dequeue}
{:process 0, :type :ok, :f :dequeue, :value 1}
{:process 0, :type :invoke, :f :dequeue}
{:process 0, :type :fail, :f :dequeue, :error :empty}";
    judged(queue, Judgement::Valid);
    judged(
        &queue.replace(":ok, :f :dequeue, :value 1", ":ok, :f :dequeue, :value 2"),
        Judgement::Invalid,
    );
    // What no model knows is not judged.
    judged(&queue.replace("dequeue", "drain"), Judgement::Unknown);
}

#[test]
fn a_text_log_needs_no_logger() {
    let log = "0 :invoke :write 1\n0 :ok :write 1\n1 :invoke :cas [2 3]\n1 :fail :cas [2 3]\n";
    judged(log, Judgement::Valid);
    // Here a failed cas saw another value.
    judged(&log.replace("[2 3]", "[1 3]"), Judgement::Invalid);
}

#[test]
fn a_client_whose_process_has_a_name_is_no_nemesis() {
    let edn = "
{:process :nemesis, :type :info, :f :start, :value nil}
{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value 1}
{:process 2, :type :invoke, :f :read, :value nil}
{:process 2, :type :ok, :f :read, :value 9}";
    let text = "
:nemesis :info :start nil
0 :invoke :write 1
0 :ok :write 1
1 :invoke :read nil
1 :ok :read 1
2 :invoke :read nil
2 :ok :read 9\n";
    judged(edn, Judgement::Invalid);
    judged(text, Judgement::Invalid);
    for named in [edn.replace(":process 2", ":process :late"), text.replace("\n2 ", "\n:late ")] {
        let error = texts(&[named.as_bytes()], None, false).unwrap_err();
        assert!(error.starts_with("`f1` line 7: `") && error.contains("expected"), "{error}");
    }
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let history = "
{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value 1}";
    judged(history, Judgement::Valid);
    for field in [":value 2", ":process 1", ":type :ok", ":f :read"] {
        let twice = format!("{}, {field}}}", history.strip_suffix('}').unwrap());
        let error = texts(&[twice.as_bytes()], None, false).unwrap_err();
        assert!(error.starts_with("`f1` line 5: `"), "{error}");
    }
}

#[test]
fn a_history_in_which_nothing_has_a_value_shows_nothing() {
    let nothing = Value::Null;
    for (f, answer) in [
        ("write", "read"),
        ("append", "read"),
        ("add", "read"),
        ("put", "get"),
        ("enqueue", "dequeue"),
    ] {
        let run = |put: &Value, got: &Value| {
            let steps =
                [(0, f, put.clone(), put.clone()), (1, answer, nothing.clone(), got.clone())];
            judged(&ours(&steps), if put.is_null() { Judgement::Unknown } else { Judgement::Valid })
        };
        let verdict = run(&nothing, &nothing);
        assert_eq!(verdict.checks[0].reason.as_deref(), Some("no operation has a value"), "{f}");
        let value = if f == "put" { json!("a") } else { json!(1) };
        let got = if f == "append" { json!([1]) } else { value.clone() };
        run(&value, &got);
    }
    // The value has another name.
    let misspelt =
        ours(&[(0, "write", json!(1), json!(1)), (1, "read", nothing.clone(), json!(2))]);
    judged(&misspelt, Judgement::Invalid);
    judged(&misspelt.replace("\"value\"", "\"val\""), Judgement::Unknown);
    // Who holds a lock is no matter of values.
    let lock = ours(&[
        (0, "acquire", nothing.clone(), nothing.clone()),
        (0, "release", nothing.clone(), nothing.clone()),
        (1, "acquire", nothing.clone(), nothing.clone()),
    ]);
    judged(&lock, Judgement::Valid);
}

#[test]
fn a_list_of_operations_without_its_end_was_cut_off() {
    let history = "[{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 1, :type :invoke, :f :read, :value nil}
{:process 1, :type :ok, :f :read, :value 1}";
    for end in ["", "\n", "\n; and nothing more\n"] {
        let cut_off = format!("{history}{end}");
        let error = texts(&[cut_off.as_bytes()], None, false).unwrap_err();
        assert_eq!(error, "`f1` line 1: truncated: the file ends within the list that begins here");
        let lenient = verdict(texts(&[cut_off.as_bytes()], None, true).unwrap());
        assert_eq!(lenient.judgement, Judgement::Unknown);
        judged(&format!("{cut_off}\n]"), Judgement::Valid);
    }
}

#[test]
fn a_time_out_in_a_text_log_may_have_happened_whatever_it_stands_beside() {
    for timed_out in ["0 :info :write :timed-out", "0 :fail :write :timed-out", "0 :info :write 7"]
    {
        let log = format!(
            "0\t:invoke\t:write\t7\n:nemesis\t:info\t:start\tnil\n{timed_out}\n1 :invoke :read nil\n1 :ok :read 7\n"
        );
        judged(&log, Judgement::Valid);
        judged(
            &log.replace("0 :fail :write :timed-out", "0 :fail :write 7"),
            match timed_out {
                "0 :fail :write :timed-out" => Judgement::Invalid,
                _ => Judgement::Valid,
            },
        );
        judged(&log.replace(":ok :read 7", ":ok :read 8"), Judgement::Invalid);
    }
}

#[test]
fn what_is_escaped_in_a_key_value_log_is_read() {
    let log = r#"
{:process 4, :type :invoke, :f :append, :key "a", :value "x, \"}y"}
{:process 4, :type :ok, :f :append, :key "a", :value "x, \"}y"}
{:process 5, :type :invoke, :f :get, :key "a", :value nil}
{:process 5, :type :ok, :f :get, :key "a", :value "x, \"}y"}
{:process 5, :type :invoke, :f :get, :key "b", :value nil}
{:process 5, :type :ok, :f :get, :key "b", :value ""}
{:process 4, :type :invoke, :f :put, :key "b", :value "z"}
"#;
    assert_eq!(judged(log, Judgement::Valid).imported.unwrap().format, "porcupine-kv");
    judged(&log.replace(":key \"b\", :value \"\"", ":key \"b\", :value \"z\""), Judgement::Invalid);
}

/// A history of ours: whom, what, asked with what, answered what.
fn ours(steps: &[(u32, &str, Value, Value)]) -> String {
    let header = json!({
        "usurper-history": 1, "run": "a", "system": "x", "nodes": [], "seed": 1, "origin-ns": 0,
        "started": "2026-01-01T00:00:00Z",
        "timing": { "heartbeat-ns": 1, "election-timeout-ns": 1, "leader-bound-ns": 1 },
        "events": ["operations"], "checks": { "linearizable": {} },
    });
    let mut lines = vec![header.to_string()];
    for (process, f, asked, answered) in steps {
        for (step, value) in [("invoke", asked), ("ok", answered)] {
            let t = lines.len();
            let line = json!({
                "t": t, "record": "op", "process": process, "type": step, "f": f, "key": "k",
                "value": value,
            });
            lines.push(line.to_string());
        }
    }
    lines.push(
        json!({ "t": 99, "record": "harness", "event": "phase", "phase": "end" }).to_string(),
    );
    lines.join("\n") + "\n"
}

#[test]
fn the_verdict_of_every_model_is_the_same_after_edn() {
    let nothing = Value::Null;
    let change = |f: &'static str, value: Value| (0, f, value.clone(), value);
    let answer = |f: &'static str, value: Value| (1, f, Value::Null, value);
    // What comes first, the answer that is right after it, and one that is wrong.
    let models = [
        (change("write", json!(1)), "read", json!(1), nothing.clone()),
        (change("put", json!("a")), "get", json!("a"), json!("b")),
        (change("append", json!(1)), "read", json!([1]), json!([])),
        (change("add", json!(2)), "read", json!(2), json!(0)),
        (change("add", json!(2)), "read", json!([2]), json!([])),
        (change("enqueue", json!(2)), "dequeue", json!(2), json!(3)),
        (answer("acquire", json!(7)), "acquire", json!(8), json!(7)),
    ];
    for (first, f, right, wrong) in models {
        // A lock is free again before the next one gets it.
        let release = (f == "acquire").then(|| change("release", json!(7)));
        let release = release.map(|(_, f, asked, answered)| (1, f, asked, answered));
        for (answered, expected) in [(right, Judgement::Valid), (wrong, Judgement::Invalid)] {
            let steps: Vec<_> = [first.clone()]
                .into_iter()
                .chain(release.clone())
                .chain([answer(f, answered)])
                .collect();
            let text = ours(&steps);
            let imported = texts(&[text.as_bytes()], None, false).unwrap();
            let mut edn = Vec::new();
            let records = imported.records.iter().map(|(_, record)| record);
            write_jepsen_edn(records, &mut edn).unwrap();
            let edn = String::from_utf8(edn).unwrap();
            assert_eq!(super::verdict(imported).judgement, expected, "{text}");
            let verdict = judged(&edn, expected);
            assert_eq!(verdict.imported.unwrap().format, "jepsen-edn");
        }
    }
}

#[test]
fn values_of_different_kinds_are_different_values_in_a_history_of_ours() {
    let run = |written: &Value, answered: &Value| {
        let steps = [
            (0, "write", written.clone(), written.clone()),
            (1, "read", Value::Null, answered.clone()),
        ];
        ours(&steps)
    };
    for (one, other) in [
        (json!(1), json!("1")),
        (json!(1), json!(1.0)),
        (json!(0), json!(false)),
        (json!("nil"), Value::Null),
        (json!("null"), Value::Null),
        (json!("\u{0}true"), json!(true)),
        (json!([1, "1"]), json!(["1", 1])),
        (json!(i64::MAX), json!(i64::MAX as u64 + 1)),
        (json!({"a": 1}), json!({"a": "1"})),
        (json!(""), Value::Null),
    ] {
        judged(&run(&one, &one), Judgement::Valid);
        judged(&run(&one, &other), Judgement::Invalid);
    }
    // Two numbers that would be one if they were read as floating-point ones.
    let long =
        run(&json!("123456789012345678901234567890"), &json!("123456789012345678901234567891"));
    judged(&long, Judgement::Invalid);
    let error = texts(
        &[long.replace("\"1234", "1234").replace("90\"", "90").replace("91\"", "91").as_bytes()],
        None,
        false,
    );
    assert!(error.unwrap_err().contains("too many digits"));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|float| json!(float)),
        ".*".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Any operations that clients can have done.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let f =
        prop::sample::select(vec!["read", "write", "cas", "append", "add", "enqueue", "acquire"]);
    let end = prop_oneof![Just(OpType::Ok), Just(OpType::Fail), Just(OpType::Info)];
    let op = (
        (0_u32..4, f, prop::option::of(".+"), prop::option::of(value()), end),
        (prop::option::of(1_u8..=9), prop::option::of(any::<u64>()), prop::option::of(".+")),
        (prop::option::of(value()), any::<bool>(), any::<u32>()),
    );
    prop::collection::vec(op, 0..12).prop_map(|ops| {
        let mut records = Vec::new();
        let mut t = 0;
        for ((process, f, key, value, end), (server, number, error), (answer, ends, later)) in ops {
            let not_null = |value: Option<Value>| value.filter(|value| !value.is_null());
            let changes = !matches!(f, "read" | "acquire");
            let (value, answer) = (not_null(value), not_null(answer));
            let invoke = OpRecord {
                process: process + 4 * u32::try_from(records.len()).unwrap(),
                op_type: OpType::Invoke,
                f: f.to_owned(),
                key,
                value: value.clone(),
                server: server.map(NodeId),
                session: number,
                serial: number.map(|number| number / 2),
                error: None,
            };
            let value = if changes { value } else { answer };
            let done = OpRecord { op_type: end, value, error, ..invoke.clone() };
            let mut push = |op| {
                t += u64::from(later);
                records.push(Record::new(t, Body::Op(op)));
            };
            push(invoke);
            if ends {
                push(done);
            }
        }
        records
    })
}

proptest! {
    #[test]
    fn what_is_written_as_edn_reads_back_as_itself(records in records()) {
        let mut text = Vec::new();
        let written = write_jepsen_edn(&records, &mut text).unwrap();
        prop_assert_eq!(written, records.len() as u64);
        if !records.is_empty() {
            let imported = texts(&[&text], None, false);
            let imported = imported.map_err(|error| {
                TestCaseError::fail(format!("{error}\n{}", String::from_utf8_lossy(&text)))
            })?;
            let read: Vec<Record> = imported.records.into_iter().map(|(_, record)| record).collect();
            prop_assert_eq!(read, records);
        }
    }
}
