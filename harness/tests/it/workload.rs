//! Clients that ask while the nodes are broken, and what is written down of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Place, records, with};

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// The operations of a run: each `invoke` with the record of its end, in the order of the file.
#[track_caller]
fn operations(records: &[Value]) -> Vec<(Value, Option<Value>)> {
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut operations: Vec<(Value, Option<Value>)> = Vec::new();
    for record in with(records, &[("record", "op".into())]) {
        let process = number(&record["process"]);
        if record["type"] == "invoke" {
            let before = open.insert(process, operations.len());
            let ended = before.is_none_or(|place| operations[place].1.is_some());
            assert!(ended, "process {process} asks again before it was answered");
            operations.push((record, None));
        } else {
            let place = open[&process];
            assert!(operations[place].1.is_none(), "process {process} is answered twice");
            operations[place].1 = Some(record);
        }
    }
    operations
}

#[test]
fn clients_of_raft_read_and_write_while_its_leader_is_killed() {
    let place = Place::new();
    place.usurper("run raft/healthy-under-load --seed 5").expect(0, &["verdict    valid"]);
    let records = records(&place.only_run());
    let operations = operations(&records);
    let count = |f: &str, outcome: &str| {
        let ended = |end: &Value| end["type"] == outcome;
        operations
            .iter()
            .filter(|(it, end)| it["f"] == f && end.as_ref().is_some_and(ended))
            .count()
    };
    for f in ["read", "write", "cas"] {
        assert!(count(f, "ok") > 0, "no {f} was done");
    }
    // A refusal has an error; a plain no has none, and only a cas is told that.
    let fails = with(&records, &[("type", "fail".into())]);
    let (refused, denied): (Vec<_>, Vec<_>) =
        fails.iter().partition(|fail| fail["error"].is_string());
    assert!(refused.iter().any(|fail| fail["f"] == "write"), "{refused:?}");
    assert!(denied.iter().all(|fail| fail["f"] == "cas"), "{denied:?}");
    // Nobody asks under the number of a process whose operation is unknown.
    for (place, (invoke, end)) in operations.iter().enumerate() {
        if end.as_ref().is_none_or(|end| end["type"] == "info") {
            let later = operations[place + 1..].iter();
            assert!(!later.clone().any(|(it, _)| it["process"] == invoke["process"]), "{invoke}");
        }
    }
    // Every node is asked, and each client asks one.
    let mut servers: BTreeMap<u64, &Value> = BTreeMap::new();
    for (invoke, _) in &operations {
        let server = &invoke["server"];
        assert!(server.is_string(), "{invoke}");
        assert_eq!(servers.entry(invoke["process"].as_u64().unwrap()).or_insert(server), &server);
    }
    // After everything is healed, somebody reads every key.
    let phase = [("event", "phase".into()), ("phase", "final-reads".into())];
    let last = with(&records, &phase)[0]["t"].as_u64().unwrap();
    for key in ["k1", "k2", "k3"] {
        let read = |(invoke, end): &(Value, Option<Value>)| {
            invoke["t"].as_u64().unwrap() > last
                && invoke["key"] == key
                && invoke["f"] == "read"
                && end.as_ref().is_some_and(|end| end["type"] == "ok")
        };
        assert!(operations.iter().any(read), "{key} is not read at the end");
    }
    assert!(last < operations.last().unwrap().0["t"].as_u64().unwrap());
}

#[test]
fn what_clients_ask_follows_from_the_seed() {
    let drawn = || {
        let place = Place::new();
        let words = "run --system raft --faults none --workload register --clients 1 --time 2s \
                     --settle 0s --servers leader --op-mix write=1,cas=1 --keys 9 --seed 6";
        place.usurper(words).expect(0, &[]);
        let records = records(&place.only_run());
        let last = records.iter().position(|record| record["phase"] == "final-reads").unwrap();
        let operations = operations(&records[..last]);
        let drawn = operations.iter().map(|(it, _)| (it["f"].clone(), it["key"].clone()));
        drawn.collect::<Vec<_>>()
    };
    // How far each came is a question of the machine.
    let (first, second) = (drawn(), drawn());
    let both = first.len().min(second.len());
    assert!(both > 10, "{both}");
    assert_eq!(first[..both], second[..both]);
}

