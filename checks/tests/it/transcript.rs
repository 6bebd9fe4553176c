//! Short transcripts that stand for histories.
//!
//! One record a line, first the time in milliseconds (`#` begins a comment):
//!
//! ```text
//! 0 boot                         every node is spawned, tells `node-start` and is ready
//! 10 n1 elected 1                it is established as leader of term 1 and takes the role; `by n1 n2`
//! 10 n1 prospective 2            votes were counted, the term is not established
//! 10 n1 wins 2                   it is established, and its role does not change yet
//! 20 n2 role follower
//! 20 n2 seems follower           its role changes without an event
//! 20 n2 knows n1 1               (or `knows none 1`)
//! 30 n2 accepted n1 1            a heartbeat; also `sent`, `rejected`; `via n3` names the sender
//! 40 n2 term 2                   the envelope's term from here on
//! 40 n2 persist current-epoch 2  (also `for n1`, or an id: `persist log 1.2`; `fails` for `persist`)
//! 45 n2 append 1.1:a 1.2:b       entries by term, index and digest; `after 1.0` tells what is before
//! 45 n2 truncate 1.2 1.3         (also `commit 1`)
//! 45 n2 snapshot install 1.5
//! 46 n2 ack append n1 1 1.2      kind, to whom, in which term and, of an append, which id
//! 46 n2 sends vote-resp n1 1     a granted message of an election
//! 47 n2 commit 1.2               (also `by n1 n2`)
//! 48 n2 apply 1.2:b              (also `state x`, `op 7.1` for the first of session 7)
//! 50 n2 stands 1.3 2             it votes for itself in round 2, with its last zxid
//! 50 n2 stored-zxid 1.3          its last zxid is on its disk
//! 50 n2 round 2                  it enters this round
//! 50 n2 votes n1 2               an event that no check but completeness looks at
//! 50 n2 accepts n3 2            it stores that it accepts n3 for this epoch
//! 50 n2 acks n3 2               it tells n3 so
//! 50 n2 restarts-accepted 2     `node-start`, having found this accepted epoch on its disk
//! 50 n2 dials n1                it begins a connection
//! 50 n2 stranger n1 n3           it starts again, and is no member of what it takes for the members
//! 50 n2 lose 3                   three events of the node are missing from here on
//! 60 n2 config n1 n2             the membership changes; `config append 1.3 n1 n2`, `commit`, `revert`
//!                                name the entry; `out n3` are those whom a joint one replaces, and
//!                                `learn n4` the learners
//! 70 exit n1 ok                  (or `code 101`, `signal 11`)
//! 80 spawn n1                    the next incarnation
//! 80 n1 start 2                  `node-start`, having found term 2 on its disk
//! 80 n1 found term 2 last 1.2    `node-start`, having found this; also `fresh`, `vote n1`, `accepted 2`,
//!                                `leader n1`, `epoch 2`, `first 1.1`, `commit 1`, `snapshot 1.1`
//! 90 ready n1
//! 95 begin 1 kill down n1        a fault: id, name, effect, nodes and links (`n1>n2`)
//! 96 end 1 kill down n1          installed; `skipped` or `indeterminate` may follow, and `acted=95`
//! 97 c1 invoke write x 1         an operation of client 1: type, function, key (`-`: none), value
//! 98 c1 ok write x 1             also `fail` and `info`; `at n2` names the server, `session 7` the
//!                                client, and `error` says that it failed for another reason
//! 98 stall 99                    the machine stands still until then
//! 99 phase stop
//! 99 bad-line n1
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use usurper_checks::{
    CheckInfo, CheckVerdict, JudgeError, Judgement, Judging, Means, Verdict, judge,
};
use usurper_history::{FORMAT_VERSION, Header, NodeId, OPERATIONS, Reader, Timing};

pub(crate) const MS: u64 = 1_000_000;

/// A history under construction.
pub(crate) struct Transcript {
    pub(crate) header: Header,
    lines: Vec<String>,
    nodes: BTreeMap<String, Node>,
}

#[derive(Clone)]
struct Node {
    inc: u32,
    seq: u64,
    role: String,
    term: u64,
}

impl Transcript {
    /// Three nodes of `fle` with H = 100 ms, T = 500 ms and a leader bound of 5 s.
    pub(crate) fn new(text: &str) -> Self {
        Self::of("fle", 3, text)
    }

