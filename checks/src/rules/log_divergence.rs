//! `log-divergence` (S5): one id is one entry, with one predecessor, in every log and at all times.
//!
//! Rule: the entry that `append` puts at an index in a term has the digest and the predecessor that
//! this id was first seen to have, on whichever node and in whichever incarnation. The predecessor is
//! what stands before it in the node's own log, else what the event says; where both are known they
//! are the same. And a log has no hole and holds one entry per index: an entry goes where the log
//! ends, unless what stood there was removed (`truncate`) or is the very same.
//!
//! Logs may differ where their ids differ: an uncommitted tail may survive its leader, and it may be
//! committed later or be removed. Below a snapshot nothing is compared.
//!
//! What it cannot see: a log that becomes another without any `append` (damage on the disk, until the
//! entries are applied), and a divergence hidden by equal digests.

use usurper_history::{EntryId, Header, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines, nodes},
    logs::{Appended, Step},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "log-divergence",
    summary: "the same id is the same entry after the same predecessor in every log",
    source: "S5; F-013, F-016, F-017, F-091",
    needs: &["node-start", "append", "truncate"],
    options: &[],
    choices: &[],
    make,
};

#[derive(Debug, Default)]
struct LogDivergence {
    findings: Findings,
    appended: u64,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(LogDivergence::default())
}

impl Check for LogDivergence {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Step::Appended(entries) = timeline.logs.step() else { return };
        let usurper_history::Body::Node(event) = &record.body else { return };
        let now = Mark { t: record.t, line };
        for entry in entries {
            self.appended += 1;
            if let Some((what, other)) = wrong(entry) {
                let (other_node, since) = other.unwrap_or((event.node, now));
                self.findings.push(Finding {
                    sentence: format!("{} put {} in its log {what}", event.node, entry.id),
                    nodes: nodes([event.node, other_node]),
                    from_ns: since.t,
                    to_ns: now.t,
                    lines: lines([since.line, now.line]),
                });
            }
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, timeline: &Timeline) -> Outcome {
        let unknown = timeline.logs.open().or_else(|| {
            (self.appended == 0).then(|| "nothing was appended, so no logs could differ".to_owned())
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

type Other = (usurper_history::NodeId, Mark);

/// What is wrong with an entry, and who saw it otherwise.
fn wrong(entry: &Appended) -> Option<(String, Option<Other>)> {
    if let Some(known) = &entry.known {
        let other = Some((known.node, known.mark));
        if known.digest != entry.digest {
            let (one, before) = (&entry.digest, &known.digest);
            let what = format!("as `{one}`, which {} had there as `{before}`", known.node);
            return Some((what, other));
        }
        let prev = entry.prev.or(entry.said);
        if let Some((one, before)) = prev.zip(known.prev).filter(|(one, before)| one != before) {
            let what = format!(
                "after {}, which {} had there after {}",
                place(one),
                known.node,
                place(before)
            );
            return Some((what, other));
        }
    }
    if let Some(over) = entry.over {
        return Some((format!("where {over} was, without removing that"), None));
    }
    if let Some(gap) = entry.gap {
        return Some((format!("although it ended at {}", place(gap)), None));
    }
    let (prev, said) = entry.prev.zip(entry.said).filter(|(prev, said)| prev != said)?;
    Some((format!("after {}, and said that it follows {}", place(prev), place(said)), None))
}

/// The begin of the log has an index but no entry.
fn place(id: EntryId) -> String {
    if id.index == 0 { "nothing".to_owned() } else { id.to_string() }
}
