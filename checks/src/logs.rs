//! What each node's log held when, replayed from its events.
//!
//! Two logs per node: the one in memory (`append`, `truncate` and an installed `snapshot`), and the
//! one on its disk, which follows a sync later. What was written and not yet synced waits in order;
//! `persist` of `log` or `snapshot` moves the writes up to its `up-to` to the disk. When a node
//! starts again, a kill may have kept any number of the waiting writes and a power failure none, so
//! `node-start.persisted.last` says how many there were; both logs then go on from there.
//!
//! Beside them stands what is known over all nodes and all time: the entry of each id, and the entry
//! first committed at each index, which are write-once.
//!
//! What the events leave open stays open: the part of a log that was found at a start and never seen
//! appended is unknown, not empty and not right.
//!
//! Memory: a node's log is forgotten up to where every member has committed it and has it on its
//! disk. The entry of each id and the committed entry of each index cannot be forgotten, because a
//! node may come back with any of them: some hundred bytes per entry.
//!
//! Positions are indices without a gap, as in Raft. Logs whose counter starts again with each epoch
//! (Zab) or that may have holes (Multi-Paxos) are not replayed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use usurper_history::{Body, EntryId, Event, Header, NodeId, NodeRecord, Persisted, Record};

use crate::{
    log::{Entry, Held, Log},
    phrase::term_word,
    timeline::Mark,
};

/// How many entries are forgotten at once.
const FORGET_MIN: u64 = 256;

#[derive(Debug)]
pub(crate) struct Logs {
    active: bool,
    /// Why this system's logs cannot be replayed.
    unfit: Option<String>,
    tells_persist: bool,
    members: BTreeSet<NodeId>,
    nodes: BTreeMap<NodeId, NodeLog>,
    ids: BTreeMap<(u64, u64), Known>,
    committed: BTreeMap<u64, Committed>,
    step: Step,
    /// The first thing that the events leave open.
    open: Option<String>,
}

/// The logs of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeLog {
    inc: u32,
    pub(crate) memory: Log,
    pub(crate) disk: Log,
    waiting: VecDeque<Waiting>,
    /// The index up to which this incarnation knows its log to be committed.
    pub(crate) commit: u64,
}

/// A write that is not known to be synced, and where the log ends after it.
#[derive(Clone, Debug)]
struct Waiting {
    write: Write,
    last: EntryId,
}

#[derive(Clone, Debug)]
enum Write {
    Append(EntryId, Entry),
    Truncate(u64),
    Install(EntryId),
}

/// The entry of an id, as its first `append` tells it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) node: NodeId,
    pub(crate) mark: Mark,
    pub(crate) digest: Rc<str>,
    pub(crate) prev: Option<EntryId>,
}

/// The entry that was committed at an index first.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) node: NodeId,
    pub(crate) mark: Mark,
    pub(crate) term: u64,
    /// Absent when the node that committed it did not have it.
    pub(crate) digest: Option<Rc<str>>,
    /// The lowest term in which a node knew it to be committed.
    pub(crate) in_term: u64,
}

/// What the last record did to a log.
#[derive(Debug, Default)]
pub(crate) enum Step {
    #[default]
    Nothing,
    Appended(Vec<Appended>),
    Truncated {
        removed: Vec<(EntryId, Rc<str>)>,
        /// Up to here the node knew its log to be committed.
        commit: u64,
        /// It removed what a snapshot covers or what every member had committed.
        settled: bool,
    },
    Committed {
        before: u64,
        changed: Vec<Changed>,
    },
    /// A start found less on the disk than had been synced.
    Shrunk {
        last: EntryId,
    },
}

/// One entry of an `append`.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) id: EntryId,
    pub(crate) digest: Rc<str>,
    /// What its predecessor is by the node's own log.
    pub(crate) prev: Option<EntryId>,
    /// What the event says its predecessor is.
    pub(crate) said: Option<EntryId>,
    /// What stood in its place.
    pub(crate) over: Option<EntryId>,
    /// Where the log ended, when the entry does not follow it.
    pub(crate) gap: Option<EntryId>,
    /// What the id was first seen to be.
    pub(crate) known: Option<Known>,
}

/// A committed index with another entry than before.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) id: EntryId,
    pub(crate) was: Committed,
}