    pub(crate) fn of(system: &str, nodes: u8, text: &str) -> Self {
        let names = usurper_history::Event::NAMES.iter().copied().chain([OPERATIONS]);
        let events = names.map(str::to_owned).collect();
        let header = Header {
            version: FORMAT_VERSION,
            run: "test".to_owned(),
            system: system.to_owned(),
            scenario: None,
            nodes: NodeId::all(nodes).collect(),
            seed: 1,
            origin_ns: 0,
            started: "2026-01-01T00:00:00Z".to_owned(),
            timing: Timing {
                heartbeat_ns: 100 * MS,
                election_timeout_ns: 500 * MS,
                leader_bound_ns: 5_000 * MS,
            },
            defects: Vec::new(),
            events,
            checks: Map::new(),
            extra: Map::new(),
        };
        let mut transcript = Self { header, lines: Vec::new(), nodes: BTreeMap::new() };
        for line in text.lines() {
            transcript.line(line.split('#').next().unwrap().trim());
        }
        transcript
    }

    pub(crate) fn asks(mut self, check: &str, options: Value) -> Self {
        self.header.checks.insert(check.to_owned(), options);
        self
    }

    /// Takes away an event that the system could emit.
    pub(crate) fn without(mut self, event: &str) -> Self {
        self.header.events.retain(|name| name != event);
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).unwrap() + "\n";
        self.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        let end = |t: u64| {
            json!({"t": t, "record": "harness", "event": "phase", "phase": "end"}).to_string()
        };
        let is_end = |line: &String| {
            line.contains("\"event\":\"phase\"") && line.contains("\"phase\":\"end\"")
        };
        if !self.lines.iter().any(is_end) {
            // Nothing is valid in a history that was cut off.
            let last = self.lines.last().map(|line| serde_json::from_str::<Value>(line).unwrap());
            text.push_str(&end(last.map_or(0, |line| line["t"].as_u64().unwrap())));
            text.push('\n');
        }
        text
    }

    pub(crate) fn judge(&self) -> Result<Verdict, JudgeError> {
        judge_text(&self.text())
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((t, words)) = words.split_first() else { return };
        let t = t.parse::<u64>().unwrap_or_else(|_| panic!("no time in `{line}`")) * MS;
        match words {
            ["boot"] => {
                for node in self.header.nodes.clone() {
                    let node = node.to_string();
                    self.spawn(t, &node);
                    self.start(t, &node, 0);
                    self.harness(t, "ready", json!({"node": node, "inc": self.nodes[&node].inc}));
                }
            }
            ["spawn", node] => self.spawn(t, node),
            ["ready", node] => {
                self.harness(t, "ready", json!({"node": node, "inc": self.nodes[*node].inc}));
            }
            ["exit", node, "ok"] => self.exit(t, node, json!({"expected": true, "signal": 9})),
            ["exit", node, how, number] => {
                let number: i32 = number.parse().unwrap();
                let words = "thread main panicked at connection.rs";
                self.exit(t, node, json!({"expected": false, *how: number, "stderr": words}));
            }
            ["phase", phase] => self.harness(t, "phase", json!({"phase": phase})),
            ["stall", until] => {
                let until = until.parse::<u64>().unwrap() * MS;
                self.harness(t, "stall", json!({"until": until}));
            }
            ["step-missed", step] => {
                let fields = json!({"step": step, "waits-for": "an event that never came"});
                self.harness(t, "step-missed", fields);
            }
            ["bad-line", node] => {
                let inc = self.nodes[*node].inc;
                let fields = json!({"node": node, "inc": inc, "error": "cut off", "text": "{"});
                self.harness(t, "bad-line", fields);
            }
            ["begin", id, fault, effect, named @ ..] => {
                self.fault(t, "begin", id, fault, effect, named);
            }
            ["end", id, fault, effect, named @ ..] => {
                self.fault(t, "end", id, fault, effect, named);
            }
            [client, op_type, f, key, words @ ..] if client.starts_with('c') => {
                let process: u32 = client[1..].parse().unwrap();
                let mut fields = json!({
                    "t": t, "record": "op", "process": process, "type": op_type, "f": f,
                });
                if *key != "-" {
                    fields["key"] = json!(key);
                }
                let mut words = words.iter();
                while let Some(word) = words.next() {
                    match *word {
                        "at" => fields["server"] = json!(words.next().unwrap()),
                        "session" => {
                            fields["session"] =
                                words.next().unwrap().parse::<u64>().unwrap().into();
                        }
                        "error" => fields["error"] = json!("refused"),
                        value => fields["value"] = serde_json::from_str(value).unwrap(),
                    }
                }
                self.record(fields, json!({}));
            }
            [node, event @ ..] => self.node(t, node, event),
            [] => panic!("nothing in `{line}`"),
        }
    }

    fn node(&mut self, t: u64, node: &str, words: &[&str]) {
        let number = |text: &&str| text.parse::<u64>().unwrap();
        match words {
            ["elected" | "prospective", term, votes @ ..] => {
                let established = words[0] == "elected";
                let votes = votes.strip_prefix(&["by"]).unwrap_or(votes);
                let term = number(term);
                if established {
                    self.state(node).term = term;
                }
                let fields = json!({"in-term": term, "established": established, "votes": votes, "how": "test"});
                self.event(t, node, "leader-elected", fields);
                self.role(t, node, "leader");
            }
            ["wins", term] => {
                let fields = json!({
                    "in-term": number(term), "established": true, "votes": [], "how": "test",
                });
                self.event(t, node, "leader-elected", fields);
            }
            ["seems", role] => self.state(node).role = (*role).to_owned(),
            ["role", role] => self.role(t, node, role),
            // Of a leader.
            ["phase", phase] => {
                let fields =
                    json!({"from": "leader", "to": "leader", "phase": phase, "reason": "test"});
                self.event(t, node, "role-change", fields);
            }
            ["knows", "none", term] => {
                self.event(t, node, "leader-known", json!({"in-term": number(term)}));
            }
            ["knows", leader, term] => {
                let fields = json!({"leader": leader, "in-term": number(term)});
                self.event(t, node, "leader-known", fields);
            }
            [dir @ ("sent" | "accepted" | "rejected"), leader, term, via @ ..] => {
                let mut fields = json!({"dir": dir, "msg-term": number(term), "leader": leader});
                if let ["via", peer] = via {
                    fields["peer"] = json!(peer);
                }
                self.event(t, node, "heartbeat", fields);
            }
            ["term", term] => {
                let (from, to) = (self.state(node).term, number(term));
                self.state(node).term = to;
                let fields =
                    json!({"kind": "current-epoch", "from": from, "to": to, "cause": "test"});
                self.event(t, node, "term-change", fields);
            }
            [word @ ("persist" | "fails"), what, value, bound @ ..] => {
                let mut fields = json!({"what": what, "ok": *word == "persist"});
                if value.contains('.') {
                    fields["up-to"] = id(value);
                } else {
                    fields["value"] = json!(number(value));
                }
                if let ["for", node] = bound {
                    fields["for"] = json!(node);
                }
                self.event(t, node, "persist", fields);
            }
            ["accepts", leader, epoch] => {
                let fields = json!({
                    "what": "accepted-epoch", "value": number(epoch), "for": leader, "ok": true,
                });
                self.event(t, node, "persist", fields);
            }
            ["acks", leader, epoch] => {
                let fields = json!({"to": leader, "kind": "ackepoch", "in-term": number(epoch)});
                self.event(t, node, "ack", fields);
            }
            ["restarts-accepted", epoch] => {
                let persisted = json!({"accepted-epoch": number(epoch)});
                let fields =
                    json!({"persisted": persisted, "fresh": false, "defects": [], "params": {}});
                self.event(t, node, "node-start", fields);
            }
            ["dials", peer] => {
                self.event(t, node, "conn", json!({"op": "dial", "peer": peer}));
            }
            ["stranger", members @ ..] => {
                self.renew(node);
                let persisted = json!({"config": members});
                let fields =
                    json!({"persisted": persisted, "fresh": true, "defects": [], "params": {}});
                self.event(t, node, "node-start", fields);
            }
            ["resumed", last] => {
                if self.state(node).seq > 0 {
                    self.renew(node);
                }
                let persisted = json!({"last": id(last)});
                let fields =
                    json!({"persisted": persisted, "fresh": false, "defects": [], "params": {}});
                self.event(t, node, "node-start", fields);
            }
            ["append", rest @ ..] => {
                let place = rest.iter().position(|word| *word == "after").unwrap_or(rest.len());
                let (entries, after) = rest.split_at(place);
                let entries: Vec<_> =
                    entries.iter().map(|it| it.split_once(':').unwrap()).collect();
                let (first, last) = (entries[0].0, entries[entries.len() - 1].0);
                let digests: Vec<&str> = entries.iter().map(|it| it.1).collect();
                let mut fields = json!({
                    "first": id(first), "last": id(last), "digests": digests, "kind": "client",
                    "origin": "self",
                });
                if let ["after", prev] = after {
                    fields["prev"] = id(prev);
                }
                self.event(t, node, "append", fields);
            }
            ["truncate", first, last, commit @ ..] => {
                let commit = if let ["commit", commit] = commit { number(commit) } else { 0 };
                let fields = json!({
                    "first": id(first), "last": id(last), "cause": "test", "commit": commit,
                });
                self.event(t, node, "truncate", fields);
            }
            ["snapshot", op, last] => {
                self.event(t, node, "snapshot", json!({"op": op, "last": id(last)}));
            }
            ["ack", kind, to, term, entry @ ..] => {
                let mut fields = json!({"to": to, "kind": kind, "in-term": number(term)});
                if let [entry] = entry {
                    fields["id"] = id(entry);
                }
                self.event(t, node, "ack", fields);
            }
            ["sends", kind, peer, term] => {
                let fields = json!({
                    "dir": "send", "peer": peer, "kind": kind, "msg-term": number(term),
                    "granted": true,
                });
                self.event(t, node, "vote-msg", fields);
            }
            ["commit", up_to, quorum @ ..] => {
                let mut fields = json!({"up-to": id(up_to)});
                if let ["by", quorum @ ..] = quorum {
                    fields["quorum"] = json!(quorum);
                }
                self.event(t, node, "commit", fields);
            }
            ["apply", entry, more @ ..] => {
                let (entry, digest) = entry.split_once(':').unwrap();
                let mut fields = json!({"id": id(entry), "digest": digest});
                for pair in more.chunks(2) {
                    match pair {
                        ["state", state] => fields["state-digest"] = json!(state),
                        ["op", op] => {
                            let (session, serial) = op.split_once('.').unwrap();
                            fields["session"] = json!(session.parse::<u64>().unwrap());
                            fields["serial"] = json!(serial.parse::<u64>().unwrap());
                        }
                        _ => panic!("cannot read `{}`", words.join(" ")),
                    }
                }
                self.event(t, node, "apply", fields);
            }
            ["found", found @ ..] => self.found(t, node, found),
            ["stored-zxid", at] => {
                let fields = json!({"what": "zxid", "zxid": zxid(at), "ok": true});
                self.event(t, node, "persist", fields);
            }
            ["round", round] => {
                let fields =
                    json!({"kind": "round", "from": 0, "to": number(round), "cause": "test"});
                self.event(t, node, "term-change", fields);
            }
            ["stands", at, round] => {
                let fields = json!({
                    "candidate": node, "in-term": number(round), "prevote": false,
                    "zxid": zxid(at),
                });
                self.event(t, node, "vote-cast", fields);
            }
            ["votes", candidate, term] => {
                let fields =
                    json!({"candidate": candidate, "in-term": number(term), "prevote": false});
                self.event(t, node, "vote-cast", fields);
            }
            ["config", op @ ("append" | "commit" | "revert"), at, voters @ ..] => {
                let mut fields = json!({"op": op, "id": id(at)});
                let mut list = "voters";
                fields[list] = json!([]);
                for word in voters.iter() {
                    match *word {
                        "out" => list = "outgoing",
                        "learn" => list = "learners",
                        node if fields[list].is_null() => fields[list] = json!([node]),
                        node => fields[list].as_array_mut().unwrap().push(json!(node)),
                    }
                }
                self.event(t, node, "config", fields);
            }
            ["config", voters @ ..] => {
                let id = json!({"term": 1, "index": 1});
                let fields = json!({"op": "apply", "id": id, "voters": voters});
                self.event(t, node, "config", fields);
            }
            ["lose", count] => self.state(node).seq += number(count),
            ["start", term] => self.start(t, node, number(term)),
            _ => panic!("cannot read `{}`", words.join(" ")),
        }
    }

    fn role(&mut self, t: u64, node: &str, to: &str) {
        let from = std::mem::replace(&mut self.state(node).role, to.to_owned());
        self.event(t, node, "role-change", json!({"from": from, "to": to, "reason": "test"}));
    }

    fn state(&mut self, node: &str) -> &mut Node {
        self.nodes.entry(node.to_owned()).or_insert_with(|| Node {
            inc: 0,
            seq: 0,
            role: "looking".to_owned(),
            term: 0,
        })
    }

    fn spawn(&mut self, t: u64, node: &str) {
        self.renew(node);
        let fields = json!({"node": node, "inc": self.nodes[node].inc, "pid": 1});
        self.harness(t, "spawn", fields);
    }

    fn renew(&mut self, node: &str) {
        let inc = self.state(node).inc + 1;
        *self.state(node) = Node { inc, seq: 0, role: "looking".to_owned(), term: 0 };
    }

    fn start(&mut self, t: u64, node: &str, term: u64) {
        if self.state(node).seq > 0 {
            self.renew(node);
        }
        self.state(node).term = term;
        let persisted = if term > 0 { json!({"current-epoch": term}) } else { json!({}) };
        let fields =
            json!({"persisted": persisted, "fresh": term == 0, "defects": [], "params": {}});
        self.event(t, node, "node-start", fields);
    }

    fn found(&mut self, t: u64, node: &str, found: &[&str]) {
        if self.state(node).seq > 0 {
            self.renew(node);
        }
        let fresh = found == ["fresh"];
        let mut persisted = json!({});
        for pair in found.chunks_exact(2) {
            let (key, value) = match *pair {
                ["vote", node] => ("vote", json!(node)),
                ["leader", node] => ("accepted-leader", json!(node)),
                ["accepted", epoch] => ("accepted-epoch", json!(epoch.parse::<u64>().unwrap())),
                ["epoch", epoch] => ("current-epoch", json!(epoch.parse::<u64>().unwrap())),
                ["zxid", at] => ("zxid", zxid(at)),
                [key @ ("first" | "last" | "snapshot"), entry] => (key, id(entry)),
                [key, number] => (key, json!(number.parse::<u64>().unwrap())),
                _ => unreachable!("chunks of two"),
            };
            if key == "term" {
                self.state(node).term = value.as_u64().unwrap();
            }
            persisted[key] = value;
        }
        let fields = json!({"persisted": persisted, "fresh": fresh, "defects": [], "params": {}});
        self.event(t, node, "node-start", fields);
    }

    fn exit(&mut self, t: u64, node: &str, mut fields: Value) {
        fields["node"] = json!(node);
        fields["inc"] = json!(self.nodes[node].inc);
        self.harness(t, "exit", fields);
    }

    fn event(&mut self, t: u64, node: &str, event: &str, fields: Value) {
        let state = self.state(node);
        state.seq += 1;
        let envelope = json!({
            "t": t, "record": "node", "event": event, "node": node, "inc": state.inc,
            "seq": state.seq, "proto": "", "term": state.term, "role": state.role,
        });
        self.record(envelope, fields);
    }

    fn harness(&mut self, t: u64, event: &str, fields: Value) {
        self.record(json!({"t": t, "record": "harness", "event": event}), fields);
    }

    fn fault(&mut self, t: u64, phase: &str, id: &str, fault: &str, effect: &str, named: &[&str]) {
        let mut fields = json!({
            "t": t, "record": "fault", "id": id.parse::<u64>().unwrap(), "phase": phase,
            "fault": fault, "effect": effect, "nodes": [], "links": [],
        });
        if phase == "end" {
            fields["outcome"] = json!("installed");
        }
        for name in named {
            if let Some((from, to)) = name.split_once('>') {
                fields["links"].as_array_mut().unwrap().push(json!([from, to]));
            } else if name.starts_with('n') {
                fields["nodes"].as_array_mut().unwrap().push(json!(name));
            } else if let Some(acted) = name.strip_prefix("acted=") {
                fields["acted"] = json!(acted.parse::<u64>().unwrap() * MS);
            } else if let Some(aspect) = name.strip_prefix("aspect=") {
                fields["aspect"] = json!(aspect);
            } else {
                fields["outcome"] = json!(name);
            }
        }
        self.record(fields, json!({}));
    }

    fn record(&mut self, mut envelope: Value, fields: Value) {
        let all = envelope.as_object_mut().unwrap();
        all.extend(fields.as_object().unwrap().clone());
        if all.get("proto").is_some() {
            all.insert("proto".to_owned(), json!(self.header.system));
        }
        self.lines.push(envelope.to_string());
    }
}