#[test]
fn a_lock_is_held_by_one_client_at_a_time_and_its_tokens_grow() {
    let place = Place::new();
    let words = "run --system raft --faults none --workload lock --keys 1 --clients 4 --time 3s \
                 --servers leader --settle 0s --seed 2";
    place.usurper(words).expect(0, &[]);
    let records = records(&place.only_run());
    let mut tokens = Vec::new();
    let done = operations(&records).into_iter().filter_map(|(invoke, end)| Some((invoke, end?)));
    let mut done: Vec<_> = done.filter(|(_, end)| end["type"] == "ok").collect();
    // Two may ask at once, and the second be served first; but who was given the lock knows of it before it
    // can be anybody else's.
    done.sort_by_key(|(_, end)| end["t"].as_u64());
    for (invoke, end) in done {
        match invoke["f"].as_str().unwrap() {
            "acquire" => tokens.push(end["value"].as_u64().unwrap()),
            _ => assert!(tokens.contains(&invoke["value"].as_u64().unwrap()), "{invoke}"),
        }
    }
    assert!(tokens.len() > 10, "{tokens:?}");
    assert!(tokens.is_sorted(), "{tokens:?}");
}

#[test]
fn a_session_is_carried_by_what_changes_something() {
    let place = Place::new();
    let words = "run --system raft --faults none --workload counter --sessions --time 4s --seed 2 \
                 --servers leader --settle 0s";
    place.usurper(words).expect(0, &["valid    duplicate-apply"]);
    let records = records(&place.only_run());
    let added = with(&records, &[("f", "add".into()), ("type", "ok".into())]);
    assert!(added.len() > 10);
    assert!(added.iter().all(|op| op["session"].is_u64() && op["serial"].is_u64()), "{added:?}");
}

#[test]
fn a_plan_holds_the_workload_and_flags_win_over_the_scenario() {
    let place = Place::new();
    let ended = place.usurper("plan raft/healthy-under-load --op-rate 7 --op-mix read=1");
    ended.expect(0, &["[workload]", "kind = \"register\"", "clients = 10", "rate = 7.0"]);
    ended.expect(0, &["[workload.mix]\nread = 1\n"]);
    let ended = place.usurper("plan raft/healthy-under-load --workload lock --op-rate max");
    ended.expect(0, &["kind = \"lock\"", "clients = 5", "acquire = 1"]);
    assert!(!ended.stdout.contains("rate ="), "{}", ended.stdout);
}

#[test]
fn a_workload_that_cannot_be_is_refused() {
    let refused = |words: &str, texts: &[&str]| {
        let place = Place::new();
        place.usurper(words).expect(2, texts);
        assert!(!place.store().exists(), "`{words}` left something behind");
    };
    let raft = "run --system raft --workload";
    refused("run --workload register", &["system `fle` serves no data", "usurper list workloads"]);
    refused("run --system raft --clients 3", &["`--clients` changes no workload"]);
    refused(&format!("{raft} regster"), &["invalid value", "register"]);
    refused(&format!("{raft} register --clients 0"), &["0 clients, expected 1 to 1000"]);
    refused(&format!("{raft} register --keys 0"), &["0 keys"]);
    refused(&format!("{raft} register --op-rate 0"), &["rate"]);
    refused(&format!("{raft} register --op-rate fast"), &["operations per second, or `max`"]);
    refused(&format!("{raft} register --op-timeout 0s"), &["op-timeout"]);
    refused(&format!("{raft} register --op-mix wirte=1"), &["did you mean `write`"]);
    refused(&format!("{raft} register --op-mix read"), &["expected OPERATION=NUMBER"]);
    refused(&format!("{raft} register --op-mix read=0"), &["no operation has a share"]);
    refused(&format!("{raft} lock --op-mix acquire=5"), &["take turns"]);
    refused(&format!("{raft} register --reads serializable"), &["serializable reads"]);
    refused("run --system etcd --workload register --sessions", &["no client sessions"]);
    let place = Place::new();
    let head = "summary = 'x'\nsystem = 'raft'\ntime = '1s'\nsettle = '1s'\n[workload]\n";
    for (rest, texts) in [
        ("clients = 3\n", ["missing field `kind`", "line 5"]),
        ("kind = 'regster'\n", ["unknown variant `regster`", "line 6"]),
        ("kind = 'list'\ncleints = 3\n", ["unknown field `cleints`", "line 7"]),
    ] {
        place.file("bad.toml", &format!("{head}{rest}"));
        place.usurper("run bad.toml").expect(2, &texts);
    }
}
