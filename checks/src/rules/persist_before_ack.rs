//! `persist-before-ack` (S12): no promise leaves a node before it is on the node's disk.
//!
//! A promise is an `ack`, a granted reply of an election (`vote-msg` that is sent), the node's own
//! vote when it is established as leader, and its own part of a `commit.quorum`. Rule: before it, in
//! the same incarnation, a `persist` with `ok` covers it, or what `node-start` found does (a record
//! whose sync was cut off by a kill is legally found again):
//!
//! | promise | is covered by |
//! | --- | --- |
//! | `vote`, `vote-resp` | `hard-state` or `vote` of that term for that candidate, or of a higher term |
//! | `ackepoch`, `epoch-ack` | `accepted-epoch` of that epoch for that leader, or a higher one |
//! | `newleader` | `current-epoch`, and the log up to its id |
//! | `promise` | `promise` of that ballot or a higher one |
//! | `accepted` | `accept` of that ballot or a higher one, in that slot |
//! | `append`, own part of a quorum | the log up to that very entry (and `durable-up-to`), and the term |
//!
//! The log is that on the disk, replayed: a sync that finishes late covers the entry that it wrote,
//! not another that stands at its index by then. And an entry that was acknowledged, and not removed
//! since, is found at the next start, unless the directory is empty: then the disk was taken away.
//!
//! This needs no crash: a vote that leaves too early is wrong even when nothing happens.
//!
//! What it cannot see: replies of which no event tells, a sync that lies, and data damaged later. Of a
//! log whose positions are not indices without a gap only the highest synced id is compared.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{Body, EntryId, Event, Header, NodeId, NodeRecord, Persisted, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    log::Held,
    logs::Step,
    phrase::term_word,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "persist-before-ack",
    summary: "no vote, acknowledgement or promise leaves before it is on the disk",
    source: "S12; F-010, F-015, F-018, F-019",
    needs: &["node-start", "persist", "ack"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug)]
struct PersistBeforeAck {
    word: &'static str,
    findings: Findings,
    nodes: BTreeMap<NodeId, Node>,
    /// Promises that were already found wrong: one can be told by several events.
    told: BTreeSet<(NodeId, u32, Promise)>,
    judged: u64,
    open: Option<String>,
}

/// What a node's disk is known to hold.
#[derive(Debug, Default)]
struct Node {
    inc: u32,
    vote: Option<Number>,
    accepted: Option<Number>,
    current: Option<Number>,
    promised: Option<Number>,
    /// The ballot accepted in each slot.
    accepts: BTreeMap<u64, u64>,
    /// The highest synced id, where the log is not replayed.
    synced: Option<EntryId>,
    /// The highest acknowledged entry that was not removed since.
    acked: Option<(EntryId, Mark)>,
}

/// A number on the disk, and whom it is bound to.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    value: u64,
    bound_to: Option<NodeId>,
    /// Bound to nobody means that nobody was promised anything.
    strict: bool,
    mark: Mark,
}

/// Something that a node must have on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    Vote(u64, NodeId),
    Accepted(u64, NodeId),
    Led(u64, NodeId),
    Term(u64),
    Current(u64),
    Promised(u64),
    Accept(u64, EntryId),
    Log(EntryId),
}

enum Cover {
    Yes,
    /// What the disk had instead, and what shows so.
    No(String, Mark),
    Open(String),
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(PersistBeforeAck {
        word: term_word(&header.system),
        findings: Findings::default(),
        nodes: BTreeMap::new(),
        told: BTreeSet::new(),
        judged: 0,
        open: None,
    })
}

