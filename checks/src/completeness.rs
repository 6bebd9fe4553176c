//! Whether the history holds every event that the nodes emitted.
//!
//! Each incarnation numbers its events from 1 without a gap. A gap, a repetition, or a line that was
//! no event means that something may have happened of which the history does not tell, and then the
//! absence of findings proves nothing. An incarnation that was killed simply stops; that is no gap,
//! because an event is written before what it describes can be seen from outside.
//!
//! The same holds for a step of the schedule that never ran, and where every step that was to break
//! something was skipped: what was to be provoked was not put to the test.

use std::collections::{BTreeMap, BTreeSet};

use usurper_history::{
    Body, FaultRecord, HarnessEvent, NodeId, OPERATIONS, Outcome, Phase, Record,
};

use crate::phrase::counted;

/// How many places of loss are named.
const LOST_MAX: usize = 20;
/// What may well never happen in a history that puts a check to the test; whatever asks for what is done
/// with entries says itself when there were none.
const RARE: &[&str] = &["ack", "append", "commit", "config", "snapshot", "truncate", OPERATIONS];

#[derive(Debug, Default)]
pub(crate) struct Completeness {
    next: BTreeMap<(NodeId, u32), u64>,
    lost: Vec<String>,
    events: u64,
    /// The kinds of events so far.
    kinds: BTreeSet<&'static str>,
    ended: bool,
    missed: Option<String>,
    /// How many steps were to break something and were skipped, the first one's reason, and whether any was
    /// not.
    skipped: u64,
    skipped_first: Option<String>,
    broken: bool,
}

impl Completeness {
    pub(crate) fn observe(&mut self, line: u64, record: &Record) {
        match &record.body {
            Body::Node(event) => {
                self.events += 1;
                self.kinds.insert(event.event.name());
                let next = self.next.entry((event.node, event.inc)).or_insert(1);
                let (expected, found) = (*next, event.seq);
                *next = found.saturating_add(1).max(expected);
                if found == expected {
                    return;
                }
                let of = format!("{} incarnation {}", event.node, event.inc);
                if found > expected {
                    let last = found - 1;
                    let lost = if last == expected {
                        format!("{of} lacks event {expected} (line {line})")
                    } else {
                        format!("{of} lacks events {expected} to {last} (line {line})")
                    };
                    self.add(lost);
                } else {
                    self.add(format!("{of} repeats event {found} (line {line})"));
                }
            }
            Body::Harness(HarnessEvent::BadLine { node, inc, error, .. }) => self.add(format!(
                "{node} incarnation {inc} wrote a line that is no event: {error} (line {line})"
            )),
            Body::Harness(HarnessEvent::StepMissed { step, .. }) => {
                self.missed.get_or_insert_with(|| format!("{step} never ran (line {line})"));
            }
            Body::Harness(HarnessEvent::Phase { phase }) if phase == "end" => self.ended = true,
            Body::Fault(fault) if fault.phase == Phase::End && breaks(fault) => {
                if fault.outcome == Some(Outcome::Skipped) {
                    self.skipped += 1;
                    let reason = fault.reason.clone().unwrap_or_default();
                    self.skipped_first.get_or_insert(format!("`{}`: {reason}", fault.fault));
                } else {
                    self.broken = true;
                }
            }
            _ => {}
        }
    }

    /// Where something is missing: the first places.
    pub(crate) fn lost(&self) -> &[String] {
        &self.lost
    }

    /// The first step of the schedule that never ran although the scenario depends on it, or that all
    /// were skipped.
    pub(crate) fn missed(&self) -> Option<String> {
        self.missed.clone().or_else(|| {
            let first = self.skipped_first.as_ref().filter(|_| !self.broken)?;
            let steps = counted(self.skipped, "step");
            Some(format!("nothing was broken: {steps} skipped, the first one was {first}"))
        })
    }

    /// Events of nodes so far.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Who of these told of nothing, or a node that is none of these and told of something.
    pub(crate) fn strange(&self, nodes: &[NodeId]) -> Option<String> {
        let told: BTreeSet<NodeId> = self.next.keys().map(|(node, _)| *node).collect();
        let silent = nodes.iter().find(|node| !told.contains(node));
        let silent = silent.map(|node| format!("{node} recorded no event"));
        let stranger = told.iter().find(|node| !nodes.contains(node));
        silent.or_else(|| stranger.map(|node| format!("{node} is none of the header's nodes")))
    }

    /// The first of these kinds of events that nobody told of, although nothing works without any.
    pub(crate) fn unseen(&self, needs: &[&'static str]) -> Option<&'static str> {
        let common = needs.iter().filter(|kind| !RARE.contains(kind));
        common.copied().find(|kind| !self.kinds.contains(kind))
    }

    /// Whether the run came to its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    fn add(&mut self, lost: String) {
        if self.lost.len() < LOST_MAX {
            self.lost.push(lost);
        }
    }
}

/// Whether a step is there to break something, rather than to wait or to undo what was broken.
fn breaks(fault: &FaultRecord) -> bool {
    !fault.effect.undoes() && fault.fault != "wait"
}
