//! The rules of a protocol, one node at a time: what it is told, and exactly what it does.
//!
//! A transcript has cases; `node` starts one. A line at the margin is an input, the indented lines
//! below it are what the node did. `USURPER_BLESS=1` writes down what it does now: read the change.
//!
//! A message to all other nodes is to `*`. Timers are not shown; `wait` lets those that come due
//! fire, `freeze` is a stopped process.

mod fle;
mod raft;

use std::{collections::BTreeMap, fmt::Write, fs, mem, path::Path, str::FromStr, time::Duration};

use serde_json::json;
use usurper_history::{Event, NodeId};
use usurper_node::protocol::{ClientId, Input, Output, Protocol, Request, Setup, Tick};

/// How a protocol's messages and events are written.
trait Dialect: Protocol {
    /// The node of a case, before its first input.
    fn begin(setup: Setup) -> Driver<Self>;

    /// The message that these words say. `sent` are those that nodes of this page have sent before.
    fn parse(words: &[&str], now: Tick, sent: &[Self::Message]) -> Self::Message;

    fn show(message: &Self::Message) -> String;

    /// An event as a line; those that only repeat a message are left out.
    fn describe(event: &Event) -> Option<String>;
}

#[track_caller]
fn check<P: Dialect>(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(P::NAME).join(name);
    let written = fs::read_to_string(&path).unwrap();
    let mut actual = String::new();
    let mut driver: Option<Driver<P>> = None;
    let mut sent = Vec::new();
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
            driver = Some(P::begin(setup(&words)));
            continue;
        }
        let driver = driver.as_mut().expect("a case starts with `node`");
        driver.input(&words, &sent);
        sent.append(&mut driver.sent);
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

/// `node n2 of 3 [defect=NAME] [KEY=VALUE]`
fn setup(words: &[&str]) -> Setup {
    let mut setup = Setup {
        id: parsed(words[1]),
        members: NodeId::all(parsed(words[3])).collect(),
        seed: 0,
        inc: 1,
        defects: Vec::new(),
        params: Vec::new(),
    };
    for (key, value) in words[4..].iter().map(|word| word.split_once('=').unwrap()) {
        match key {
            "defect" => setup.defects.push(value.to_owned()),
            _ => setup.params.push((key.to_owned(), value.to_owned())),
        }
    }
    setup
}

struct Driver<P: Protocol> {
    node: P,
    setup: Setup,
    disk: Vec<Vec<u8>>,
    now: Tick,
    timers: BTreeMap<P::Timer, Tick>,
    log: Vec<String>,
    sent: Vec<P::Message>,
}

impl<P: Dialect> Driver<P> {
    fn new(setup: Setup, disk: Vec<Vec<u8>>) -> Self {
        let node = P::recover(&setup, &disk).unwrap();
        let (timers, log, sent) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { node, setup, disk, now: Tick(0), timers, log, sent }
    }

    fn input(&mut self, words: &[&str], sent: &[P::Message]) {
        match words {
            ["start"] => self.step(Input::Start),
            // The process ends, and starts again with what it wrote; `KEY=VALUE` is changed.
            ["restart", params @ ..] => {
                let params = params.iter().map(|word| word.split_once('=').unwrap());
                self.setup.params.extend(params.map(|(key, to)| (key.into(), to.into())));
                self.setup.inc += 1;
                self.node = P::recover(&self.setup, &self.disk).unwrap();
                self.timers.clear();
                self.step(Input::Start);
            }
            ["wait", duration] => self.wait(milliseconds(duration)),
            ["freeze", duration] => self.now = self.now + milliseconds(duration),
            ["disconnected", peer] => self.step(Input::Disconnected(parsed(peer))),
            ["connected", peer] => self.step(Input::Connected(parsed(peer))),
            ["client", f, rest @ ..] => {
                let value = rest.join(" ");
                let value = (!value.is_empty())
                    .then(|| serde_json::from_str(&value).unwrap_or_else(|_| json!(value)));
                let (f, key) = ((*f).to_owned(), Some("x".to_owned()));
                let request = Request { serial: 1, f, key, value, session: None };
                self.step(Input::Request { client: ClientId(1), request });
            }
            [from, message @ ..] => {
                let from = parsed(from.strip_suffix(':').expect("`NODE: MESSAGE`"));
                let message = P::parse(message, self.now, sent);
                self.step(Input::Message { from, message });
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

    fn step(&mut self, input: Input<P::Message, P::Timer>) {
        let outputs = self.node.step(self.now, input);
        let mut sending: Vec<(String, Vec<NodeId>)> = Vec::new();
        for output in outputs {
            let mut lines = Vec::new();
            match output {
                // A transcript arms none.
                Output::Failpoint { .. } => {}
                Output::Send { to, message } => {
                    let text = P::show(&message);
                    self.sent.push(message);
                    match sending.last_mut() {
                        Some((last, receivers)) if *last == text => receivers.push(to),
                        _ => sending.push((text, vec![to])),
                    }
                }
                Output::Event(stamped) => lines.extend(P::describe(&stamped.event)),
                Output::Sync(events) => {
                    lines.extend(events.iter().filter_map(|stamped| P::describe(&stamped.event)));
                }
                Output::Rewrite { records, persisted } => {
                    self.disk = records;
                    lines.extend(persisted.iter().filter_map(|it| P::describe(&it.event)));
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
                self.flush(&mut sending);
                self.log.extend(lines);
            }
        }
        self.flush(&mut sending);
    }

    fn flush(&mut self, sending: &mut Vec<(String, Vec<NodeId>)>) {
        let peers = self.setup.members.len() - 1;
        for (text, receivers) in mem::take(sending) {
            let all = receivers.len() == peers && peers > 1;
            let to = if all { "*".to_owned() } else { names(&receivers) };
            self.log.push(format!("-> {to}: {text}"));
        }
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(parsed(text.strip_suffix("ms").unwrap()))
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` cannot be read"))
}

fn names<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) -> String {
    nodes.into_iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}
