//! `write-outage` (L4): acknowledged writes go on while a connected majority lives.
//!
//! Rule: while a connected majority (see [`crate::timeline`]) exists without interruption, and
//! clients ask its members for writes, no longer than `bound-ns` passes without an acknowledged
//! write. The clock starts with the first write that is asked for and not answered, and starts anew
//! with each acknowledgement, and whenever the topology changes. Clients ask as long as such a write
//! is open, or ended without an answer within the last election timeout.
//!
//! A write is asked for if a member of the majority was called and did not refuse; one that refuses
//! because it does not lead tells the client to ask elsewhere. The established leader's own refusal
//! counts. A plain no (a failed `cas`, a lock that is held) is an answer: the system works.
//!
//! Where a node limps (its disk is slow, its clock runs ahead) and can be heard, nothing is judged: it may
//! rightly stay in office. With `limping = "counts"` it is, for systems that promise to replace a leader
//! that cannot write; what clients ask of the limping node is asked then, too.
//!
//! What it cannot see: an outage in which every client asks nodes that refuse (if nobody leads, that
//! is `no-leader`), and one of a single key. While a fault is between its begin and its end nothing is
//! judged, and neither is anything once the harness stops the nodes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use usurper_history::{Body, Header, NodeId, OPERATIONS, OpRecord, OpType, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    client_ops,
    findings::{Findings, Outcome, lines},
    phrase::{counted, duration, list},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

const RESTS: &str = "rests";
const COUNTS: &str = "counts";

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "write-outage",
    summary: "a connected majority goes on acknowledging writes that clients ask for",
    source: "L4; F-051",
    needs: &[OPERATIONS, "leader-elected"],
    options: &[(
        "bound-ns",
        "how long clients may go without an acknowledged write (default: twice the leader bound)",
    )],
    choices: &[(
        "limping",
        "whether a majority has to go on although a node that limps can speak to it (default: rests)",
        &[RESTS, COUNTS],
    )],
    make,
};

#[derive(Debug)]
struct WriteOutage {
    bound_ns: u64,
    timeout_ns: u64,
    /// What is asked of a limping node is asked, too.
    limping_counts: bool,
    findings: Findings,
    /// Writes that are open, by process.
    open: BTreeMap<u32, Ask>,
    /// The first and the last write since `since` that ended without an answer.
    unanswered: Option<(Mark, Mark)>,
    /// The last acknowledgement, or change of what could stand in the way.
    since: Mark,
    /// Since when who could have answered, once that took too long.
    overdue: Option<(Mark, Vec<NodeId>)>,
    acknowledged: u64,
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    mark: Mark,
    server: Option<NodeId>,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let twice = header.timing.leader_bound_ns.saturating_mul(2);
    Box::new(WriteOutage {
        bound_ns: options.get("bound-ns").unwrap_or(twice),
        timeout_ns: header.timing.election_timeout_ns,
        limping_counts: options.chosen("limping") == Some(COUNTS),
        findings: Findings::default(),
        open: BTreeMap::new(),
        unanswered: None,
        since: Mark::default(),
        overdue: None,
        acknowledged: 0,
        asked: 0,
    })
}

impl Check for WriteOutage {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        let majority = self.majority(timeline);
        if self.overdue.is_some()
            || timeline.is_topology_pending()
            || !timeline.is_judged()
            || majority.is_empty()
        {
            return;
        }
        let asks = |ask: &&Ask| self.is_asked(ask, &majority);
        let open = self.open.values().find(asks);
        let asked_lately =
            |(_, last): (Mark, Mark)| timeline.stalls.lasted(last.t, now) <= self.timeout_ns;
        if let Some(first) = self.waiting(timeline)
            && timeline.stalls.lasted(first.t, now) > self.bound_ns
            && (open.is_some() || self.unanswered.is_some_and(asked_lately))
        {
            self.overdue = Some((first, majority.iter().copied().collect()));
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        let changed = timeline.topology_changed();
        let stands = timeline.is_judged() && !self.majority(timeline).is_empty();
        if !stands || changed.line > self.since.line {
            self.begin_anew(now);
        }
        let Body::Op(op) = &record.body else { return };
        if !client_ops::changes(&op.f) {
            return;
        }
        match op.op_type {
            OpType::Invoke => {
                self.asked += 1;
                self.open.insert(op.process, Ask { mark: now, server: op.server });
            }
            _ => self.end(now, op, timeline),
        }
    }

    fn found(&self) -> bool {
        self.overdue.is_some() || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        self.begin_anew(timeline.last());
        let unknown = if self.asked == 0 {
            Some("needs: operations (no client wrote anything)".to_owned())
        } else if self.acknowledged == 0 {
            Some(format!("none of {} was ever acknowledged", counted(self.asked, "write")))
        } else {
            None
        };
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl WriteOutage {
    fn end(&mut self, now: Mark, op: &OpRecord, timeline: &Timeline) {
        let Some(ask) = self.open.remove(&op.process) else { return };
        let answered = op.op_type == OpType::Ok || op.op_type == OpType::Fail && op.error.is_none();
        if answered {
            self.acknowledged += u64::from(op.op_type == OpType::Ok);
            self.begin_anew(now);
            return;
        }
        let by_leader = ask.server.is_some() && ask.server == timeline.leader();
        let asked = self.is_asked(&ask, &self.majority(timeline));
        if op.op_type == OpType::Info && asked || by_leader {
            let first = self.unanswered.map_or(ask.mark, |(first, _)| first.earlier(ask.mark));
            self.unanswered = Some((first, now));
        }
    }

    /// Who has to go on.
    fn majority<'a>(&self, timeline: &'a Timeline) -> Cow<'a, BTreeSet<NodeId>> {
        if self.limping_counts {
            Cow::Owned(timeline.connected_majority_beside_limping())
        } else {
            Cow::Borrowed(timeline.connected_majority())
        }
    }

    fn is_asked(&self, ask: &Ask, majority: &BTreeSet<NodeId>) -> bool {
        self.limping_counts || ask.server.is_none_or(|server| majority.contains(&server))
    }

    /// Since when a write is asked for and not answered.
    fn waiting(&self, timeline: &Timeline) -> Option<Mark> {
        let majority = self.majority(timeline);
        let asks = |ask: &&Ask| self.is_asked(ask, &majority);
        let open = self.open.values().filter(asks).map(|ask| ask.mark);
        let first = open.chain(self.unanswered.map(|(first, _)| first)).min_by_key(|it| it.line)?;
        Some(first.later(self.since))
    }

    /// Reports a wait that was too long, and starts the clock anew.
    fn begin_anew(&mut self, now: Mark) {
        if let Some((first, nodes)) = self.overdue.take() {
            let lasted = now.t.saturating_sub(first.t);
            self.findings.push(Finding {
                sentence: format!(
                    "no write was acknowledged for {} although {} were up and connected and clients \
                     asked (at most {} are allowed)",
                    duration(lasted),
                    list(&nodes),
                    duration(self.bound_ns)
                ),
                nodes,
                from_ns: first.t,
                to_ns: now.t,
                lines: lines([first.line, now.line]),
            });
        }
        self.since = now;
        self.unanswered = None;
    }
}