impl Check for PersistBeforeAck {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let (now, name) = (Mark { t: record.t, line }, event.node);
        let node = self.nodes.entry(name).or_default();
        if event.inc > node.inc {
            let acked = node.acked.take();
            *node = Node { inc: event.inc, acked, ..Node::default() };
        }
        if event.inc < node.inc {
            if let Event::Ack { .. } = event.event {
                self.open.get_or_insert_with(|| {
                    format!("{name} acknowledges something after its end (line {line})")
                });
            }
            return;
        }
        match &event.event {
            Event::NodeStart { persisted, fresh, .. } => {
                node.start(now, persisted, *fresh);
                self.found_less(now, event, timeline);
            }
            Event::Persist { ok: true, .. } => node.persist(now, &event.event),
            Event::Truncate { first, .. } => node.truncate(*first),
            Event::Ack { to, kind, in_term, id, durable_up_to } => {
                self.ack(now, event, (kind, *to, *in_term), (*id, *durable_up_to), timeline);
            }
            Event::VoteMsg { dir, peer, kind, msg_term, granted: Some(true), .. }
                if dir == "send" =>
            {
                let promise = match kind.as_str() {
                    "vote-resp" => Promise::Vote(*msg_term, *peer),
                    "epoch-ack" => Promise::Accepted(*msg_term, *peer),
                    "promise" => Promise::Promised(*msg_term),
                    _ => return,
                };
                self.judge(now, event, promise, timeline);
            }
            Event::LeaderElected { in_term, established: true, votes, .. }
                if votes.contains(&name) && node.tells_numbers() =>
            {
                self.judge(now, event, Promise::Led(*in_term, name), timeline);
            }
            Event::Commit { up_to, quorum: Some(quorum), .. } if quorum.contains(&name) => {
                self.judge(now, event, Promise::Log(*up_to), timeline);
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let replayed = timeline.logs.is_active().then(|| timeline.logs.open()).flatten();
        let unknown = self.open.or(replayed).or_else(|| {
            (self.judged == 0)
                .then(|| "nobody acknowledged anything, so nothing could be too early".to_owned())
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl PersistBeforeAck {
    fn ack(
        &mut self,
        now: Mark,
        event: &NodeRecord,
        (kind, to, in_term): (&str, NodeId, u64),
        (id, durable): (Option<EntryId>, Option<EntryId>),
        timeline: &Timeline,
    ) {
        let log = [id, durable].into_iter().flatten();
        let mut promises = Vec::new();
        match kind {
            "vote" => promises.push(Promise::Vote(in_term, to)),
            "ackepoch" => promises.push(Promise::Accepted(in_term, to)),
            "promise" => promises.push(Promise::Promised(in_term)),
            "accepted" => promises.extend(id.map(|id| Promise::Accept(in_term, id))),
            "newleader" => {
                promises.push(Promise::Current(in_term));
                promises.extend(log.map(Promise::Log));
            }
            "append" => {
                promises.extend(log.map(Promise::Log));
                let node = self.nodes.get(&event.node);
                let tells = node.is_some_and(|node| node.vote.is_some());
                promises.extend((!promises.is_empty() && tells).then_some(Promise::Term(in_term)));
            }
            _ => {}
        }
        if promises.is_empty() {
            let (node, line) = (event.node, now.line);
            self.open.get_or_insert_with(|| {
                format!("{node} does not say what its ack of kind `{kind}` promises (line {line})")
            });
        }
        for promise in promises {
            self.judge(now, event, promise, timeline);
        }
    }

    fn judge(&mut self, now: Mark, event: &NodeRecord, promise: Promise, timeline: &Timeline) {
        self.judged += 1;
        let name = event.node;
        let Some(node) = self.nodes.get_mut(&name) else { return };
        let cover = match promise {
            Promise::Log(id) => {
                if node.acked.is_none_or(|(acked, _)| id.index >= acked.index) {
                    node.acked = Some((id, now));
                }
                node.log(name, id, timeline)
            }
            _ => node.covers(promise, self.word),
        };
        match cover {
            Cover::Yes => {}
            Cover::Open(why) => {
                self.open.get_or_insert_with(|| format!("{why} (line {})", now.line));
            }
            Cover::No(why, since) => {
                if self.told.insert((name, event.inc, promise)) {
                    let since = if since == Mark::default() { now } else { since };
                    let what = promise.describe(self.word);
                    self.findings.push(Finding {
                        sentence: format!("{name} {what} before that was on its disk: {why}"),
                        nodes: nodes([name]),
                        from_ns: since.t,
                        to_ns: now.t,
                        lines: lines([since.line, now.line]),
                    });
                }
            }
        }
    }

    /// A start that found less than was acknowledged.
    fn found_less(&mut self, now: Mark, event: &NodeRecord, timeline: &Timeline) {
        let name = event.node;
        let Step::Shrunk { last } = timeline.logs.step() else { return };
        let Some(node) = self.nodes.get_mut(&name) else { return };
        let Some((acked, since)) = node.acked.filter(|(acked, _)| acked.index > last.index) else {
            return;
        };
        node.acked = None;
        self.findings.push(Finding {
            sentence: format!(
                "{name} acknowledged {acked}, and found its log to end at {last} when it started \
                 again"
            ),
            nodes: nodes([name]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}

impl Node {
    fn start(&mut self, mark: Mark, found: &Persisted, fresh: bool) {
        let number = |value: Option<u64>, bound_to, strict| {
            let value = value.or(fresh.then_some(0))?;
            Some(Number { value, bound_to, strict, mark })
        };
        self.vote = number(found.term, found.vote, true);
        self.accepted = number(found.accepted_epoch, found.accepted_leader, false);
        self.current = number(found.current_epoch, None, false);
        self.promised = number(found.promised, None, false);
        let zxid = found.zxid.map(|zxid| EntryId { term: zxid.epoch, index: zxid.counter });
        self.synced = found.last.max(zxid).or(fresh.then(EntryId::default));
        // Somebody took the disk away: what was on it binds nobody.
        self.acked = self.acked.filter(|_| !fresh);
    }

    fn persist(&mut self, mark: Mark, event: &Event) {
        let Event::Persist { what, value, bound_to, up_to, zxid, .. } = event else { return };
        let strict = what == "hard-state";
        let number = value.map(|value| Number { value, bound_to: *bound_to, strict, mark });
        match what.as_str() {
            "hard-state" | "vote" => self.vote = number.or(self.vote),
            "accepted-epoch" => self.accepted = number.or(self.accepted),
            "current-epoch" => self.current = number.or(self.current),
            "promise" => self.promised = number.or(self.promised),
            "accept" => {
                let ballot = value.or(up_to.map(|id| id.term));
                if let Some((id, ballot)) = up_to.zip(ballot) {
                    self.accepts.insert(id.index, ballot);
                }
            }
            "log" | "snapshot" | "zxid" => {
                let zxid = zxid.map(|zxid| EntryId { term: zxid.epoch, index: zxid.counter });
                self.synced = self.synced.max(*up_to).max(zxid);
            }
            _ => {}
        }
    }

    fn truncate(&mut self, first: EntryId) {
        self.acked = self.acked.filter(|(acked, _)| acked.index < first.index);
        let below = EntryId { term: first.term, index: first.index.saturating_sub(1) };
        self.synced = self.synced.map(|synced| synced.min(below));
    }

    /// Whether the node tells what it promises anyone.
    fn tells_numbers(&self) -> bool {
        self.vote.is_some() || self.accepted.is_some() || self.promised.is_some()
    }

    fn covers(&self, promise: Promise, word: &str) -> Cover {
        match promise {
            Promise::Vote(term, to) => of(self.vote, term, Some(to), word),
            Promise::Accepted(epoch, to) => of(self.accepted, epoch, Some(to), word),
            Promise::Term(term) => of(self.vote, term, None, word),
            Promise::Current(epoch) => of(self.current, epoch, None, word),
            Promise::Promised(ballot) => of(self.promised, ballot, None, word),
            Promise::Led(term, node) => {
                // A protocol has one of these; the others stay at what an empty disk has.
                let told = [self.vote, self.accepted, self.promised].into_iter().flatten();
                let highest = told.max_by_key(|number| number.value);
                of(highest, term, Some(node), word)
            }
            Promise::Accept(ballot, id) => match self.accepts.get(&id.index) {
                Some(accepted) if *accepted >= ballot => Cover::Yes,
                Some(accepted) => {
                    Cover::No(format!("it had ballot {accepted} in that slot"), Mark::default())
                }
                None => Cover::No("it had nothing in that slot".to_owned(), Mark::default()),
            },
            Promise::Log(_) => unreachable!("the log is asked elsewhere"),
        }
    }

    fn log(&self, name: NodeId, id: EntryId, timeline: &Timeline) -> Cover {
        if id.index == 0 {
            return Cover::Yes;
        }
        if let Some(log) = timeline.logs.node(name).filter(|_| timeline.logs.is_active()) {
            return match log.disk.held(id, None) {
                Held::Yes => Cover::Yes,
                Held::Unknown => Cover::Open(format!("what {name} had on its disk was not told")),
                Held::No => Cover::No(
                    match log.disk.id_at(id.index) {
                        Some(there) => format!("it had {there} there"),
                        None => format!("its log ended at {} there", log.disk.last()),
                    },
                    Mark::default(),
                ),
            };
        }
        match self.synced {
            Some(synced) if id <= synced => Cover::Yes,
            Some(synced) => Cover::No(format!("its log ended at {synced} there"), Mark::default()),
            None => Cover::Open(format!("{name} never told what part of its log was synced")),
        }
    }
}

/// Whether a number on the disk covers a promise of `value` to `to`.
fn of(number: Option<Number>, value: u64, to: Option<NodeId>, word: &str) -> Cover {
    let Some(found) = number else {
        return Cover::Open("a promise is told, and never what is on the disk".to_owned());
    };
    if found.value > value {
        return Cover::Yes;
    }
    if found.value < value {
        return Cover::No(format!("it had {word} {} there", found.value), found.mark);
    }
    match (to, found.bound_to) {
        (Some(to), Some(bound)) if to != bound => {
            Cover::No(format!("it had {word} {value} of {bound} there"), found.mark)
        }
        (Some(_), None) if found.strict => {
            Cover::No(format!("it had {word} {value} there, and no vote"), found.mark)
        }
        _ => Cover::Yes,
    }
}

impl Promise {
    fn describe(self, word: &str) -> String {
        match self {
            Self::Vote(term, to) => format!("voted for {to} in {word} {term}"),
            Self::Accepted(epoch, to) => format!("acknowledged {word} {epoch} of {to}"),
            Self::Led(term, _) => format!("counted its own vote for {word} {term}"),
            Self::Term(term) => format!("answered in {word} {term}"),
            Self::Current(epoch) => format!("acknowledged the leader of {word} {epoch}"),
            Self::Promised(ballot) => format!("promised ballot {ballot}"),
            Self::Accept(ballot, id) => format!("accepted {id} for ballot {ballot}"),
            Self::Log(id) => format!("acknowledged {id}"),
        }
    }
}