/// An id, written `term.index`.
fn id(text: &str) -> Value {
    let (term, index) = text.split_once('.').unwrap_or_else(|| panic!("no id in `{text}`"));
    json!({"term": term.parse::<u64>().unwrap(), "index": index.parse::<u64>().unwrap()})
}

fn zxid(text: &str) -> Value {
    let (epoch, counter) = text.split_once('.').unwrap_or_else(|| panic!("no zxid in `{text}`"));
    json!({"epoch": epoch.parse::<u64>().unwrap(), "counter": counter.parse::<u64>().unwrap()})
}

pub(crate) fn judge_text(text: &str) -> Result<Verdict, JudgeError> {
    let verdict = judge(&mut Reader::new(text.as_bytes())?)?;
    assert_found_in_time(text, &verdict);
    Ok(verdict)
}

/// What a check finds it has found when the last record has been judged, before it hears that the
/// history has ended; unless it looks at the history as a whole. And what it has not, it has not.
fn assert_found_in_time(text: &str, verdict: &Verdict) {
    const WHOLE: [&str; 4] =
        ["linearizable", "sequential", "stale-read", "lost-acknowledged-write"];
    for check in &verdict.checks {
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        let mut header = reader.header().clone();
        header.checks.retain(|name, _| *name == check.check);
        let mut judging = Judging::begin(header, &Means::default()).unwrap();
        let mut found = false;
        for record in reader.by_ref() {
            let (line, record) = record.unwrap();
            judging.observe(line, &record).unwrap();
            assert!(!found || judging.has_found(), "{} takes back what it found", check.check);
            found = judging.has_found();
        }
        let invalid = check.judgement == Judgement::Invalid;
        let whole = WHOLE.contains(&check.check.as_str())
            // What the logs of servers lack, and may take it back, is told at their end.
            || reader.header().timing.election_timeout_ns == 0
            // Who was not started by the harness is known only once nothing more can be told.
            || check.findings.iter().all(|it| it.sentence.contains("has ended unseen"));
        assert!(found == invalid || (invalid && whole), "{} found {found}: {check:?}", check.check);
    }
}

