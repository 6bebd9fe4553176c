//! The rules of `raft`, one node at a time: what it is told, and exactly what it does.
//!
//! A transcript has cases; `node` starts one. A line at the margin is an input, the indented lines
//! below it are what the node did. `USURPER_BLESS=1` writes down what it does now: read the change.
//!
//! A place in a log is written `term.index`, and with its configuration, if the entry has one:
//! `2.5{n1,n2|n3~n4}` are the voters, the outgoing voters and the learners. `snapshot` as an input is
//! one that a node of the same page has sent before. A message to all other nodes is to `*`. Timers are not
//! shown; `wait` lets those that come due fire, and the random ones are fixed at 750 ms.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, str::FromStr, time::Duration};

use serde_json::json;
use usurper_history::{EntryId, Event, NodeId};
use usurper_node::{
    protocol::{ClientId, Input, Output, Protocol, Request, Setup, Tick},
    raft::{Command, Config, Entry, Hint, Message, Raft, Timer},
};

#[track_caller]
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/raft").join(name);
    let written = fs::read_to_string(&path).unwrap();
    let mut actual = String::new();
    let mut driver: Option<Driver> = None;
    let mut snapshots = BTreeMap::new();
    for line in written.lines() {
        if line.starts_with("  ") {
            continue;
        }
        writeln!(actual, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<_> = line.split_whitespace().collect();
        if words[0] == "node" {
            let next = Driver::new(&words);
            if let Some(last) = driver.replace(next) {
                snapshots.extend(last.snapshots);
            }
            continue;
        }
        let driver = driver.as_mut().expect("a case starts with `node`");
        driver.input(&words, &snapshots);
        for line in driver.log.drain(..) {
            writeln!(actual, "  {line}").unwrap();
        }
    }
    if std::env::var_os("USURPER_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    } else {
        let differs = written.lines().zip(actual.lines()).position(|(one, other)| one != other);
        let at = differs.map_or(0, |at| at + 1);
        assert!(written == actual, "{name} differs at line {at}; now it is:\n{actual}");
    }
}

struct Driver {
    raft: Raft,
    setup: Setup,
    disk: Vec<Vec<u8>>,
    now: Tick,
    timers: BTreeMap<Timer, Tick>,
    log: Vec<String>,
    /// What it sent, by the last entry.
    snapshots: BTreeMap<EntryId, Message>,
}

impl Driver {
    /// `node n2 of 3 [defect=NAME] [KEY=VALUE]`: it starts with an empty disk.
    fn new(words: &[&str]) -> Self {
        let count = words[3].parse().unwrap();
        let mut setup = Setup {
            id: words[1].parse().unwrap(),
            members: NodeId::all(count).collect(),
            seed: 0,
            inc: 1,
            defects: Vec::new(),
            params: vec![("campaign-after".to_owned(), "750ms".to_owned())],
        };
        for (key, value) in words[4..].iter().map(|word| word.split_once('=').unwrap()) {
            match key {
                "defect" => setup.defects.push(value.to_owned()),
                _ => setup.params.push((key.to_owned(), value.to_owned())),
            }
        }
        let raft = Raft::recover(&setup, &[]).unwrap();
        let (disk, timers, log) = (Vec::new(), BTreeMap::new(), Vec::new());
        let snapshots = BTreeMap::new();
        let mut driver = Self { raft, setup, disk, now: Tick(0), timers, log, snapshots };
        driver.step(Input::Start);
        driver.log.clear();
        driver
    }

