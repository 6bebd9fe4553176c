//! `duplicate-apply` (S11): a client's command takes effect once.
//!
//! Rule: an `apply` that names a `session` and a `serial` tells that this command took effect at this
//! index. On all nodes and in all incarnations that is one index; and within an incarnation it is
//! applied there once. A retry that stands in the log again and is answered from the session without
//! any effect is to be told without `session` and `serial`.
//!
//! A node that starts again may apply its log from the begin: the same index is the same effect.
//!
//! What it cannot see: commands without a session, and an effect that is told without one.
//!
//! Memory: one index per command, because a retry may come at any time.

use std::collections::BTreeMap;

use usurper_history::{Body, EntryId, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    phrase::has_ballots,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "duplicate-apply",
    summary: "a client's command takes effect at one place of the log, once",
    source: "S11",
    needs: &["node-start", "apply"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct DuplicateApply {
    findings: Findings,
    commands: BTreeMap<(u64, u64), Place>,
    /// The highest place that each running incarnation has applied.
    nodes: BTreeMap<NodeId, (u32, Option<(EntryId, Mark)>)>,
}

/// Where a command took effect first.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: EntryId,
    by: NodeId,
    mark: Mark,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(DuplicateApply::default())
}

impl Check for DuplicateApply {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let Event::Apply { id, session, serial, .. } = &event.event else { return };
        let Some((session, serial)) = session.zip(*serial) else { return };
        let (now, name) = (Mark { t: record.t, line }, event.node);
        let here = Place { id: *id, by: name, mark: now };
        let first = *self.commands.entry((session, serial)).or_insert(here);
        let command = format!("command {serial} of session {session}");
        let node = self.nodes.entry(name).or_default();
        if event.inc > node.0 {
            *node = (event.inc, None);
        }
        let before = node.1;
        // Where ballots order leaders a later place can have a lower one; elsewhere terms only rise,
        // and a counter may start again with each.
        let ballots = has_ballots(&event.proto);
        let place = |id: EntryId| (if ballots { 0 } else { id.term }, id.index);
        if before.is_none_or(|(last, _)| place(*id) > place(last)) {
            node.1 = Some((*id, now));
        }
        let (sentence, other, since) = if first.id != *id {
            let by = if first.by == name { "it" } else { &first.by.to_string() };
            let sentence =
                format!("{name} applied {command} at {id}, which {by} had applied at {}", first.id);
            (sentence, first.by, first.mark)
        } else if let Some((last, since)) = before.filter(|(last, _)| place(*id) <= place(*last)) {
            let sentence = format!("{name} applied {command} at {id} after it had applied {last}");
            (sentence, name, since)
        } else {
            return;
        };
        self.findings.push(Finding {
            sentence,
            nodes: nodes([name, other]),
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        let unknown = self
            .commands
            .is_empty()
            .then(|| "no command of a session was applied, so none could be twice".to_owned());
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}
