//! How fast a history streams through the reader and the checks, beside a pass that only parses its
//! JSON.
//!
//! ```sh
//! cargo bench -p usurper-checks --bench streaming
//! ```
//!
//! The time is that which the thread had a processor for, so that others on the machine do not count.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::hint::black_box;

use nix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use usurper_checks::{CHECKS, Judgement, judge};
use usurper_history::Reader;

const BYTES: usize = 200 << 20;
const ROUNDS: usize = 3;

fn main() {
    let only = std::env::args().nth(1).filter(|word| word != "--bench");
    for (name, history) in [("heartbeats", heartbeats()), ("a replicated log", replicated_log())] {
        println!("{name}: {} MB, best of {ROUNDS}, one thread", history.len() / 1_000_000);
        let parse = || {
            for line in history.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                black_box(serde_json::from_slice::<Value>(line).expect("JSON"));
            }
        };
        let read = || {
            for record in Reader::new(history.as_slice()).expect("a header") {
                black_box(record.expect("a record"));
            }
        };
        let judged = || {
            let mut reader = Reader::new(history.as_slice()).expect("a header");
            let verdict = judge(&mut reader).expect("a history");
            assert_eq!(verdict.judgement, Judgement::Valid, "{:?}", verdict.checks);
        };
        let passes: [(&str, &dyn Fn()); 3] =
            [("parse only", &parse), ("read", &read), ("judge", &judged)];
        let mut first = None;
        for (what, pass) in passes {
            if only.as_ref().is_some_and(|only| only != what) {
                continue;
            }
            let seconds = (0..ROUNDS).map(|_| seconds_of(pass)).fold(f64::INFINITY, f64::min);
            let beside = seconds / *first.get_or_insert(seconds);
            let rate = history.len() as f64 / 1e6 / seconds;
            println!("{what:<11} {rate:>6.0} MB/s   {beside:.2} times {}", passes[0].0);
        }
    }
}

fn seconds_of(pass: &dyn Fn()) -> f64 {
    let began = on_processor_ns();
    pass();
    (on_processor_ns() - began) as f64 / 1e9
}

/// How long this thread has had a processor.
fn on_processor_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a Linux kernel");
    u64::try_from(std::time::Duration::from(time).as_nanos()).expect("a few years at most")
}

