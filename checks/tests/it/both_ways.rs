//! The proof of the checks: each accepts a history that is right, and finds every violation that is
//! put into it.
//!
//! Most histories are of real processes of `raft` and their clients, through the death and return of
//! a leader; where no system tells what a check needs yet, a short transcript stands for one. The
//! bounds of liveness are shortened to what fits such a history. The table goes to the docs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usurper_checks::{CHECKS, Judgement};

use crate::transcript::{MS, Transcript, judge_text};

const RECORDED: &str = include_str!("../data/raft-clients.jsonl");
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks-proof.md");

/// Of more violations of one check than these, some are left out, evenly.
const MUTANTS_MAX: usize = 16;

type Records = Vec<Value>;

/// A check, a history that it accepts, and what is done to that.
struct Case {
    check: &'static str,
    /// What each violation is.
    injected: &'static str,
    options: Value,
    base: Records,
    mutants: Vec<Records>,
}

fn case(
    check: &'static str,
    injected: &'static str,
    options: Value,
    base: &[Value],
    mutants: impl IntoIterator<Item = Records>,
) -> Case {
    let all: Vec<Records> = mutants.into_iter().collect();
    let mutants = all.iter().step_by(all.len().div_ceil(MUTANTS_MAX).max(1)).cloned().collect();
    Case { check, injected, options, base: base.to_vec(), mutants }
}

