//! `crash` (L7): no node's process ends by itself.
//!
//! Rule: each end of a process was asked for by the harness, and each incarnation that speaks was
//! started by it. A node that restarts itself, or is restarted by a supervisor of its own, has
//! ended unseen; its `node-start` without a `spawn` gives it away.
//!
//! What it cannot see: a process that hangs (that is a matter of liveness), a thread that dies in a
//! process that goes on, and a crash between the harness' own kill signal and the end.

use std::collections::BTreeMap;

use usurper_history::{Body, Event, HarnessEvent, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "crash",
    summary: "no node's process ends or restarts by itself",
    source: "L7; seed 000 bugs B1 and B2",
    needs: &[],
    options: &[],
    choices: &[],
    make,
};

/// How much of a node's last words a finding repeats.
const STDERR_CHARS_MAX: usize = 400;
/// How many incarnations may wait for the record of their spawn.
const UNANNOUNCED_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct Crash {
    findings: Findings,
    /// The newest incarnation of each node that the harness started.
    spawned: BTreeMap<NodeId, u32>,
    /// Incarnations that spoke before any record of their spawn. The harness may note a spawn just
    /// after the process has spoken, so only the end of the history tells.
    unannounced: BTreeMap<(NodeId, u32), Mark>,
}

fn make(_header: &Header, _options: &Options) -> Box<dyn Check> {
    Box::new(Crash::default())
}

impl Check for Crash {
    fn observe(&mut self, line: u64, record: &Record, _timeline: &Timeline) {
        match &record.body {
            Body::Harness(HarnessEvent::Spawn { node, inc, .. }) => {
                self.unannounced.remove(&(*node, *inc));
                let newest = self.spawned.entry(*node).or_default();
                *newest = (*newest).max(*inc);
            }
            Body::Harness(HarnessEvent::Exit {
                node,
                inc,
                code,
                signal,
                expected: false,
                stderr,
            }) => {
                let how = match (code, signal) {
                    (_, Some(signal)) => format!("by signal {signal}"),
                    (Some(code), None) => format!("with exit code {code}"),
                    (None, None) => "in a way that was not seen".to_owned(),
                };
                let words = stderr.as_deref().map(last_words).unwrap_or_default();
                self.findings.push(Finding {
                    sentence: format!(
                        "{node} (incarnation {inc}) ended {how} although nobody ended it{words}"
                    ),
                    nodes: vec![*node],
                    from_ns: record.t,
                    to_ns: record.t,
                    lines: lines([line]),
                });
            }
            Body::Node(event) if matches!(event.event, Event::NodeStart { .. }) => {
                let newest = self.spawned.get(&event.node).copied().unwrap_or_default();
                if event.inc > newest && self.unannounced.len() < UNANNOUNCED_MAX {
                    let mark = Mark { t: record.t, line };
                    self.unannounced.insert((event.node, event.inc), mark);
                }
            }
            _ => {}
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        for ((node, inc), mark) in self.unannounced {
            self.findings.push(Finding {
                sentence: format!(
                    "{node} started as incarnation {inc} although the harness did not start it: \
                     the process before it has ended unseen"
                ),
                nodes: vec![node],
                from_ns: mark.t,
                to_ns: mark.t,
                lines: lines([mark.line]),
            });
        }
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}

/// The end of what a process wrote, as an addition to a sentence.
fn last_words(stderr: &str) -> String {
    let text = stderr.trim();
    let skipped = text.chars().count().saturating_sub(STDERR_CHARS_MAX);
    let tail: String = text.chars().skip(skipped).collect();
    if tail.is_empty() { String::new() } else { format!("; its last words: `{tail}`") }
}