/// A history of a system that emits these events, by all checks that they allow, after its nodes
/// have started.
fn begin(system: &'static str, events: &[&str]) -> Lines {
    let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
    let apply = CHECKS.iter().filter(|check| check.missing(&events).is_empty());
    let checks: Map<_, _> = apply.map(|check| (check.name.to_owned(), json!({}))).collect();
    let header = json!({
        "usurper-history": 1, "run": "bench", "system": system, "nodes": ["n1", "n2", "n3"],
        "seed": 1, "origin-ns": 0, "started": "2026-01-01T00:00:00Z", "events": events,
        "timing": {"heartbeat-ns": 100_000_000, "election-timeout-ns": 500_000_000, "leader-bound-ns": 10_000_000_000_u64},
        "checks": checks,
    });
    let text = header.to_string() + "\n";
    let mut out = Lines { system, text, seq: [0; 4], t: 0, step: 30_000_000 };
    for node in 1..=3 {
        out.harness(&format!(r#""event":"spawn","node":"n{node}","inc":1,"pid":{node}"#));
        let start = r#""event":"node-start","persisted":{},"fresh":true,"defects":[],"params":{}"#;
        out.node(node, "looking", start);
        out.harness(&format!(r#""event":"ready","node":"n{node}","inc":1"#));
    }
    out
}

fn end(mut out: Lines) -> Vec<u8> {
    out.harness(r#""event":"phase","phase":"stop""#);
    out.harness(r#""event":"phase","phase":"end""#);
    out.text.into_bytes()
}

const ELECTION: [&str; 7] =
    ["node-start", "role-change", "leader-elected", "leader-known", "heartbeat", "persist", "ack"];

/// A healthy leader and its two followers, for as long as the bytes last.
fn heartbeats() -> Vec<u8> {
    let mut out = begin("fle", &ELECTION);
    for node in [1, 3] {
        let persist = r#""event":"persist","what":"accepted-epoch","value":1,"for":"n3","ok":true"#;
        out.node(node, "looking", persist);
        out.node(node, "looking", r#""event":"ack","to":"n3","kind":"ackepoch","in-term":1"#);
    }
    out.elect();
    while out.text.len() < BYTES {
        out.heartbeats();
    }
    end(out)
}

/// The same with entries that are appended, synced, acknowledged, committed and applied.
fn replicated_log() -> Vec<u8> {
    let events = [&ELECTION[..], &["append", "truncate", "commit", "apply"]].concat();
    let mut out = begin("raft", &events);
    for node in 1..=3 {
        let persist = r#""event":"persist","what":"hard-state","value":1,"for":"n3","ok":true"#;
        out.node(node, "looking", persist);
    }
    out.elect();
    out.step = 1_000_000;
    for index in 1_u64.. {
        if out.text.len() >= BYTES {
            break;
        }
        if index % 100 == 1 {
            out.heartbeats();
        }
        let entry = format!(r#"{{"term":1,"index":{index}}}"#);
        let prev = format!(r#"{{"term":{},"index":{}}}"#, u64::from(index > 1), index - 1);
        for node in [3, 1, 2] {
            let (role, origin) = match node {
                3 => ("leader", "self"),
                _ => ("follower", "leader"),
            };
            out.node(node, role, &format!(
                r#""event":"append","first":{entry},"last":{entry},"digests":["{index:016x}"],"kind":"client","origin":"{origin}","prev":{prev}"#
            ));
            out.node(
                node,
                role,
                &format!(r#""event":"persist","what":"log","up-to":{entry},"ok":true"#),
            );
            if node != 3 {
                out.node(node, role, &format!(
                    r#""event":"ack","to":"n3","kind":"append","in-term":1,"id":{entry},"durable-up-to":{entry}"#
                ));
            }
        }
        for node in [3, 1, 2] {
            let (role, from) = match node {
                3 => ("leader", r#""quorum":["n1","n3"]"#),
                _ => ("follower", r#""learned-from":"n3""#),
            };
            out.node(node, role, &format!(r#""event":"commit","up-to":{entry},{from}"#));
            out.node(node, role, &format!(
                r#""event":"apply","id":{entry},"digest":"{index:016x}","state-digest":"{index:016x}","session":1,"serial":{index}"#
            ));
        }
    }
    end(out)
}

struct Lines {
    system: &'static str,
    text: String,
    seq: [u64; 4],
    t: u64,
    /// Nanoseconds between two events.
    step: u64,
}

impl Lines {
    fn elect(&mut self) {
        let elected = r#""event":"leader-elected","in-term":1,"established":true,"votes":["n1","n3"],"how":"votes""#;
        self.node(
            3,
            "leader",
            r#""event":"role-change","from":"looking","to":"leader","reason":"won""#,
        );
        self.node(3, "leader", elected);
        for node in 1..=3 {
            let role = if node == 3 { "leader" } else { "follower" };
            self.node(node, role, r#""event":"leader-known","leader":"n3","in-term":1"#);
        }
    }

    fn heartbeats(&mut self) {
        self.node(3, "leader", r#""event":"heartbeat","dir":"sent","msg-term":1,"leader":"n3""#);
        for node in 1..=2 {
            let accepted =
                r#""event":"heartbeat","dir":"accepted","peer":"n3","msg-term":1,"leader":"n3""#;
            self.node(node, "follower", accepted);
        }
    }

    fn node(&mut self, node: usize, role: &str, fields: &str) {
        self.t += self.step;
        self.seq[node] += 1;
        let (t, seq, system) = (self.t, self.seq[node], self.system);
        self.text.push_str(&format!(
            r#"{{"t":{t},"record":"node","node":"n{node}","inc":1,"seq":{seq},"proto":"{system}","term":1,"role":"{role}",{fields}}}"#
        ));
        self.text.push('\n');
    }

    fn harness(&mut self, fields: &str) {
        self.t += 1;
        self.text.push_str(&format!(r#"{{"t":{},"record":"harness",{fields}}}"#, self.t));
        self.text.push('\n');
    }
}