/// A verdict as a person would note it down: the judgement and its reason, then the sentences.
pub(crate) fn render(verdict: &CheckVerdict) -> String {
    let mut text = verdict.judgement.name().to_owned();
    if let Some(reason) = &verdict.reason {
        text.push_str(&format!(" ({reason})"));
    }
    for finding in &verdict.findings {
        text.push_str(&format!("\n- {}", finding.sentence));
    }
    for warning in &verdict.warnings {
        text.push_str(&format!("\n~ {}", warning.sentence));
    }
    text
}

/// Judges a transcript by one check and compares what it says.
#[track_caller]
pub(crate) fn check(check: &str, text: &str, expected: &str) {
    check_transcript(check, Transcript::new(text), expected);
}

/// As [`check`], of a system whose logs are Raft's.
#[track_caller]
pub(crate) fn check_raft(check: &str, text: &str, expected: &str) {
    check_transcript(check, Transcript::of("raft", 3, text), expected);
}

#[track_caller]
pub(crate) fn check_transcript(check: &str, transcript: Transcript, expected: &str) {
    let asked = transcript.header.checks.contains_key(check);
    let transcript = if asked { transcript } else { transcript.asks(check, json!({})) };
    let verdict = transcript.judge().unwrap();
    let found = verdict.checks.iter().find(|it| it.check == check).unwrap();
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    assert_eq!(render(found), expected.join("\n"), "\nhistory:\n{}", transcript.text());
    for finding in found.findings.iter().chain(&found.warnings) {
        let last = verdict.lines;
        assert!(!finding.lines.is_empty(), "no line proves `{}`", finding.sentence);
        assert!(finding.lines.iter().all(|line| (2..=last).contains(line)), "{finding:?}");
        // What clients saw need not be the doing of a node.
        let of_clients = CheckInfo::find(check).unwrap().needs.contains(&OPERATIONS);
        assert!(of_clients || !finding.nodes.is_empty(), "{finding:?}");
        assert!(finding.from_ns <= finding.to_ns, "{finding:?}");
    }
    let again = transcript.judge().unwrap();
    assert_eq!(serde_json::to_string(&verdict).unwrap(), serde_json::to_string(&again).unwrap());
}