    fn input(&mut self, words: &[&str], snapshots: &BTreeMap<EntryId, Message>) {
        match words {
            // The process ends, and starts again with what it wrote; `KEY=VALUE` is changed.
            ["restart", params @ ..] => {
                let params = params.iter().map(|word| word.split_once('=').unwrap());
                self.setup.params.extend(params.map(|(key, to)| (key.into(), to.into())));
                self.setup.inc += 1;
                self.raft = Raft::recover(&self.setup, &self.disk).unwrap();
                self.timers.clear();
                self.step(Input::Start);
            }
            ["wait", duration] => self.wait(humantime(duration)),
            ["connected", peer] => self.step(Input::Connected(peer.parse().unwrap())),
            ["client", f, rest @ ..] => {
                let value = rest.join(" ");
                let value = (!value.is_empty())
                    .then(|| serde_json::from_str(&value).unwrap_or_else(|_| json!(value)));
                let (f, key) = ((*f).to_owned(), Some("x".to_owned()));
                let request = Request { serial: 1, f, key, value, session: None };
                self.step(Input::Request { client: ClientId(1), request });
            }
            [from, "snapshot", term, last] => {
                let from = from.strip_suffix(':').unwrap().parse().unwrap();
                let mut message = snapshots[&place(last)].clone();
                let Message::Snapshot { term: sent, .. } = &mut message else { unreachable!() };
                *sent = parsed(term);
                self.step(Input::Message { from, message });
            }
            [from, message @ ..] => {
                let from = from.strip_suffix(':').expect("`NODE: MESSAGE`").parse().unwrap();
                self.step(Input::Message { from, message: parse(message) });
            }
            [] => {}
        }
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = self.timers.iter().map(|(timer, at)| (*at, *timer)).min();
            let Some((at, timer)) = due.filter(|(at, _)| *at <= end) else { break };
            self.timers.remove(&timer);
            self.now = self.now.max(at);
            self.step(Input::Timer(timer));
        }
        self.now = end;
    }

    fn step(&mut self, input: Input<Message, Timer>) {
        let outputs = self.raft.step(self.now, input);
        let mut sent: Vec<(String, Vec<NodeId>)> = Vec::new();
        for output in outputs {
            let mut lines = Vec::new();
            match output {
                // A transcript arms none.
                Output::Failpoint { .. } => {}
                Output::Send { to, message } => {
                    if let Message::Snapshot { last, .. } = &message {
                        self.snapshots.insert(*last, message.clone());
                    }
                    let text = show(&message);
                    match sent.last_mut() {
                        Some((last, receivers)) if *last == text => receivers.push(to),
                        _ => sent.push((text, vec![to])),
                    }
                }
                Output::Event(stamped) => lines.extend(describe(&stamped.event)),
                Output::Sync(events) => {
                    lines.extend(events.iter().filter_map(|stamped| describe(&stamped.event)));
                }
                Output::Rewrite { records, persisted } => {
                    self.disk = records;
                    lines.extend(persisted.iter().filter_map(|it| describe(&it.event)));
                }
                Output::SetTimer(timer, at) => _ = self.timers.insert(timer, at),
                Output::CancelTimer(timer) => _ = self.timers.remove(&timer),
                Output::Reply { reply, .. } => lines.push(match (reply.value, reply.error) {
                    (Some(value), _) => format!("reply {value}"),
                    (_, error) if reply.unknown => format!("unknown: {}", error.unwrap()),
                    (_, error) => format!("refused: {}", error.unwrap()),
                }),
                Output::Write(record) => self.disk.push(record),
            }
            if !lines.is_empty() {
                self.flush(&mut sent);
                self.log.extend(lines);
            }
        }
        self.flush(&mut sent);
    }

    fn flush(&mut self, sent: &mut Vec<(String, Vec<NodeId>)>) {
        let peers = self.setup.members.len() - 1;
        for (text, receivers) in sent.drain(..) {
            let to = if receivers.len() == peers && peers > 1 {
                "*".to_owned()
            } else {
                receivers.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
            };
            self.log.push(format!("-> {to}: {text}"));
        }
    }
}

