//! Numbers about a run: how often it was broken, who led, and how long nobody did.

use std::collections::BTreeMap;

use usurper_history::{
    Body, Effect, Event, FaultRecord, HarnessEvent, NodeId, OpRecord, OpType, Outcome, Phase,
    Record,
};

use crate::{
    client_ops,
    timeline::Timeline,
    verdict::{Figures, Interval, Spread},
};

/// How many stretches without a leader are listed.
const INTERVALS_MAX: usize = 200;
/// How many failovers the median is taken of: the first ones.
const FAILOVERS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Counter {
    figures: Figures,
    /// Faults that have begun, with the time of it where they may take a leader down.
    begun: BTreeMap<u64, Begun>,
    ready_at: Option<u64>,
    stopped_at: Option<u64>,
    majority_at: Option<u64>,
    leaderless_since: Option<u64>,
    /// The first fault that took a leader down since the last establishment.
    leader_down_since: Option<u64>,
    failovers: Vec<u64>,
    spells: Vec<u64>,
    /// When faults began that took nodes or links away, and no write was acknowledged since.
    unwritten_since: Vec<u64>,
    /// When the writes that are open were asked for, by process.
    writes: BTreeMap<u32, u64>,
    recoveries: Vec<u64>,
    /// The lowest and the highest term.
    terms: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Begun {
    fault: String,
    /// When it began, if it names a leader to take down.
    at_leader: Option<u64>,
    /// When it began, if it takes something away.
    takes_away: Option<u64>,
}

impl Counter {
    pub(crate) fn observe(&mut self, record: &Record, timeline: &Timeline) {
        let t = record.t;
        match &record.body {
            Body::Fault(fault) => self.fault(t, fault, timeline),
            Body::Harness(event) => self.harness(t, event),
            Body::Node(node) => {
                let (lowest, highest) = self.terms.unwrap_or((node.term, node.term));
                self.terms = Some((lowest.min(node.term), highest.max(node.term)));
                if let Event::VoteMsg { dir, .. } = &node.event {
                    self.figures.election_messages += u64::from(dir == "send");
                }
                if let Event::Heartbeat { dir, .. } = &node.event {
                    let heartbeats = &mut self.figures.heartbeats;
                    match dir.as_str() {
                        "sent" => heartbeats.sent += 1,
                        "accepted" => heartbeats.accepted += 1,
                        _ => heartbeats.rejected += 1,
                    }
                }
            }
            Body::Op(op) => self.operation(t, op),
        }
        if self.majority_at.is_none() && !timeline.connected_majority().is_empty() {
            self.majority_at = Some(t);
        }
        if timeline.leaders.opened().is_some() {
            self.established(t);
        }
        let begun = self.figures.leader_establishments > 0;
        if timeline.changed() && begun && self.stopped_at.is_none() {
            self.leaderless(t, !has_leader(timeline));
        }
    }

    pub(crate) fn finish(mut self, now: u64, node_events: u64) -> Figures {
        let end = self.stopped_at.unwrap_or(now);
        self.leaderless(end, false);
        for begun in self.begun.into_values() {
            self.figures.faults.entry(begun.fault).or_default().unfinished += 1;
        }
        let figures = &mut self.figures;
        figures.node_events = node_events;
        figures.observed_ns = self.ready_at.map_or(0, |ready| end.saturating_sub(ready));
        figures.elections_per_minute =
            per_minute(figures.leader_establishments, figures.observed_ns);
        figures.failover = spread(self.failovers);
        figures.leaderless_spells = spread(self.spells);
        figures.write_recovery = spread(self.recoveries);
        figures.terms_consumed = self.terms.map_or(0, |(lowest, highest)| highest - lowest);
        figures.messages_per_election =
            ratio(figures.election_messages, figures.leader_establishments);
        self.figures
    }

    fn established(&mut self, t: u64) {
        self.figures.leader_establishments += 1;
        if self.figures.first_leader_ns.is_none() {
            self.figures.first_leader_ns = self.majority_at.map(|since| t.saturating_sub(since));
        }
        if let Some(since) = self.leader_down_since.take()
            && self.failovers.len() < FAILOVERS_MAX
        {
            self.failovers.push(t.saturating_sub(since));
        }
    }

    fn leaderless(&mut self, t: u64, without: bool) {
        match (without, self.leaderless_since) {
            (true, None) => self.leaderless_since = Some(t),
            (false, Some(from_ns)) => {
                self.leaderless_since = None;
                let to_ns = t.max(from_ns);
                self.figures.leaderless_ns += to_ns - from_ns;
                if self.spells.len() < FAILOVERS_MAX {
                    self.spells.push(to_ns - from_ns);
                }
                if self.figures.leaderless.len() < INTERVALS_MAX {
                    self.figures.leaderless.push(Interval { from_ns, to_ns });
                } else {
                    self.figures.leaderless_omitted += 1;
                }
            }
            _ => {}
        }
    }

    /// Faults after which a write was asked for and acknowledged are over for clients.
    fn operation(&mut self, t: u64, op: &OpRecord) {
        if !client_ops::changes(&op.f) {
            return;
        }
        if op.op_type == OpType::Invoke {
            self.writes.insert(op.process, t);
            return;
        }
        let asked = self.writes.remove(&op.process);
        let Some(asked) = asked.filter(|_| op.op_type == OpType::Ok) else { return };
        let recoveries = &mut self.recoveries;
        self.unwritten_since.retain(|since| {
            let over = *since <= asked;
            if over && recoveries.len() < FAILOVERS_MAX {
                recoveries.push(t - since);
            }
            !over
        });
    }

    fn harness(&mut self, t: u64, event: &HarnessEvent) {
        match event {
            HarnessEvent::Ready { .. } => self.ready_at = self.ready_at.or(Some(t)),
            HarnessEvent::Phase { phase } if matches!(phase.as_str(), "stop" | "end") => {
                self.stopped_at = self.stopped_at.or(Some(t));
            }
            HarnessEvent::Exit { expected: true, .. } => self.figures.exits_expected += 1,
            HarnessEvent::Exit { expected: false, .. } => self.figures.exits_unexpected += 1,
            HarnessEvent::StepMissed { .. } => self.figures.steps_missed += 1,
            _ => {}
        }
    }

    fn fault(&mut self, t: u64, fault: &FaultRecord, timeline: &Timeline) {
        if fault.phase == Phase::Begin {
            let leads = |node: &NodeId| timeline.leaders.is_current(*node);
            let kills = fault.effect == Effect::Down && fault.nodes.iter().any(leads);
            let at_leader = kills.then_some(t);
            let takes = matches!(fault.effect, Effect::Down | Effect::Frozen | Effect::Cut);
            let takes_away = takes.then_some(t);
            let begun = Begun { fault: fault.fault.clone(), at_leader, takes_away };
            self.begun.insert(fault.id, begun);
            return;
        }
        let begun = self.begun.remove(&fault.id);
        let counts = self.figures.faults.entry(fault.fault.clone()).or_default();
        match fault.outcome {
            Some(Outcome::Installed) => {
                counts.installed += 1;
                let Some(begun) = begun else { return };
                self.leader_down_since = self.leader_down_since.or(begun.at_leader);
                if self.unwritten_since.len() < FAILOVERS_MAX {
                    self.unwritten_since.extend(begun.takes_away);
                }
            }
            Some(Outcome::Skipped) => counts.skipped += 1,
            Some(Outcome::Indeterminate) | None => counts.indeterminate += 1,
        }
    }
}

fn has_leader(timeline: &Timeline) -> bool {
    let mut tenures = timeline.leaders.tenures();
    tenures.any(|it| timeline.leaders.is_current(it.node) && timeline.is_usable(it.node))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people, of numbers far below 2^53")]
fn per_minute(count: u64, ns: u64) -> f64 {
    if ns == 0 { 0.0 } else { count as f64 * 60e9 / ns as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people, of numbers far below 2^53")]
fn ratio(count: u64, of: u64) -> Option<f64> {
    (count > 0 && of > 0).then(|| count as f64 / of as f64)
}

fn spread(mut durations: Vec<u64>) -> Option<Spread> {
    durations.sort_unstable();
    let (first, last) = (durations.first().copied()?, durations.last().copied()?);
    Some(Spread {
        count: durations.len() as u64,
        min_ns: first,
        median_ns: durations[durations.len() / 2],
        p95_ns: durations[(durations.len() * 95).div_ceil(100) - 1],
        max_ns: last,
    })
}