fn records(text: &str) -> Records {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn transcript(system: &str, text: &str) -> Records {
    records(&Transcript::of(system, 3, text).text())
}

/// Judges records whose order was changed: sorted by time, with gapless numbers again.
fn judge(check: &str, options: &Value, records: &[Value]) -> (Judgement, String) {
    let mut records = records.to_vec();
    records[0]["checks"] = json!({ check: options });
    records[1..].sort_by_key(|record| record["t"].as_u64().unwrap());
    let mut seqs: BTreeMap<(String, String), u64> = BTreeMap::new();
    for record in records.iter_mut().skip(1).filter(|record| record["record"] == "node") {
        let seq = seqs.entry((record["node"].to_string(), record["inc"].to_string())).or_default();
        *seq += 1;
        record["seq"] = (*seq).into();
    }
    let text: Vec<_> = records.iter().map(Value::to_string).collect();
    let verdict = judge_text(&(text.join("\n") + "\n")).unwrap();
    (verdict.judgement, crate::transcript::render(&verdict.checks[0]))
}

/// One copy for each record that fits, with that one changed.
fn each(
    records: &[Value],
    fits: impl Fn(&Value) -> bool,
    change: impl Fn(&mut Value),
) -> Vec<Records> {
    places(records, fits)
        .map(|place| {
            let mut copy = records.to_vec();
            change(&mut copy[place]);
            copy
        })
        .collect()
}

/// One copy for each record that fits, with another one after it, made from it.
fn added(
    records: &[Value],
    fits: impl Fn(&Value) -> bool,
    change: impl Fn(&mut Value),
) -> Vec<Records> {
    places(records, fits)
        .map(|place| {
            let mut copy = records.to_vec();
            let mut more = copy[place].clone();
            change(&mut more);
            copy.insert(place + 1, more);
            copy
        })
        .collect()
}

/// One copy for each record that fits, without it.
fn dropped(records: &[Value], fits: impl Fn(&Value) -> bool) -> Vec<Records> {
    places(records, fits)
        .map(|place| {
            let mut copy = records.to_vec();
            copy.remove(place);
            copy
        })
        .collect()
}

fn without(records: &[Value], fits: impl Fn(&Value) -> bool) -> Records {
    records.iter().filter(|it| !fits(it)).cloned().collect()
}

fn places(records: &[Value], fits: impl Fn(&Value) -> bool) -> impl Iterator<Item = usize> {
    (1..records.len()).filter(move |place| fits(&records[*place]))
}

fn is(record: &Value, event: &str) -> bool {
    record["event"] == event
}

fn t(record: &Value) -> u64 {
    record["t"].as_u64().unwrap_or(0)
}

/// Completions of operations that succeeded, with their calls.
fn done(records: &[Value]) -> Vec<(usize, usize)> {
    let mut open = BTreeMap::new();
    let mut done = Vec::new();
    for (place, record) in records.iter().enumerate().filter(|(_, it)| it["record"] == "op") {
        if record["type"] == "invoke" {
            open.insert(record["process"].as_u64(), place);
        } else if let Some(call) = open.remove(&record["process"].as_u64())
            && record["type"] == "ok"
        {
            done.push((call, place));
        }
    }
    done
}

/// Reads made to return what nobody wrote, or nothing although a write of the key was acknowledged
/// before they began (by the same client, if asked so).
fn wrong_reads(records: &[Value], same_client: bool) -> Vec<Records> {
    let done = done(records);
    let mut mutants = Vec::new();
    for (call, end) in done.iter().filter(|(call, _)| records[*call]["f"] == "read") {
        let overwritten = done.iter().any(|(other, acknowledged)| {
            acknowledged < call
                && records[*other]["f"] == "write"
                && records[*other]["key"] == records[*call]["key"]
                && (!same_client || records[*other]["process"] == records[*call]["process"])
        });
        let set = |value: Value| {
            let mut copy = records.to_vec();
            copy[*end]["value"] = value;
            copy
        };
        mutants.push(set(json!(999_999)));
        if overwritten {
            mutants.push(set(Value::Null));
        }
    }
    mutants
}

/// Acknowledged writes that somebody read, taken out of the history.
fn vanished_writes(records: &[Value]) -> Vec<Records> {
    let done = done(records);
    let writes = done.iter().filter(|(call, _)| {
        let write = &records[*call];
        write["f"] == "write"
            && done.iter().any(|(read, end)| {
                records[*read]["f"] == "read"
                    && records[*read]["key"] == write["key"]
                    && records[*end]["value"] == write["value"]
            })
    });
    writes
        .map(|(call, end)| {
            let mut copy = records.to_vec();
            copy.remove(*end);
            copy.remove(*call);
            copy
        })
        .collect()
}

/// What happened when, in the recorded history.
struct Story {
    records: Records,
    killed: u64,
    second: u64,
    back: u64,
    stop: u64,
    last_of_first: Value,
}

impl Story {
    fn new() -> Self {
        let records = records(RECORDED);
        let at = |fits: &dyn Fn(&Value) -> bool| t(records.iter().find(|it| fits(it)).unwrap());
        let killed = at(&|it| it["fault"] == "kill");
        let second = at(&|it| is(it, "leader-elected") && it["in-term"] == 2);
        let back = at(&|it| is(it, "ready") && it["inc"] == 2);
        let stop = at(&|it| it["phase"] == "stop");
        let first = &records.iter().find(|it| is(it, "leader-elected")).unwrap()["node"];
        let of_first = |it: &&Value| is(it, "commit") && it["node"] == *first && t(it) < killed;
        let last_of_first = records.iter().rfind(of_first).unwrap().clone();
        Self { killed, second, back, stop, last_of_first, records }
    }

    fn first(&self) -> &Value {
        &self.last_of_first["node"]
    }

    fn leader(&self) -> &Value {
        let elected = |it: &&Value| is(it, "leader-elected") && it["in-term"] == 2;
        &self.records.iter().find(elected).unwrap()["node"]
    }

    /// The node that was up all the time and never led.
    fn bystander(&self) -> Value {
        let led = [self.first(), self.leader()];
        json!(["n1", "n2", "n3"].into_iter().find(|node| !led.contains(&&json!(node))).unwrap())
    }

    /// An event of a node at some time, with the envelope that it had then.
    fn event(&self, at: u64, node: &Value, fields: Value) -> Value {
        let of_node = |it: &&Value| it["record"] == "node" && it["node"] == *node && t(it) <= at;
        let last = self.records.iter().rfind(of_node).unwrap();
        let mut event = json!({"record": "node", "t": at});
        for name in ["node", "inc", "proto", "term", "role"] {
            event[name] = last[name].clone();
        }
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    }

    fn with(&self, more: impl IntoIterator<Item = Value>) -> Records {
        self.records.iter().cloned().chain(more).collect()
    }
}

fn of_elections(story: &Story) -> Vec<Case> {
    let Story { records, killed, second, back, stop, .. } = story;
    let (first, leader, bystander) = (story.first(), story.leader(), &story.bystander());
    let none = json!({});
    let bound = |ms: u64| json!({"bound-ns": ms * MS});
    let quiet = (back + stop) / 2;
    let elected = |it: &Value| is(it, "leader-elected");
    let back_in = |it: &Value| {
        it["node"] == *first && it["inc"] == 2 && (is(it, "leader-known") || is(it, "heartbeat"))
    };
    let later_leader = |it: &Value| {
        t(it) > *killed && (elected(it) || is(it, "role-change") && it["to"] == "leader")
    };
    let step_down =
        json!({"event": "role-change", "from": "leader", "to": "follower", "reason": "none"});
    let cut = |id: u64, phase: &str| {
        let pairs =
            [bystander, first].map(|other| [json!([leader, other]), json!([other, leader])]);
        let mut fault = json!({
            "t": quiet, "record": "fault", "id": id, "phase": phase, "fault": "cut",
            "effect": "cut", "nodes": [leader], "links": pairs.concat(),
        });
        if phase == "end" {
            fault["outcome"] = json!("installed");
        }
        fault
    };
    // Nothing counts soon after a node's return, so the history is made longer.
    let mut longer = records.clone();
    for record in longer.iter_mut().filter(|it| t(it) >= *stop) {
        record["t"] = json!(t(record) + 5_000 * MS);
    }
    let changes = (0..7_u64).map(|turn| {
        let node = [leader, bystander][usize::from(turn % 2 == 0)];
        let at = stop + 2_000 * MS + turn * MS;
        let won = json!({
            "event": "leader-elected", "in-term": 3 + turn, "established": true, "votes": [],
            "how": "votes",
        });
        let mut event = story.event(at, node, won);
        event["role"] = json!("leader");
        event
    });
    let looping = longer.iter().cloned().chain(changes).collect();
    let dial = json!({"event": "conn", "op": "dial", "peer": leader});
    let dials = (0..60).map(|turn| story.event(back + turn * 10 * MS, bystander, dial.clone()));
    vec![
        case(
            "cannot-rejoin",
            "a node that returns hears of no leader",
            bound(300),
            records,
            [without(records, back_in)],
        ),
        case(
            "connection-storm",
            "a pair dials a hundred times a second",
            json!({"for-ns": 400 * MS}),
            records,
            [story.with(dials)],
        ),
        case(
            "crash",
            "an exit that nobody asked for",
            none.clone(),
            records,
            each(records, |it| is(it, "exit") && t(it) < *stop, |it| it["expected"] = json!(false)),
        ),
        case(
            "disruption",
            "a leader that is followed steps down",
            json!({"steady-ns": 200 * MS}),
            records,
            [story.with([story.event(quiet, leader, step_down)])],
        ),
        case(
            "double-vote",
            "a vote is given again, to another",
            none.clone(),
            records,
            added(
                records,
                |it| is(it, "persist") && it["for"].is_string(),
                |it| {
                    it["for"] = json!(if it["for"] == "n1" { "n2" } else { "n1" });
                },
            ),
        ),
        case(
            "dual-leaders",
            "a second node is elected in the same term",
            none.clone(),
            records,
            added(records, elected, |it| {
                it["node"] = bystander.clone();
                it["inc"] = json!(1);
            }),
        ),
        case(
            "election-loop",
            "leaders take turns while nothing is broken",
            none.clone(),
            &longer,
            [looping],
        ),
        case(
            "mutual-follow",
            "a follower takes another follower for the leader",
            bound(200),
            records,
            {
                let known =
                    |it: &Value| back_in(it) && it["leader"] == *leader && is(it, "leader-known");
                each(records, known, |it| it["leader"] = bystander.clone())
            },
        ),
        case(
            "no-leader",
            "nobody is elected after the leader's death",
            bound(650),
            records,
            [without(records, later_leader)],
        ),
        case(
            "stale-leader-heartbeat",
            "a heartbeat of an older term is accepted",
            none.clone(),
            records,
            each(
                records,
                |it| is(it, "heartbeat") && it["dir"] == "accepted" && t(it) > *second,
                |it| it["msg-term"] = json!(1),
            ),
        ),
        case(
            "term-rollback",
            "a node starts with a lower term than it had",
            none.clone(),
            records,
            each(
                records,
                |it| is(it, "node-start") && it["inc"] == 2,
                |it| it["persisted"]["term"] = json!(0),
            ),
        ),
        case(
            "zombie-leader",
            "a leader is cut off from all and goes on",
            bound(200),
            records,
            [story.with([cut(900, "begin"), cut(900, "end")])],
        ),
    ]
}

fn of_logs(story: &Story) -> Vec<Case> {
    let Story { records, killed, .. } = story;
    let (first, bystander) = (story.first(), &story.bystander());
    let none = json!({});
    let learned = |it: &Value| is(it, "commit") && it["learned-from"].is_string();
    let copied = |it: &Value| is(it, "append") && it["origin"] != "self";
    let index = |it: &Value| it["index"].as_u64().unwrap();
    let by_quorum = |it: &Value| is(it, "commit") && it["quorum"].is_array();
    let mut reconfigurable = records.clone();
    reconfigurable[0]["events"].as_array_mut().unwrap().push(json!("config"));
    let alone = each(&reconfigurable, by_quorum, |it| it["quorum"] = json!([it["node"]]));
    let few =
        each(&reconfigurable, |it| is(it, "leader-elected"), |it| it["votes"] = json!(["n1"]));
    // An entry of the first leader that the second never got, committed with the third.
    let last = index(&story.last_of_first["up-to"]);
    let id = json!({"term": 1, "index": last + 1});
    let at = killed - MS;
    let put = json!({
        "event": "append", "first": id, "last": id, "digests": ["ffff"], "kind": "client",
        "origin": "leader", "prev": {"term": 1, "index": last},
    });
    let committed = json!({"event": "commit", "up-to": id, "quorum": [first, bystander]});
    let missing = story.with([
        story.event(at, first, put.clone()),
        story.event(at, bystander, put),
        story.event(at, first, committed),
    ]);
    let applied = |it: &Value| is(it, "apply");
    let votes = |it: &Value| is(it, "persist") && it["for"].is_string() && it["value"] == 2;
    let told = |node: &Value| {
        let sent = |it: &&Value| is(it, "ack") && it["kind"] == "vote" && it["node"] == *node;
        records.iter().any(|it| sent(&it))
    };
    let promised = |it: &Value| votes(it) && told(&it["node"]);
    let unsynced = dropped(records, promised).into_iter();
    let failed = each(records, promised, |it| it["ok"] = json!(false));
    vec![
        case(
            "commit-overreach",
            "a follower commits what it does not have",
            none.clone(),
            records,
            each(records, learned, |it| it["up-to"]["index"] = json!(index(&it["up-to"]) + 50)),
        ),
        case(
            "config-safety",
            "a leader decides by itself, or by one vote",
            none.clone(),
            &reconfigurable,
            alone.into_iter().chain(few),
        ),
        case(
            "duplicate-apply",
            "a command takes effect at a second place",
            none.clone(),
            records,
            added(
                records,
                |it| applied(it) && it["session"].is_u64(),
                |it| {
                    it["id"]["index"] = json!(index(&it["id"]) + 1_000);
                },
            ),
        ),
        case(
            "leader-completeness",
            "a committed entry is missing at the winner",
            none.clone(),
            records,
            [missing],
        ),
        case("log-divergence", "an entry is another one on one node", none.clone(), records, {
            each(records, copied, |it| it["digests"][0] = json!("ffff"))
        }),
        case("lost-commit", "a node removes what it has committed", none.clone(), records, {
            added(records, learned, |it| {
                let id = it["up-to"].clone();
                let removal = json!({
                    "event": "truncate", "first": id, "last": id, "cause": "none", "commit": id["index"],
                });
                it.as_object_mut().unwrap().extend(removal.as_object().unwrap().clone());
            })
        }),
        case(
            "persist-before-ack",
            "the sync under a vote is missing, or failed",
            none.clone(),
            records,
            unsynced.chain(failed),
        ),
        case("state-divergence", "a node applies another entry", none, records, {
            let shared = |it: &Value| {
                let same = |other: &&Value| applied(other) && other["id"] == it["id"];
                applied(it) && records.iter().filter(same).count() > 1
            };
            each(records, shared, |it| it["digest"] = json!("ffff"))
        }),
    ]
}

fn of_clients(story: &Story) -> Vec<Case> {
    let Story { records, killed, .. } = story;
    let none = json!({});
    let accepted = transcript(
        "paxos",
        "0 boot
         10 n1 append 1.1:a
         11 n1 ack accepted n1 1 1.1
         20 n2 append 1.1:a
         21 n2 ack accepted n1 1 1.1
         30 n3 append 1.1:a
         31 n3 ack accepted n1 1 1.1
         40 n1 commit 1.1
         41 n2 elected 1",
    );
    let added = transcript(
        "raft",
        "0 boot
         10 c1 invoke add s 1
         11 c1 ok add s 1
         12 c1 invoke add s 2
         13 c1 ok add s 2
         20 c2 invoke read s
         21 c2 ok read s [1,2]",
    );
    let unanswered = |it: &Value| {
        let writes = it["f"] == "write" || it["f"] == "cas";
        it["record"] == "op" && it["type"] == "ok" && writes && t(it) > *killed
    };
    let mut silent = records.clone();
    silent.iter_mut().filter(|it| unanswered(it)).for_each(|it| it["type"] = json!("info"));
    // A process whose outcome is unknown is not used again.
    let mut next = 10_000;
    let mut now: BTreeMap<u64, u64> = BTreeMap::new();
    for record in silent.iter_mut().filter(|it| it["record"] == "op") {
        let process = record["process"].as_u64().unwrap();
        record["process"] = json!(*now.entry(process).or_insert(process));
        if record["type"] == "info" {
            next += 1;
            now.insert(process, next);
        }
    }
    vec![
        case(
            "agreement",
            "a node accepts another value in the same ballot",
            none.clone(),
            &accepted,
            each(&accepted, |it| is(it, "append"), |it| it["digests"][0] = json!("z")),
        ),
        case(
            "linearizable",
            "a read returns an old value or none that was written; an acknowledged write vanishes",
            none.clone(),
            records,
            wrong_reads(records, false).into_iter().chain(vanished_writes(records)),
        ),
        case("lost-acknowledged-write", "an element is gone at the end", none.clone(), &added, {
            let last = |it: &Value| it["type"] == "ok" && it["f"] == "read";
            [json!([1]), json!([2]), json!([])]
                .into_iter()
                .flat_map(|value| each(&added, last, move |it| it["value"] = value.clone()))
                .collect::<Vec<_>>()
        }),
        case(
            "sequential",
            "a client reads what its own write had overwritten, or what nobody wrote",
            none,
            records,
            wrong_reads(records, true).into_iter().chain(vanished_writes(records)),
        ),
        case(
            "stale-read",
            "a read returns what had been overwritten",
            json!({"bound-ns": 1}),
            records,
            {
                let stale = wrong_reads(records, false).into_iter();
                let unwritten = |it: &Value| it["value"] == 999_999;
                stale.filter(|records| !records.iter().any(unwritten)).collect::<Vec<_>>()
            },
        ),
        case(
            "write-outage",
            "no write is answered any more",
            json!({"bound-ns": 600 * MS}),
            records,
            [silent],
        ),
    ]
}

#[test]
fn every_check_accepts_what_is_right_and_finds_every_injected_violation() {
    let story = Story::new();
    let mut cases = of_elections(&story);
    cases.extend(of_logs(&story));
    cases.extend(of_clients(&story));
    cases.sort_by_key(|case| case.check);
    let mut wrong = Vec::new();
    let mut table = TABLE_HEAD.to_owned();
    for case in &cases {
        let (accepted, words) = judge(case.check, &case.options, &case.base);
        if accepted != Judgement::Valid {
            wrong.push(format!("{}: the right history is {words}", case.check));
        }
        let judged = case.mutants.iter().map(|it| judge(case.check, &case.options, it));
        let missed: Vec<String> =
            judged.filter(|it| it.0 != Judgement::Invalid).map(|(_, words)| words).collect();
        if !missed.is_empty() || case.mutants.is_empty() {
            let (count, of) = (missed.len(), case.mutants.len());
            wrong.push(format!("{}: {count} of {of} missed: {:?}", case.check, missed.first()));
        }
        let (of, found) = (case.mutants.len(), case.mutants.len() - missed.len());
        table.push_str(&format!(
            "| {} | {} | {} | {found} of {of} |\n",
            case.check,
            accepted.name(),
            case.injected
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let proven: Vec<&str> = cases.iter().map(|case| case.check).collect();
    let judging = CHECKS.iter().map(|check| check.name).filter(|name| !WARNS_ONLY.contains(name));
    assert_eq!(proven, judging.collect::<Vec<_>>(), "every check is proven");
    for check in CHECKS {
        let pairs =
            format!("{}/tests/it/{}.rs", env!("CARGO_MANIFEST_DIR"), check.name.replace('-', "_"));
        assert!(std::path::Path::new(&pairs).exists(), "`{}` has no hand-written pair", check.name);
    }
    if std::env::var_os("USURPER_BLESS").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    let docs = std::fs::read_to_string(TABLE).unwrap_or_default();
    assert_eq!(
        docs, table,
        "write it anew with USURPER_BLESS=1 cargo test -p usurper-checks both_ways"
    );
}

/// Checks that find nothing invalid.
const WARNS_ONLY: &[&str] = &["best-candidate"];

const TABLE_HEAD: &str = "# The proof of the checks

Each check is given a history that is right, most often one of real processes of `raft` through the death
and the return of a leader, and the same history again and again, each time with one violation put into
it. It must accept the first and reject every other. Beside this table each check has its hand-written
pairs of a history that it must reject and the nearest that it must accept, under `checks/tests/it`.

Written by `USURPER_BLESS=1 cargo test -p usurper-checks both_ways`.

| check | right history | injected violation | found |
| --- | --- | --- | --- |
";
