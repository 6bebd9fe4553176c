//! The rules of `fle`, one node at a time: what it is told, and exactly what it does.
//!
//! A transcript has cases; `node` starts one. A line at the margin is an input, the indented lines
//! below it are what the node did. `USURPER_BLESS=1` writes down what it does now: read the change.
//!
//! Votes are written `peer-epoch/zxid/leader`, or `nobody`; `unheard` is a vote of somebody who has
//! had none from its receiver yet. A message to all other nodes is to `*`. Timers are
//! not shown; `wait` lets those that come due fire, `freeze` is a stopped process.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, str::FromStr, time::Duration};

use serde_json::json;
use usurper_history::{Event, NodeId, Zxid};
use usurper_node::{
    fle::{Fle, Message, Standing, Timer, Vote},
    protocol::{ClientId, Input, Output, Protocol, Request, Setup, Tick},
};

#[track_caller]
fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let written = fs::read_to_string(&path).unwrap();
    let mut actual = String::new();
    let mut driver = None;
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
            driver = Some(Driver::new(&words));
            continue;
        }
        let driver = driver.as_mut().expect("a case starts with `node`");
        driver.input(&words);
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
    fle: Fle,
    peers: usize,
    now: Tick,
    timers: BTreeMap<Timer, Tick>,
    log: Vec<String>,
}

impl Driver {
    /// `node n2 of 3 [defect=NAME] [epoch=EPOCH] [KEY=VALUE]`: with an epoch, it has followed the
    /// highest node in it before this start; the rest are parameters.
    fn new(words: &[&str]) -> Self {
        let count = words[3].parse().unwrap();
        let mut setup = Setup {
            id: words[1].parse().unwrap(),
            members: NodeId::all(count).collect(),
            seed: 0,
            inc: 1,
            defects: Vec::new(),
            params: Vec::new(),
        };
        let mut disk = Vec::new();
        for (key, value) in words[4..].iter().map(|word| word.split_once('=').unwrap()) {
            match key {
                "defect" => setup.defects.push(value.to_owned()),
                "epoch" => disk = followed(&setup, value.parse().unwrap()),
                _ => setup.params.push((key.to_owned(), value.to_owned())),
            }
        }
        let fle = Fle::recover(&setup, &disk).unwrap();
        let peers = usize::from(count) - 1;
        Self { fle, peers, now: Tick(0), timers: BTreeMap::new(), log: Vec::new() }
    }