impl Logs {
    pub(crate) fn new(header: &Header) -> Self {
        let tells = |name: &str| header.events.iter().any(|event| event == name);
        let unfit = (term_word(&header.system) != "term").then(|| {
            format!("the positions of `{}` in its log are not indices without a gap", header.system)
        });
        Self {
            active: tells("append") && unfit.is_none(),
            unfit,
            tells_persist: tells("persist"),
            members: header.nodes.iter().copied().collect(),
            nodes: BTreeMap::new(),
            ids: BTreeMap::new(),
            committed: BTreeMap::new(),
            step: Step::Nothing,
            open: None,
        }
    }

    /// What the last record did.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<&NodeLog> {
        self.nodes.get(&node)
    }

    /// The committed entries by index.
    pub(crate) fn committed(&self) -> &BTreeMap<u64, Committed> {
        &self.committed
    }

    /// Why what the logs show proves nothing.
    pub(crate) fn open(&self) -> Option<String> {
        self.unfit.clone().or_else(|| self.open.clone())
    }

    /// Whether logs are replayed at all.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    pub(crate) fn apply(&mut self, mark: Mark, record: &Record) {
        if !matches!(self.step, Step::Nothing) {
            self.step = Step::Nothing;
        }
        let Body::Node(event) = &record.body else { return };
        if !self.active {
            return;
        }
        let state = self.nodes.entry(event.node).or_default();
        if event.inc < state.inc {
            self.leave_open(|| format!("{} speaks after its end (line {})", event.node, mark.line));
            return;
        }
        if event.inc > state.inc {
            state.inc = event.inc;
            if !matches!(event.event, Event::NodeStart { .. }) {
                state.begin_unknown();
                self.leave_open(|| format!("{} never told what it found at its start", event.node));
            }
        }
        self.event(mark, event);
    }

    fn event(&mut self, mark: Mark, record: &NodeRecord) {
        match &record.event {
            Event::NodeStart { persisted, fresh, .. } => {
                self.start(mark, record.node, persisted, *fresh);
            }
            Event::Append { first, last, digests, prev, .. } => {
                self.append(mark, record.node, (*first, *last), digests, *prev);
            }
            Event::Truncate { first, commit, .. } => {
                let state = self.nodes.entry(record.node).or_default();
                let lacks = state.memory.held(*first, None) == Held::No;
                let settled = state.memory.is_settled(first.index);
                let removed = state.memory.truncate(first.index);
                state.wait(Write::Truncate(first.index), self.tells_persist);
                let commit = state.commit.max(*commit);
                self.step = Step::Truncated { removed, commit, settled };
                if lacks {
                    let (node, line) = (record.node, mark.line);
                    self.leave_open(|| {
                        format!("{node} removed {first}, which its log did not show (line {line})")
                    });
                }
            }
            Event::Snapshot { op, last, .. } if op == "install" => {
                let state = self.nodes.entry(record.node).or_default();
                state.memory.install(*last);
                state.wait(Write::Install(*last), self.tells_persist);
                // Only what is committed goes into a snapshot.
                self.commit(mark, record, *last);
            }
            Event::Persist { what, up_to, ok: true, .. }
                if matches!(what.as_str(), "log" | "snapshot") =>
            {
                let state = self.nodes.entry(record.node).or_default();
                let wrong = match up_to {
                    Some(last) => !state.sync(*last),
                    None => true,
                };
                if wrong {
                    let (node, line) = (record.node, mark.line);
                    self.leave_open(|| {
                        format!("{node} does not say what part of its log was synced (line {line})")
                    });
                }
            }
            Event::Commit { up_to, .. } => self.commit(mark, record, *up_to),
            _ => {}
        }
    }

    fn start(&mut self, mark: Mark, node: NodeId, persisted: &Persisted, fresh: bool) {
        let state = self.nodes.entry(node).or_default();
        state.commit = persisted.commit.unwrap_or(0);
        let found = match persisted.last {
            Some(last) => last,
            None if fresh || !state.has_written() => EntryId::default(),
            None => {
                state.begin_unknown();
                self.leave_open(|| {
                    format!(
                        "{node} does not say where its log ended at its start (line {})",
                        mark.line
                    )
                });
                return;
            }
        };
        let seen = state.restore(found);
        if let Some(snapshot) = persisted.snapshot {
            state.disk.install(snapshot);
        }
        if let Some(first) = persisted.first {
            state.disk.forget(first.index.saturating_sub(1));
        }
        state.memory = state.disk.clone();
        match seen {
            Restored::Whole => {}
            Restored::Shrunk => self.step = Step::Shrunk { last: found },
            Restored::Unseen => self.leave_open(|| {
                format!(
                    "{node} started with a log that it was not seen to write (line {})",
                    mark.line
                )
            }),
        }
    }

    fn append(
        &mut self,
        mark: Mark,
        node: NodeId,
        (first, last): (EntryId, EntryId),
        digests: &[String],
        prev: Option<EntryId>,
    ) {
        let count = last.index.checked_sub(first.index).and_then(|it| it.checked_add(1));
        if first.index == 0 || count != Some(digests.len() as u64) {
            self.leave_open(|| {
                format!("{node} appends entries without one digest for each (line {})", mark.line)
            });
            if first.index > 0 {
                let state = self.nodes.entry(node).or_default();
                state.begin_unknown();
            }
            return;
        }
        let mut said = prev;
        let mut appended = Vec::with_capacity(digests.len());
        for (offset, digest) in (0..).zip(digests) {
            let index = first.index + offset;
            let term = if index == last.index {
                Some(last.term)
            } else if index == first.index || first.term == last.term {
                Some(first.term)
            } else {
                self.term_of(index, (first.term, last.term), digest)
            };
            let Some(term) = term else {
                self.leave_open(|| {
                    format!("{node} appends entries of several terms at once (line {})", mark.line)
                });
                self.nodes.entry(node).or_default().begin_unknown();
                said = None;
                continue;
            };
            let id = EntryId { term, index };
            appended.push(self.append_one(mark, node, id, Rc::from(digest.as_str()), said));
            said = Some(id);
        }
        self.step = Step::Appended(appended);
    }

    fn append_one(
        &mut self,
        mark: Mark,
        node: NodeId,
        id: EntryId,
        digest: Rc<str>,
        said: Option<EntryId>,
    ) -> Appended {
        let state = self.nodes.entry(node).or_default();
        let (mut over, gap) = state.memory.place_for(id, &digest);
        if state.memory.is_settled(id.index)
            && let Some(settled) = self.committed.get(&id.index)
            && !settled.is(id.term, Some(&digest))
        {
            // The entry itself is forgotten, and it was what is committed there.
            over = Some(EntryId { term: settled.term, index: id.index });
        }
        let same = matches!(state.memory.held(id, Some(&digest)), Held::Yes);
        if over.is_some() {
            state.memory.truncate(id.index);
        }
        if !same {
            let entry = Entry { term: id.term, digest: digest.clone() };
            state.memory.push(id, entry.clone());
            state.wait(Write::Append(id, entry), self.tells_persist);
        }
        let prev = state.memory.id_at(id.index - 1);
        let known = self.ids.get(&(id.index, id.term)).cloned();
        match &known {
            None => {
                let prev = prev.or(said);
                let digest = digest.clone();
                self.ids.insert((id.index, id.term), Known { node, mark, digest, prev });
            }
            Some(Known { prev: None, .. }) => {
                if let Some(known) = self.ids.get_mut(&(id.index, id.term)) {
                    known.prev = prev.or(said);
                }
            }
            Some(_) => {}
        }
        Appended { id, digest, prev, said, over, gap, known }
    }

    /// The only term in which an entry of this digest is known at this index.
    fn term_of(&self, index: u64, (low, high): (u64, u64), digest: &str) -> Option<u64> {
        if self.open.is_some() {
            // Then the right one may be missing among those that are known.
            return None;
        }
        let mut alike = self
            .ids
            .range((index, low)..=(index, high.max(low)))
            .filter(|(_, known)| &*known.digest == digest)
            .map(|((_, term), _)| *term);
        alike.next().filter(|_| alike.next().is_none())
    }

    fn commit(&mut self, mark: Mark, record: &NodeRecord, up_to: EntryId) {
        let node = record.node;
        let state = self.nodes.entry(node).or_default();
        let before = state.commit;
        state.commit = before.max(up_to.index);
        let mut changed = Vec::new();
        // What was committed before is compared again when it is what the event names.
        let from = before.max(state.memory.base()).saturating_add(1).min(up_to.index);
        let mut entries: Vec<_> = (from..=up_to.index.min(state.memory.last().index))
            .filter_map(|index| {
                let entry = state.memory.get(index)?;
                let other = index == up_to.index && entry.term != up_to.term;
                (!other).then(|| (index, entry.term, Some(entry.digest.clone())))
            })
            .collect();
        if entries.last().is_none_or(|last| last.0 != up_to.index) && up_to.index > 0 {
            // Of an entry that the node does not show to have, the id is committed all the same.
            entries.push((up_to.index, up_to.term, None));
        }
        for (index, term, digest) in entries {
            let now = Committed { node, mark, term, digest, in_term: record.term };
            let Some(was) = self.committed.get_mut(&index) else {
                self.committed.insert(index, now);
                continue;
            };
            was.in_term = was.in_term.min(record.term);
            if was.is(term, now.digest.as_ref()) {
                was.digest = was.digest.take().or(now.digest);
            } else {
                changed.push(Changed { id: EntryId { term, index }, was: was.clone() });
            }
        }
        self.step = Step::Committed { before, changed };
        self.forget();
    }

    /// Forgets what every member has committed and has on its disk.
    fn forget(&mut self) {
        let settled = |node: &NodeId| {
            let state = self.nodes.get(node)?;
            Some(state.commit.min(state.disk.last().index))
        };
        let all: Option<Vec<u64>> = self.members.iter().map(settled).collect();
        let Some(up_to) = all.and_then(|all| all.into_iter().min()) else { return };
        for state in self.nodes.values_mut() {
            if up_to >= state.memory.base().saturating_add(FORGET_MIN) {
                state.memory.forget(up_to);
                state.disk.forget(up_to);
            }
        }
    }

    fn leave_open(&mut self, why: impl FnOnce() -> String) {
        if self.open.is_none() {
            self.open = Some(why());
        }
    }
}

