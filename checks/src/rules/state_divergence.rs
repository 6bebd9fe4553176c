//! `state-divergence` (S8): every node applies the same entries in the same order, to the same state.
//!
//! Rule:
//!
//! 1. an index that is applied has the id and the digest that it had wherever it was applied first;
//! 2. within an incarnation indices rise, and none is left out that another node applied, before or
//!    afterwards, unless a snapshot that was installed covers it. A restart may apply again from
//!    where the node found its state (`persisted.applied`, `persisted.snapshot`), or from the begin;
//! 3. `state-digest` is the same wherever it is told for the same index, by `apply` and by a
//!    `snapshot` that was taken or installed.
//!
//! Nodes may stand at different indices, and entries that change nothing need not be told, as long as
//! no node tells them.
//!
//! What it cannot see: a state that differs where no digest of it is told, and, after a start that does
//! not say from where it goes on, what was left out before the first entry it applies.
//!
//! Memory: one entry per applied index, because a node may apply from the begin again.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use usurper_history::{Body, EntryId, Event, Header, NodeId, NodeRecord, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::term_word,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "state-divergence",
    summary: "all nodes apply the same entries in the same order, to the same state",
    source: "S8; F-013, F-017, F-091",
    needs: &["node-start", "apply"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct StateDivergence {
    findings: Findings,
    /// Why the order of entries is not that of their indices.
    unfit: Option<String>,
    applied: BTreeMap<u64, Applied>,
    states: BTreeMap<u64, State>,
    nodes: BTreeMap<NodeId, Node>,
}

#[derive(Debug)]
struct Applied {
    by: NodeId,
    mark: Mark,
    term: u64,
    digest: Rc<str>,
}

#[derive(Debug)]
struct State {
    by: NodeId,
    mark: Mark,
    digest: Rc<str>,
}

#[derive(Debug, Default)]
struct Node {
    inc: u32,
    /// The last index of the state, if it is known where it stands.
    last: Option<u64>,
    since: Mark,
    /// Indices that this incarnation left out, first and last.
    skipped: BTreeSet<(u64, u64)>,
}

fn make(header: &Header, _options: &Options) -> Box<dyn Check> {
    let unfit = (term_word(&header.system) != "term").then(|| {
        format!("the positions of `{}` in its log are not indices without a gap", header.system)
    });
    Box::new(StateDivergence { unfit, ..StateDivergence::default() })
}

impl Check for StateDivergence {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        if self.unfit.is_some() {
            return;
        }
        let now = Mark { t: record.t, line };
        let node = self.nodes.entry(event.node).or_default();
        if event.inc > node.inc {
            *node = Node { inc: event.inc, ..Node::default() };
        }
        match &event.event {
            Event::NodeStart { persisted, fresh, .. } => {
                let snapshot = persisted.snapshot.map(|it| it.index);
                node.last = persisted.applied.max(snapshot).or(fresh.then_some(0));
            }
            Event::Snapshot { op, last, state_digest, .. } => {
                if op == "install" {
                    node.last = node.last.max(Some(last.index));
                }
                if matches!(op.as_str(), "take" | "install") {
                    self.state(now, event.node, last.index, state_digest.as_deref());
                }
            }
            Event::Apply { id, digest, state_digest, .. } => {
                self.order(now, event, *id);
                self.entry(now, event.node, *id, digest);
                self.state(now, event.node, id.index, state_digest.as_deref());
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        let unknown = self.unfit.or_else(|| {
            self.applied
                .is_empty()
                .then(|| "nothing was applied, so no states could differ".to_owned())
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl StateDivergence {
    /// Whether the entry follows what this incarnation applied.
    fn order(&mut self, now: Mark, event: &NodeRecord, id: EntryId) {
        let name = event.node;
        let node = self.nodes.entry(name).or_default();
        let last = node.last;
        let since = std::mem::replace(&mut node.since, now);
        let Some(last) = last else {
            node.last = Some(id.index);
            return;
        };
        if id.index <= last {
            let sentence = if since == Mark::default() {
                // A state that was found at the start may be behind what the log holds, not ahead.
                format!("{name} started with a state up to index {last} and applied {id} again")
            } else {
                format!("{name} applied {id} after it had applied up to index {last}")
            };
            self.found(sentence, (name, since), (name, now));
            return;
        }
        node.last = Some(id.index);
        if id.index == last + 1 {
            return;
        }
        let (from, to) = (last + 1, id.index - 1);
        node.skipped.insert((from, to));
        if let Some((index, other)) = self.applied.range(from..=to).next() {
            let missed = EntryId { term: other.term, index: *index };
            let sentence =
                format!("{name} applied {id} without {missed}, which {} had applied", other.by);
            self.found(sentence, (other.by, other.mark), (name, now));
        }
    }

    /// Whether the entry is what others applied there.
    fn entry(&mut self, now: Mark, name: NodeId, id: EntryId, digest: &str) {
        if let Some(first) = self.applied.get(&id.index) {
            let was = EntryId { term: first.term, index: id.index };
            let (by, mark) = (first.by, first.mark);
            if was.term != id.term {
                let sentence = format!("{name} applied {id} where {by} had applied {was}");
                self.found(sentence, (by, mark), (name, now));
            } else if &*first.digest != digest {
                let before = first.digest.clone();
                let sentence = format!("{name} applied {id} as `{digest}`, and {by} as `{before}`");
                self.found(sentence, (by, mark), (name, now));
            }
            return;
        }
        let skips = |(from, to): &(u64, u64)| (*from..=*to).contains(&id.index);
        let skipper = self.nodes.iter().find(|it| *it.0 != name && it.1.skipped.iter().any(skips));
        if let Some((other, state)) = skipper.map(|(other, node)| (*other, node.since)) {
            let sentence = format!("{name} applied {id}, which {other} had left out");
            self.found(sentence, (other, state), (name, now));
        }
        let applied = Applied { by: name, mark: now, term: id.term, digest: Rc::from(digest) };
        self.applied.insert(id.index, applied);
    }

    fn state(&mut self, now: Mark, name: NodeId, index: u64, digest: Option<&str>) {
        let Some(digest) = digest else { return };
        let first = self.states.entry(index).or_insert_with(|| State {
            by: name,
            mark: now,
            digest: Rc::from(digest),
        });
        if &*first.digest != digest {
            let (by, mark, before) = (first.by, first.mark, first.digest.clone());
            let sentence = format!(
                "the state of {name} at index {index} is `{digest}`, that of {by} `{before}`"
            );
            self.found(sentence, (by, mark), (name, now));
        }
    }

    fn found(
        &mut self,
        sentence: String,
        (one, since): (NodeId, Mark),
        (other, now): (NodeId, Mark),
    ) {
        self.findings.push(Finding {
            sentence,
            nodes: nodes([one, other]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
