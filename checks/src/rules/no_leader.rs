//! `no-leader` (L1): a connected majority gets a leader within the bound.
//!
//! Rule: while a connected majority (see [`crate::timeline`]) exists without interruption for longer
//! than `bound-ns`, some leader is established that is a member of it. The clock starts anew
//! whenever the topology changes, when a process starts or ends, and when the leader goes. A tenure
//! counts while its node is usable and no later leader has been established; a leader that was
//! paused or cut off and comes back unsuperseded leads again. A history that ends while a majority
//! waits, within the bound, shows neither: it is unknown.
//!
//! What it cannot see: a leader that holds its role but serves nobody, and a leader whom nobody
//! follows (`election-loop` and `mutual-follow` see some of those). While a fault is between its
//! begin and its end nothing is judged, and neither is anything once the harness stops the nodes.

use usurper_history::{Header, NodeId, Record};

use crate::{
    check::{Check, CheckInfo, Options},
    findings::{Findings, Outcome, lines},
    phrase::{duration, list},
    timeline::{Mark, Timeline},
    verdict::Finding,
};

pub(crate) const INFO: CheckInfo = CheckInfo {
    name: "no-leader",
    summary: "a connected majority gets a leader within the bound",
    source: "L1; verdict windows of the timing table",
    needs: &["leader-elected", "role-change"],
    options: &[(
        "bound-ns",
        "how long a connected majority may be without a leader (default: the header's leader bound)",
    )],
    choices: &[],
    make,
};

#[derive(Debug)]
struct NoLeader {
    bound_ns: u64,
    findings: Findings,
    /// Since when a connected majority waits for a leader.
    waiting: Option<Mark>,
    /// The wait has become longer than the bound; who waits.
    overdue: Option<Vec<NodeId>>,
    /// The nodes were stopped, or the history ended, during a wait within the bound.
    cut_short: Option<(Mark, Mark)>,
}

fn make(header: &Header, options: &Options) -> Box<dyn Check> {
    let bound_ns = options.get("bound-ns").unwrap_or(header.timing.leader_bound_ns);
    let findings = Findings::default();
    Box::new(NoLeader { bound_ns, findings, waiting: None, overdue: None, cut_short: None })
}

impl Check for NoLeader {
    fn advance(&mut self, now: u64, timeline: &Timeline) {
        if let Some(since) = self.waiting
            && self.overdue.is_none()
            && !timeline.is_topology_pending()
            && timeline.stalls.lasted(since.t, now) > self.bound_ns
        {
            self.overdue = Some(timeline.connected_majority().iter().copied().collect());
        }
    }

    fn observe(&mut self, line: u64, record: &Record, timeline: &Timeline) {
        let now = Mark { t: record.t, line };
        let waits = timeline.is_judged()
            && !timeline.connected_majority().is_empty()
            && timeline.leader().is_none();
        let changed = timeline.topology_changed();
        if let Some(since) = self.waiting
            && (!waits || changed.line > since.line)
        {
            if !timeline.is_judged() && self.overdue.is_none() {
                self.cut_short = Some((since, now));
            }
            self.close(now);
        }
        if waits && self.waiting.is_none() {
            self.waiting = Some(now);
        }
    }

    fn found(&self) -> bool {
        self.overdue.is_some() || !self.findings.is_empty()
    }

    fn finish(mut self: Box<Self>, now: u64, timeline: &Timeline) -> Outcome {
        self.advance(now, timeline);
        let last = timeline.last();
        if let (Some(since), None) = (self.waiting, &self.overdue) {
            self.cut_short = Some((since, last));
        }
        self.close(last);
        let unknown = self.cut_short.map(|(since, end)| {
            format!(
                "watched no longer than {} into a time without a leader, {} are allowed",
                duration(timeline.stalls.lasted(since.t, end.t)),
                duration(self.bound_ns)
            )
        });
        Outcome { findings: self.findings, unknown, ..Outcome::default() }
    }
}

impl NoLeader {
    fn close(&mut self, now: Mark) {
        let (Some(since), Some(nodes)) = (self.waiting.take(), self.overdue.take()) else { return };
        self.findings.push(Finding {
            sentence: format!(
                "nobody led for {} although {} were up and connected (at most {} are allowed)",
                duration(now.t - since.t),
                list(&nodes),
                duration(self.bound_ns)
            ),
            nodes,
            from_ns: since.t,
            to_ns: now.t,
            lines: lines([since.line, now.line]),
        });
    }
}
