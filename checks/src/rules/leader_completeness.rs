//! `leader-completeness` (S7): who is elected has all that was committed before.
//!
//! Rule: at `leader-elected` of `established: true` for term `T`, the replayed log of the node holds
//! each entry (by term and digest) of which a `commit` was recorded before and that was committed in
//! a term below `T`. That term is the lowest in which the envelope of a `commit` over it stood.
//!
//! Why terms and not the clock alone: a majority may have voted for a candidate of term 5 whose
//! count is slow; a leader of term 6 may be elected and commit in the meantime. The one of term 5
//! then is established after that commit and need not have it. Entries whose commit is recorded
//! after the election are not counted either.
//!
//! What it cannot see: entries below the node's snapshot, and what was committed without any node
//! having told of it yet.

use std::collections::BTreeMap;

use usurper_history::{Body, EntryId, Event, Header, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    log::Held,
    logs::Committed,
    timeline::Timeline,
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "leader-completeness",
    summary: "an elected leader has every entry that was committed before",
    source: "S7; F-012, F-014, F-018",
    needs: &["node-start", "leader-elected", "append", "truncate", "commit"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct LeaderCompleteness {
    findings: Findings,
    /// Elections with something committed before.
    judged: u64,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(LeaderCompleteness::default())
}

impl Check for LeaderCompleteness {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let Event::LeaderElected { in_term, established: true, .. } = &event.event else { return };
        let logs = &timeline.logs;
        let committed = logs.committed();
        if !logs.is_active() || committed.is_empty() {
            return;
        }
        let Some(log) = logs.node(event.node) else { return };
        self.judged += 1;
        let from = log.memory.base();
        let lacking: BTreeMap<u64, &Committed> = committed
            .range(from..)
            .filter(|(_, it)| it.in_term < *in_term)
            .filter(|(index, it)| {
                let id = EntryId { term: it.term, index: **index };
                log.memory.held(id, it.digest.as_ref()) == Held::No
            })
            .map(|(index, it)| (*index, it))
            .collect();
        let Some((index, first)) = lacking.first_key_value() else { return };
        let id = EntryId { term: first.term, index: *index };
        let more = lacking.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        self.findings.push(Finding {
            sentence: format!(
                "{} was established as leader of term {in_term} without {id}{more}, committed by \
                 {} before",
                event.node, first.node
            ),
            nodes: nodes([event.node, first.node]),
            from_ns: first.mark.t,
            to_ns: record.t,
            lines: lines([first.mark.line, line]),
        });
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        // A run with one election is no worse for it, but its reader should know.
        let note = (self.judged == 0)
            .then(|| "no leader was elected after anything was committed".to_owned());
        let unknown = timeline.logs.open();
        Outcome { findings: self.findings, unknown, note, ..Outcome::default() }
    }
}