    fn input(&mut self, words: &[&str]) {
        match words {
            ["start"] => self.step(Input::Start),
            ["wait", duration] => self.wait(humantime(duration)),
            ["freeze", duration] => self.now = self.now + humantime(duration),
            ["disconnected", peer] => self.step(Input::Disconnected(peer.parse().unwrap())),
            ["connected", peer] => self.step(Input::Connected(peer.parse().unwrap())),
            ["advance", steps] => {
                let value = Some(json!(steps.parse::<u64>().unwrap()));
                let request =
                    Request { serial: 1, f: "advance".to_owned(), key: None, value, session: None };
                self.step(Input::Request { client: ClientId(1), request });
            }
            [from, message @ ..] => {
                let from = from.strip_suffix(':').expect("`NODE: MESSAGE`").parse().unwrap();
                let message = parse(message, self.now);
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

    fn step(&mut self, input: Input<Message, Timer>) {
        let outputs = self.fle.step(self.now, input);
        let mut sent: Vec<(String, Vec<NodeId>)> = Vec::new();
        for output in outputs {
            if let Output::Send { to, message } = &output {
                let text = show(message);
                match sent.last_mut() {
                    Some((last, receivers)) if *last == text => receivers.push(*to),
                    _ => sent.push((text, vec![*to])),
                }
                continue;
            }
            match output {
                Output::Event(stamped) => {
                    let Some(line) = describe(&stamped.event) else { continue };
                    self.flush(&mut sent);
                    self.log.push(line);
                }
                Output::Sync(events) => {
                    self.flush(&mut sent);
                    self.log.extend(events.iter().filter_map(|stamped| describe(&stamped.event)));
                }
                Output::SetTimer(timer, at) => {
                    self.timers.insert(timer, at);
                }
                Output::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Output::Reply { reply, .. } => {
                    self.flush(&mut sent);
                    self.log.push(format!("reply {}", reply.value.unwrap_or_default()));
                }
                Output::Write(_)
                | Output::Rewrite { .. }
                | Output::Failpoint { .. }
                | Output::Send { .. } => {}
            }
        }
        self.flush(&mut sent);
    }

    fn flush(&mut self, sent: &mut Vec<(String, Vec<NodeId>)>) {
        for (text, receivers) in sent.drain(..) {
            let to = if receivers.len() == self.peers && self.peers > 1 {
                "*".to_owned()
            } else {
                receivers.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
            };
            self.log.push(format!("-> {to}: {text}"));
        }
    }
}

/// The log of a node that followed the highest node in this epoch.
fn followed(setup: &Setup, epoch: u64) -> Vec<Vec<u8>> {
    let leader = *setup.members.last().unwrap();
    assert_ne!(leader, setup.id, "it follows the highest node");
    let setup = &Setup { defects: Vec::new(), ..setup.clone() };
    let mut node = Fle::recover(setup, &[]).unwrap();
    let vote = Vote { peer_epoch: 0, zxid: Zxid::default(), leader };
    let settled = |following| Message::Notification {
        round: 1,
        vote: Some(vote),
        standing: following,
        heard: true,
    };
    let mut disk = Vec::new();
    let mut step = |now, input| {
        let written = node.step(Tick(now), input).into_iter();
        disk.extend(written.filter_map(|output| match output {
            Output::Write(record) => Some(record),
            _ => None,
        }));
    };
    step(0, Input::Start);
    for from in setup.members.iter().copied().filter(|member| *member != setup.id) {
        let message = settled(if from == leader {
            Standing::Leading { established: false }
        } else {
            Standing::Following { established: false }
        });
        step(0, Input::Message { from, message });
    }
    let message = Message::LeaderInfo { epoch, established: false };
    step(0, Input::Message { from: leader, message });
    let message = Message::Heartbeat { epoch, beat: 1, sent_at: Tick(0) };
    step(0, Input::Message { from: leader, message });
    disk
}

fn humantime(text: &str) -> Duration {
    Duration::from_millis(text.strip_suffix("ms").unwrap().parse().unwrap())
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` cannot be read"))
}

fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once('.').unwrap();
    Zxid { epoch: parsed(epoch), counter: parsed(counter) }
}

fn vote(text: &str) -> Vote {
    let parts: Vec<_> = text.split('/').collect();
    Vote { peer_epoch: parsed(parts[0]), zxid: zxid(parts[1]), leader: parsed(parts[2]) }
}

fn parse(words: &[&str], now: Tick) -> Message {
    match words {
        ["notification", round, ballot, standing, rest @ ..] => Message::Notification {
            round: parsed(round),
            vote: (*ballot != "nobody").then(|| vote(ballot)),
            heard: rest != ["unheard"],
            standing: match *standing {
                "looking" => Standing::Looking,
                "deciding" => Standing::Following { established: false },
                "following" => Standing::Following { established: true },
                "winning" => Standing::Leading { established: false },
                "leading" => Standing::Leading { established: true },
                other => panic!("unknown standing `{other}`"),
            },
        },
        ["follower-info", accepted, current, logged] => Message::FollowerInfo {
            accepted_epoch: parsed(accepted),
            current_epoch: parsed(current),
            zxid: zxid(logged),
        },
        ["leader-info", epoch, rest @ ..] => {
            Message::LeaderInfo { epoch: parsed(epoch), established: rest == ["established"] }
        }
        ["epoch-ack", epoch, granted, accepted, current, logged] => Message::EpochAck {
            epoch: parsed(epoch),
            granted: *granted == "yes",
            accepted_epoch: parsed(accepted),
            current_epoch: parsed(current),
            zxid: zxid(logged),
        },
        ["heartbeat", epoch] => Message::Heartbeat { epoch: parsed(epoch), beat: 1, sent_at: now },
        // Of the heartbeat that was sent so many milliseconds ago.
        ["heartbeat-reply", epoch, accepted, own, ago] => Message::HeartbeatReply {
            epoch: parsed(epoch),
            beat: 1,
            sent_at: Tick(now.0 - parsed::<u64>(ago) * 1_000_000),
            accepted: *accepted == "yes",
            own_epoch: parsed(own),
            own_leader: None,
        },
        ["sdown", leader, epoch] => {
            Message::SubjectiveDown { leader: parsed(leader), epoch: parsed(epoch) }
        }
        ["sdown-answer", leader, epoch, down, known @ ..] => Message::DownAnswer {
            leader: parsed(leader),
            epoch: parsed(epoch),
            down: *down == "down",
            known: known.first().map(|leader| (parsed(leader), parsed(known[1]))),
        },
        ["odown", leader, epoch, reporters] => Message::ObjectiveDown {
            leader: parsed(leader),
            epoch: parsed(epoch),
            reporters: reporters.split(',').map(parsed).collect(),
        },
        _ => panic!("unknown message {words:?}"),
    }
}

fn show_zxid(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch, zxid.counter)
}

fn show(message: &Message) -> String {
    match message {
        Message::Notification { round, vote, standing, heard } => {
            let standing = match standing {
                Standing::Looking => "looking",
                Standing::Following { established: false } => "deciding",
                Standing::Following { established: true } => "following",
                Standing::Leading { established: false } => "winning",
                Standing::Leading { established: true } => "leading",
            };
            let ballot = vote.map_or("nobody".to_owned(), |vote| {
                format!("{}/{}/{}", vote.peer_epoch, show_zxid(vote.zxid), vote.leader)
            });
            let heard = if *heard { "" } else { " unheard" };
            format!("notification {round} {ballot} {standing}{heard}")
        }
        Message::FollowerInfo { accepted_epoch, current_epoch, zxid } => {
            format!("follower-info {accepted_epoch} {current_epoch} {}", show_zxid(*zxid))
        }
        Message::LeaderInfo { epoch, established } => {
            format!("leader-info {epoch}{}", if *established { " established" } else { "" })
        }
        Message::EpochAck { epoch, granted, accepted_epoch, current_epoch, zxid } => format!(
            "epoch-ack {epoch} {} {accepted_epoch} {current_epoch} {}",
            if *granted { "yes" } else { "no" },
            show_zxid(*zxid)
        ),
        Message::Heartbeat { epoch, .. } => format!("heartbeat {epoch}"),
        Message::HeartbeatReply { epoch, accepted, own_epoch, .. } => {
            format!("heartbeat-reply {epoch} {} {own_epoch}", if *accepted { "yes" } else { "no" })
        }
        Message::SubjectiveDown { leader, epoch } => format!("sdown {leader} {epoch}"),
        Message::DownAnswer { leader, epoch, down, known } => {
            let known = known.map_or(String::new(), |(leader, epoch)| format!(" {leader} {epoch}"));
            format!("sdown-answer {leader} {epoch} {}{known}", if *down { "down" } else { "up" })
        }
        Message::ObjectiveDown { leader, epoch, reporters } => {
            let reporters: Vec<_> = reporters.iter().map(NodeId::to_string).collect();
            format!("odown {leader} {epoch} {}", reporters.join(","))
        }
    }
}

/// An event as a line; those that only repeat a message are left out.
fn describe(event: &Event) -> Option<String> {
    Some(match event {
        Event::RoleChange { to, phase, reason, .. } => {
            format!("{} in {} ({reason})", to.name(), phase.as_deref()?)
        }
        Event::TermChange { kind, from, to, .. } => format!("{kind} {from} -> {to}"),
        Event::Persist { what, value: Some(value), bound_to, .. } => {
            let leader = bound_to.map_or(String::new(), |leader| format!(" for {leader}"));
            format!("persist {what} {value}{leader}")
        }
        Event::Persist { what, zxid: Some(zxid), .. } => {
            format!("persist {what} {}", show_zxid(*zxid))
        }
        Event::VoteCast { candidate, in_term, .. } => format!("vote {candidate} in {in_term}"),
        Event::LeaderElected { in_term, established, votes, .. } => {
            let votes: Vec<_> = votes.iter().map(NodeId::to_string).collect();
            let what = if *established { "established" } else { "elected" };
            format!("{what} in {in_term} by {}", votes.join(","))
        }
        Event::LeaderKnown { leader: Some(leader), in_term } => {
            format!("knows {leader} in {in_term}")
        }
        Event::LeaderKnown { leader: None, .. } => "knows none".to_owned(),
        Event::Heartbeat { dir, peer: Some(peer), reason, .. } if dir == "rejected" => {
            format!("rejects the heartbeat of {peer} ({})", reason.as_deref()?)
        }
        Event::Heartbeat { dir, peer: Some(peer), .. } if dir == "accepted" => {
            format!("accepts the heartbeat of {peer}")
        }
        Event::DefectHit { name, place } => format!("defect {name} ({place})"),
        _ => return None,
    })
}

#[test]
fn electing() {
    check("election.txt");
}

#[test]
fn joining_a_leader_that_others_elected() {
    check("joining.txt");
}

#[test]
fn agreeing_on_an_epoch() {
    check("discovery.txt");
}

#[test]
fn heartbeats() {
    check("heartbeat.txt");
}

#[test]
fn a_silent_leader() {
    check("prevote.txt");
}

#[test]
fn defects() {
    check("defects.txt");
}
