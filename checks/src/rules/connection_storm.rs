//! `connection-storm` (L6): no pair of nodes dials each other without end.
//!
//! Rule: the nodes of one pair, together, do not begin more than `per-second` dials in each second of
//! a stretch of `for-ns`. A node that dials a dead peer backs off; a pair whose two ends replace each
//! other's connections does not.
//!
//! What it cannot see: connections that a system makes without telling, and those of clients.

use std::collections::{BTreeMap, VecDeque};

use usurper_history::{Body, Event, Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    phrase::duration,
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "connection-storm",
    summary: "no pair of nodes dials each other without end",
    source: "L6; seed 000 bug B5, F-047",
    needs: &["conn"],
    options: &[
        ("per-second", "how many dials of a pair in a second are fine (default: 5)"),
        ("for-ns", "how long there must be more for it to be a storm (default: 5 s)"),
    ],
    choices: &[],
    make,
};

const SECOND_NS: u64 = 1_000_000_000;

#[derive(Debug)]
struct ConnectionStorm {
    per_second: usize,
    for_ns: u64,
    findings: Findings,
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
}

#[derive(Debug, Default)]
struct Pair {
    /// The latest dials, one more than are fine in a second.
    recent: VecDeque<Mark>,
    storm: Option<Storm>,
}

#[derive(Debug)]
struct Storm {
    since: Mark,
    dials: u64,
    place: Option<usize>,
    told: bool,
}

fn make(_header: &Header, options: &Options) -> Box<dyn Check> {
    let per_second = options.get("per-second").unwrap_or(5);
    Box::new(ConnectionStorm {
        per_second: usize::try_from(per_second).unwrap_or(usize::MAX - 1).min(10_000),
        for_ns: options.get("for-ns").unwrap_or(5 * SECOND_NS),
        findings: Findings::default(),
        pairs: BTreeMap::new(),
    })
}

impl Check for ConnectionStorm {
    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let Body::Node(node) = &record.body else { return };
        let Event::Conn { op, peer: Some(peer), .. } = &node.event else { return };
        // A stall ends connections, and each of them is dialled again.
        if op != "dial" || !timeline.is_judged() || timeline.stalls.is_resting(record.t) {
            return;
        }
        let now = Mark { t: record.t, line };
        let ends = (node.node.min(*peer), node.node.max(*peer));
        let pair = self.pairs.entry(ends).or_default();
        pair.recent.push_back(now);
        if pair.recent.len() <= self.per_second {
            return;
        }
        let first = pair.recent.pop_front().unwrap_or(now);
        if timeline.stalls.lasted(first.t, now.t) >= SECOND_NS {
            pair.storm = None;
            return;
        }
        let within = pair.recent.len() as u64;
        let storm = pair.storm.get_or_insert(Storm {
            since: first,
            dials: within,
            place: None,
            told: false,
        });
        storm.dials += 1;
        if timeline.stalls.lasted(storm.since.t, now.t) < self.for_ns {
            return;
        }
        let sentence = format!(
            "{} and {} dialled each other {} times in {} (more than {} a second)",
            ends.0,
            ends.1,
            storm.dials,
            duration(now.t - storm.since.t),
            self.per_second
        );
        if let Some(finding) = storm.place.and_then(|place| self.findings.get_mut(place)) {
            finding.sentence = sentence;
            finding.extend(now.t, now.line);
        } else if !storm.told {
            storm.told = true;
            storm.place = self.findings.push(Finding {
                sentence,
                nodes: vec![ends.0, ends.1],
                from_ns: storm.since.t,
                to_ns: now.t,
                lines: lines([storm.since.line, first.line, now.line]),
            });
        }
    }

    fn found(&self) -> bool {
        !self.findings.is_empty()
    }

    fn finish(self: Box<Self>, _now: u64, _timeline: &Timeline) -> Outcome {
        Outcome { findings: self.findings, ..Outcome::default() }
    }
}