impl Committed {
    /// Whether it may be this entry.
    pub(crate) fn is(&self, term: u64, digest: Option<&Rc<str>>) -> bool {
        let alike = self.digest.as_ref().zip(digest).is_none_or(|(one, other)| one == other);
        self.term == term && alike
    }
}

/// How much of what a start found had been seen written.
enum Restored {
    Whole,
    Shrunk,
    Unseen,
}

impl NodeLog {
    fn has_written(&self) -> bool {
        self.disk.last() != EntryId::default() || !self.waiting.is_empty()
    }

    fn begin_unknown(&mut self) {
        self.waiting.clear();
        self.memory = Log::unknown();
        self.disk = Log::unknown();
    }

    fn wait(&mut self, write: Write, tells_persist: bool) {
        if tells_persist {
            self.waiting.push_back(Waiting { write, last: self.memory.last() });
        } else {
            self.disk.write(write);
        }
    }

    /// The first writes, until the log ends at `last`, are synced. Says whether it ever ends there.
    fn sync(&mut self, last: EntryId) -> bool {
        let held = matches!(self.disk.held(last, None), Held::Yes | Held::Unknown);
        if self.disk.last() == last {
            return true;
        }
        let place = self.waiting.iter().position(|waiting| waiting.last == last);
        if let Some(place) = place {
            self.write(place + 1);
        }
        place.is_some() || held
    }

    fn write(&mut self, count: usize) {
        for waiting in self.waiting.drain(..count) {
            self.disk.write(waiting.write);
        }
    }

    /// The log on the disk ends at `last`, and nothing waits any more.
    fn restore(&mut self, last: EntryId) -> Restored {
        if let Some(place) = self.waiting.iter().rposition(|waiting| waiting.last == last) {
            self.write(place + 1);
            self.waiting.clear();
            return Restored::Whole;
        }
        if self.disk.last() == last {
            self.waiting.clear();
            return Restored::Whole;
        }
        self.waiting.clear();
        if last.index == 0 {
            self.disk = Log::default();
            return Restored::Shrunk;
        }
        if matches!(self.disk.held(last, None), Held::Yes) {
            self.disk.truncate(last.index.saturating_add(1));
            return Restored::Shrunk;
        }
        self.disk = Log::unknown_until(last);
        Restored::Unseen
    }
}

impl Log {
    fn write(&mut self, write: Write) {
        match write {
            Write::Append(id, entry) => {
                if id.index <= self.last().index {
                    self.truncate(id.index);
                }
                self.push(id, entry);
            }
            Write::Truncate(index) => drop(self.truncate(index)),
            Write::Install(last) => self.install(last),
        }
    }
}