fn humantime(text: &str) -> Duration {
    Duration::from_millis(text.strip_suffix("ms").unwrap().parse().unwrap())
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` cannot be read"))
}

fn place(text: &str) -> EntryId {
    let (term, index) = text.split_once('.').unwrap();
    EntryId { term: parsed(term), index: parsed(index) }
}

fn show_place(id: EntryId) -> String {
    format!("{}.{}", id.term, id.index)
}

/// `2.5` is a no-op, `2.5{n1,n2|n3~n4}` a configuration.
fn entry(text: &str) -> Entry {
    let Some((id, config)) = text.strip_suffix('}').and_then(|text| text.split_once('{')) else {
        return Entry { id: place(text), command: Command::Noop };
    };
    let (voters, learners) = config.split_once('~').unwrap_or((config, ""));
    let (voters, outgoing) = voters.split_once('|').unwrap_or((voters, ""));
    let nodes = |text: &str| text.split(',').filter(|it| !it.is_empty()).map(parsed).collect();
    let [voters, outgoing, learners] = [voters, outgoing, learners].map(nodes);
    let command = Command::Configure(Config { voters, outgoing, learners });
    Entry { id: place(id), command }
}

fn show_entry(entry: &Entry) -> String {
    let id = show_place(entry.id);
    match &entry.command {
        Command::Configure(Config { voters, outgoing, learners }) => {
            format!("{id}{}", show_config(voters, outgoing, learners))
        }
        _ => id,
    }
}

fn show_config<'a, I>(voters: I, outgoing: I, learners: I) -> String
where
    I: IntoIterator<Item = &'a NodeId>,
{
    let list = |sign: &str, nodes: I| {
        let nodes: Vec<_> = nodes.into_iter().map(NodeId::to_string).collect();
        if nodes.is_empty() { String::new() } else { format!("{sign}{}", nodes.join(",")) }
    };
    format!("{{{}{}{}}}", list("", voters), list("|", outgoing), list("~", learners))
}

/// The context of a follower's read: `incarnation.number`.
fn context_of(text: &str) -> u64 {
    let (inc, number) = text.split_once('.').unwrap();
    parsed::<u64>(inc) << 32 | parsed::<u64>(number)
}

fn show_context(context: u64) -> String {
    format!("{}.{}", context >> 32, context & 0xffff_ffff)
}

fn parse(words: &[&str]) -> Message {
    match words {
        [kind @ ("vote?" | "prevote?"), term, last, rest @ ..] => Message::VoteRequest {
            term: parsed(term),
            prevote: *kind == "prevote?",
            forced: *rest == ["forced"],
            last: place(last),
        },
        [kind @ ("vote" | "prevote"), term, granted @ ("yes" | "no")] => Message::VoteReply {
            term: parsed(term),
            prevote: *kind == "prevote",
            granted: *granted == "yes",
        },
        // The entries are no-ops.
        ["append", term, "after", prev, commit, entries @ ..] => Message::Append {
            term: parsed(term),
            prev: place(prev),
            entries: entries.iter().map(|text| entry(text)).collect(),
            commit: parsed(commit.strip_prefix("commit=").unwrap()),
        },
        ["appended", term, matched] => {
            Message::AppendReply { term: parsed(term), matched: parsed(matched), refused: None }
        }
        ["received", term, last, received] => Message::SnapshotReply {
            term: parsed(term),
            last: place(last),
            received: parsed(received),
        },
        ["refused", term, refused, hint] => {
            let refused = Some(Hint { refused: parsed(refused), place: place(hint) });
            Message::AppendReply { term: parsed(term), matched: 0, refused }
        }
        ["heartbeat", term, commit] => Message::Heartbeat {
            term: parsed(term),
            commit: parsed(commit.strip_prefix("commit=").unwrap()),
            context: 0,
        },
        ["alive", term, context] => {
            Message::HeartbeatReply { term: parsed(term), context: parsed(context) }
        }
        ["alive", term] => Message::HeartbeatReply { term: parsed(term), context: 0 },
        ["timeout-now", term] => Message::TimeoutNow { term: parsed(term) },
        ["transfer", term, to] => Message::Transfer { term: parsed(term), to: parsed(to) },
        ["index?", term, context] => {
            Message::ReadRequest { term: parsed(term), context: context_of(context) }
        }
        ["index", term, context, index] => Message::ReadReply {
            term: parsed(term),
            context: context_of(context),
            index: (*index != "none").then(|| parsed(index)),
        },
        _ => panic!("unknown message {words:?}"),
    }
}

fn show(message: &Message) -> String {
    match message {
        Message::VoteRequest { term, prevote, forced, last } => {
            let kind = if *prevote { "prevote?" } else { "vote?" };
            let forced = if *forced { " forced" } else { "" };
            format!("{kind} {term} {}{forced}", show_place(*last))
        }
        Message::VoteReply { term, prevote, granted } => {
            let kind = if *prevote { "prevote" } else { "vote" };
            format!("{kind} {term} {}", if *granted { "yes" } else { "no" })
        }
        Message::Append { term, prev, entries, commit } => {
            let entries: Vec<_> =
                entries.iter().map(|entry| format!(" {}", show_entry(entry))).collect();
            let prev = show_place(*prev);
            format!("append {term} after {prev} commit={commit}{}", entries.concat())
        }
        Message::AppendReply { term, matched, refused: None } => {
            format!("appended {term} {matched}")
        }
        Message::AppendReply { term, refused: Some(Hint { refused, place }), .. } => {
            format!("refused {term} {refused} {}", show_place(*place))
        }
        Message::Heartbeat { term, commit, context: 0 } => {
            format!("heartbeat {term} commit={commit}")
        }
        Message::Heartbeat { term, commit, context } => {
            format!("heartbeat {term} commit={commit} context={context}")
        }
        Message::HeartbeatReply { term, context } => format!("alive {term} {context}"),
        Message::Snapshot { term, last, offset, done, .. } => {
            let done = if *done { " done" } else { "" };
            format!("snapshot {term} {} from byte {offset}{done}", show_place(*last))
        }
        Message::SnapshotReply { term, last, received } => {
            format!("received {term} {} {received}", show_place(*last))
        }
        Message::TimeoutNow { term } => format!("timeout-now {term}"),
        Message::Transfer { term, to } => format!("transfer {term} {to}"),
        Message::ReadRequest { term, context } => {
            format!("index? {term} {}", show_context(*context))
        }
        Message::ReadReply { term, context, index } => {
            let index = index.map_or("none".to_owned(), |index| index.to_string());
            format!("index {term} {} {index}", show_context(*context))
        }
    }
}

/// An event as a line; those that only repeat a message are left out.
fn describe(event: &Event) -> Option<String> {
    let names =
        |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    Some(match event {
        Event::RoleChange { to, phase, reason, .. } => {
            let phase = phase.as_ref().map_or(String::new(), |phase| format!(" in {phase}"));
            format!("{}{phase} ({reason})", to.name())
        }
        Event::TermChange { from, to, .. } => format!("term {from} -> {to}"),
        Event::Persist { what, value: Some(term), bound_to, .. } => {
            let vote = bound_to.map_or(String::new(), |vote| format!(", vote {vote}"));
            format!("persist {what} {term}{vote}")
        }
        Event::Persist { what, up_to: Some(id), .. } => {
            format!("persist {what} {}", show_place(*id))
        }
        Event::LeaderElected { in_term, votes, how, .. } => {
            let how = if how == "votes" { "" } else { ", in a transfer" };
            format!("elected in {in_term} by {}{how}", names(votes))
        }
        Event::LeaderKnown { leader: Some(leader), .. } => format!("knows {leader}"),
        Event::LeaderKnown { leader: None, .. } => "knows none".to_owned(),
        Event::VoteMsg { dir, peer, reason: Some(reason), .. } if dir == "recv" => {
            format!("ignores {peer} ({reason})")
        }
        Event::Heartbeat { dir, peer: Some(peer), reason: Some(reason), .. }
            if dir == "rejected" =>
        {
            format!("rejects the heartbeat of {peer} ({reason})")
        }
        Event::Commit { up_to, quorum, .. } => {
            let by = quorum.as_ref().map_or(String::new(), |nodes| format!(" by {}", names(nodes)));
            format!("commit {}{by}", show_place(*up_to))
        }
        Event::Truncate { first, last, cause, .. } => {
            format!("truncate {} to {} ({cause})", show_place(*first), show_place(*last))
        }
        Event::Config { op, id, voters, outgoing, learners } => {
            let (outgoing, learners) = (outgoing.as_deref(), learners.as_deref());
            let config = show_config(
                &voters[..],
                outgoing.unwrap_or_default(),
                learners.unwrap_or_default(),
            );
            format!("config {op} {}{config}", show_place(*id))
        }
        Event::Snapshot { op, last, config, .. } if op != "send" => {
            let config =
                config.as_ref().map_or(String::new(), |config| show_config(&config[..], &[], &[]));
            format!("snapshot {op} {}{config}", show_place(*last))
        }
        Event::Read { mode, index, .. } => format!("{mode} read at {index}"),
        Event::DefectHit { name, place } => format!("defect {name} ({place})"),
        _ => return None,
    })
}

#[test]
fn campaigns_and_votes() {
    check("election.txt");
}

#[test]
fn asking_before_raising_the_term() {
    check("prevote.txt");
}

#[test]
fn leases_and_quorums() {
    check("check-quorum.txt");
}

#[test]
fn the_log() {
    check("replication.txt");
}

#[test]
fn one_change_of_the_members_at_a_time() {
    check("membership.txt");
}

#[test]
fn joint_consensus() {
    check("joint.txt");
}

#[test]
fn learners_and_catching_up() {
    check("learners.txt");
}

#[test]
fn snapshots() {
    check("snapshot.txt");
}

#[test]
fn clients() {
    check("clients.txt");
}

#[test]
fn reads() {
    check("reads.txt");
}

#[test]
fn handing_over() {
    check("transfer.txt");
}
