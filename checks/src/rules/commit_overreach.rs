//! `commit-overreach` (S16): no node commits what it does not have.
//!
//! Rule: the entry that `commit.up-to` names stands in that node's own log, with that term, at that
//! moment. What a snapshot of the node covers it has.
//!
//! What it cannot see: whether what the node has at that index is what the leader meant; that is
//! `lost-commit` and `state-divergence`.

use usurper_history::{Body, Event, Header, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    log::Held,
    timeline::Timeline,
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "commit-overreach",
    summary: "a node commits only what its own log holds",
    source: "S16; F-013",
    needs: &["node-start", "append", "truncate", "commit"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct CommitOverreach {
    findings: Findings,
    commits: u64,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(CommitOverreach::default())
}

impl Check for CommitOverreach {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(event) = &record.body else { return };
        let Event::Commit { up_to, .. } = &event.event else { return };
        let Some(log) = timeline.logs.node(event.node) else { return };
        self.commits += 1;
        if log.memory.held(*up_to, None) != Held::No {
            return;
        }
        let has = match log.memory.id_at(up_to.index) {
            Some(id) => format!("its log has {id} there"),
            None if log.memory.last().index == 0 => "its log is empty".to_owned(),
            None => format!("its log ends at {}", log.memory.last()),
        };
        self.findings.push(Finding {
            sentence: format!("{} committed {up_to}, but {has}", event.node),
            nodes: nodes([event.node]),
            from_ns: record.t,
            to_ns: record.t,
            lines: lines([line]),
        });
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let unknown = timeline
            .logs
            .open()
            .or_else(|| (self.commits == 0).then(|| "nothing was committed".to_owned()));
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}
