//! From the logs of a cluster in the field to a schedule that puts another cluster through the same.
//! Pure.
//!
//! Such logs name no fault. What they show is who was established as leader when, whose log stops and
//! starts again, and who looked for a leader although one was there. From that:
//!
//! - A process that ends and starts again was killed, and restarted. One that ends for good was
//!   killed only if it led and the others then looked for a leader; a log also ends when it is copied.
//! - A leader that is superseded while it runs was cut off until it hears of its successor, unless it
//!   gave up at once, which only a word of the successor explains: then it handed over.
//! - A follower that looks for a leader, and comes back to the same one, was cut off meanwhile.
//!
//! Each is a guess of the kind of fault, and is said to be one. The order and the parts are kept: a
//! step waits for the leader that was established before it, and hits `leader`, or whom an earlier
//! step had hit. Times are not: they belong to other timeouts, so waits are cut short.

use std::{collections::BTreeMap, time::Duration};

use usurper_history::{Body, Event, HarnessEvent, NodeId, Record, Role};

use crate::{
    fault::Fault,
    pattern::Pattern,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// More leaders than this between two steps are a storm, in which one more or less means nothing.
const LEADERS_COUNTED_MAX: u32 = 3;
/// A leader that gives up so soon after another stands had its word.
const AT_ONCE_NS: u64 = 100_000_000;

/// How fast the cluster is that the schedule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// How long it takes to miss a leader, at least.
    pub election_timeout: Duration,
    /// How long a step waits for a leader before it goes on all the same.
    pub patience: Duration,
}

/// What logs tell, as a schedule, and what they do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reproduction {
    pub steps: Schedule,
    /// What the steps stand for, in order: when, and what was seen.
    pub seen: Vec<(u64, String)>,
    /// What had to be guessed or was left out.
    pub untold: Vec<String>,
}

/// The schedule of what the records of field logs show, in the order of time.
///
/// `nodes` are those of the logs; the first becomes `n1`, and so on.
pub fn from_field_logs(records: &[Record], nodes: &[NodeId], tempo: Tempo) -> Reproduction {
    let story = Story::of(records);
    let mut untold = Vec::new();
    let mut incidents = Vec::new();
    story.ends(&mut incidents, &mut untold);
    story.superseded(&mut incidents, &mut untold);
    story.astray(&mut incidents, &mut untold);
    incidents.sort_by_key(|incident| (incident.t, incident.what));
    let seen = incidents.iter().map(|it| (it.t, it.seen.clone())).collect();
    let steps = Director { story: &story, nodes, tempo, hit: BTreeMap::new(), away: Vec::new() }
        .steps(&incidents, &mut untold);
    Reproduction { steps, seen, untold }
}

/// What happened to a node. In the order in which they stand if they happened at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Stops,
    Reached,
    Returns,
    Takes,
    CutOff,
}

#[derive(Clone, Debug)]
struct Incident {
    t: u64,
    node: NodeId,
    what: What,
    seen: String,
}

/// A change of a node's part.
#[derive(Clone, Copy, Debug)]
struct Turn {
    t: u64,
    node: NodeId,
    from: Role,
    to: Role,
}

/// What matters of the records, each in the order of time.
#[derive(Debug, Default)]
struct Story {
    elected: Vec<(u64, NodeId)>,
    turns: Vec<Turn>,
    /// Who came to know whom as leader.
    known: Vec<(u64, NodeId, NodeId)>,
    /// Per node: begin and end of each process.
    lives: BTreeMap<NodeId, Vec<(u64, u64)>>,
    end: u64,
}

fn seeks(role: Role) -> bool {
    matches!(role, Role::Looking | Role::PreCandidate | Role::Candidate)
}

impl Story {
    fn of(records: &[Record]) -> Self {
        let mut story = Self { end: records.last().map_or(0, |last| last.t), ..Self::default() };
        let end = story.end;
        for Record { t, body, .. } in records {
            let t = *t;
            match body {
                Body::Harness(HarnessEvent::Spawn { node, .. }) => {
                    story.lives.entry(*node).or_default().push((t, end));
                }
                Body::Harness(HarnessEvent::Exit { node, .. }) => {
                    let lives = story.lives.entry(*node).or_default();
                    if let Some((_, to)) = lives.last_mut() {
                        *to = t;
                    }
                }
                Body::Node(record) => match &record.event {
                    Event::LeaderElected { established: true, .. } => {
                        story.elected.push((t, record.node));
                    }
                    Event::RoleChange { from, to, .. } if from != to => {
                        let (from, to) = (*from, *to);
                        story.turns.push(Turn { t, node: record.node, from, to });
                    }
                    Event::LeaderKnown { leader: Some(leader), .. } => {
                        story.known.push((t, record.node, *leader));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        story
    }

    /// Who was established last, if it has not ended or given up by then.
    fn leader_at(&self, t: u64) -> Option<NodeId> {
        let (since, leader) = *self.elected.iter().rfind(|(at, _)| *at < t)?;
        (!self.ended_between(leader, since, t) && self.gave_up(leader, since, t).is_none())
            .then_some(leader)
    }

    /// Whether a process of the node ended after `from` and before `to`.
    fn ended_between(&self, node: NodeId, from: u64, to: u64) -> bool {
        self.lives_of(node).iter().any(|(_, end)| (from..to).contains(end))
    }

    fn lives_of(&self, node: NodeId) -> &[(u64, u64)] {
        self.lives.get(&node).map_or(&[], Vec::as_slice)
    }

    /// When the node stopped leading by its own word.
    fn gave_up(&self, node: NodeId, from: u64, to: u64) -> Option<u64> {
        let turns = self.turns.iter().filter(|turn| turn.node == node && turn.from == Role::Leader);
        turns.map(|turn| turn.t).find(|t| (from..to).contains(t))
    }

    /// When somebody else than the node first looked for a leader, or was elected.
    fn missed(&self, node: NodeId, after: u64) -> Option<u64> {
        let looked = self.turns.iter().find(|turn| {
            turn.t > after && turn.node != node && seeks(turn.to) && !seeks(turn.from)
        });
        let elected = self.elected.iter().find(|(t, other)| *t > after && *other != node);
        let times = [looked.map(|turn| turn.t), elected.map(|(t, _)| *t)];
        times.into_iter().flatten().min()
    }

    /// Processes that ended.
    fn ends(&self, incidents: &mut Vec<Incident>, untold: &mut Vec<String>) {
        for (node, lives) in &self.lives {
            for (place, (_, end)) in lives.iter().enumerate() {
                let led = self.leader_at(*end) == Some(*node);
                let part = if led { "while it leads" } else { "while it does not lead" };
                let missed = self.missed(*node, *end).filter(|_| led);
                let again = lives.get(place + 1).map(|(begin, _)| *begin);
                if again.is_none() && missed.is_none() {
                    if *end < self.end {
                        untold.push(format!(
                            "the log of {node} ends at {}, before others do: that it stopped is not \
                             shown, so it goes on here",
                            seconds(*end)
                        ));
                    }
                    continue;
                }
                let seen = format!("{node} is heard of last {part}");
                incidents.push(Incident { t: *end, node: *node, what: What::Stops, seen });
                let until = match missed {
                    Some(missed) if again.is_none_or(|again| missed < again) => {
                        format!("; it was missed by {}", seconds(missed))
                    }
                    _ => String::new(),
                };
                untold.push(format!(
                    "{node} fell silent at {}{until}: killed, shut down in order, or without power? \
                     Killed here",
                    seconds(*end)
                ));
                if let Some(t) = again {
                    let seen = format!("{node} starts again");
                    incidents.push(Incident { t, node: *node, what: What::Returns, seen });
                }
            }
        }
    }

    /// Leaders that ran on when another was established.
    fn superseded(&self, incidents: &mut Vec<Incident>, untold: &mut Vec<String>) {
        for pair in self.elected.windows(2) {
            let [(since, old), (t, new)] = [pair[0], pair[1]];
            if self.ended_between(old, since, t) {
                continue;
            }
            if old == new {
                untold.push(format!(
                    "{old} led, and was elected again at {}: what had unsettled it is not told, and \
                     is left out",
                    seconds(t)
                ));
                continue;
            }
            let stands = |turn: &&Turn| {
                turn.node == new && turn.t >= since && turn.t <= t && !seeks(turn.from)
            };
            // Where its own log does not say when it began to, the last of the others' does.
            let others =
                |turn: &&Turn| turn.node != old && turn.t > since && turn.t < t && seeks(turn.to);
            let stood = self.turns.iter().rfind(|turn| stands(turn) && seeks(turn.to));
            let stood = stood.or_else(|| self.turns.iter().rfind(others));
            let stood = stood.map_or(t, |turn| turn.t).min(t - 1);
            let gave_up = self.gave_up(old, since, u64::MAX);
            if gave_up.is_some_and(|at| at >= stood && at - stood <= AT_ONCE_NS) {
                let seen = format!("{new} takes over from {old}, which gives up at once");
                incidents.push(Incident { t: stood, node: new, what: What::Takes, seen });
                untold.push(format!(
                    "{old} gave up for {new} at {}: a transfer, or a candidate of a higher term? A \
                     transfer here",
                    seconds(stood)
                ));
                continue;
            }
            let cut = gave_up.map_or(stood, |at| at.min(stood)).max(since + 1);
            let seen = format!("{old} leads, and is out of reach while {new} is elected");
            incidents.push(Incident { t: cut, node: old, what: What::CutOff, seen });
            untold.push(format!(
                "{old} ran on while {new} was elected at {}: cut off, frozen, or too slow? Cut off \
                 here, from when {new} began to look",
                seconds(t)
            ));
            self.reached_again(old, t, incidents);
        }
    }

    /// When a node that was cut off first heard of what had happened meanwhile.
    fn reached_again(&self, node: NodeId, after: u64, incidents: &mut Vec<Incident>) {
        let turned = self.turns.iter().find(|turn| turn.t > after && turn.node == node);
        let knew = self
            .known
            .iter()
            .find(|(t, who, leader)| *t > after && *who == node && *leader != node);
        let times = [turned.map(|turn| turn.t), knew.map(|(t, ..)| *t)];
        let Some(t) = times.into_iter().flatten().min() else { return };
        let seen = format!("{node} is reached again");
        incidents.push(Incident { t, node, what: What::Reached, seen });
    }

    /// Followers that missed a leader that the others did not miss.
    fn astray(&self, incidents: &mut Vec<Incident>, untold: &mut Vec<String>) {
        let mut until = BTreeMap::new();
        for turn in self.turns.iter().filter(|turn| seeks(turn.to) && !seeks(turn.from)) {
            let Turn { t, node, .. } = *turn;
            let Some(leader) = self.leader_at(t).filter(|leader| *leader != node) else { continue };
            let back = self.known.iter().find(|(at, who, _)| *at > t && *who == node);
            let Some((back, _, found)) = back.filter(|(_, _, found)| *found == leader) else {
                continue;
            };
            let restarted = self.lives_of(node).iter().any(|(begin, _)| (t..*back).contains(begin));
            let elected = self.elected.iter().any(|(at, _)| (t..*back).contains(at));
            let known = until.get(&node).is_some_and(|until| t < *until);
            if restarted || elected || known || self.leader_at(*back) != Some(leader) {
                continue;
            }
            until.insert(node, *back);
            let seen = format!("{node} looks for a leader although {found} leads");
            incidents.push(Incident { t, node, what: What::CutOff, seen });
            let seen = format!("{node} follows {found} again");
            incidents.push(Incident { t: *back, node, what: What::Reached, seen });
            untold.push(format!(
                "{node} missed {found} at {} and came back to it: cut off, or too slow? Cut off here",
                seconds(t)
            ));
        }
    }
}

/// Makes steps of incidents.
struct Director<'a> {
    story: &'a Story,
    nodes: &'a [NodeId],
    tempo: Tempo,
    /// By which step each node was hit last.
    hit: BTreeMap<NodeId, String>,
    /// Who is down or cut off.
    away: Vec<NodeId>,
}

impl Director<'_> {
    fn steps(mut self, incidents: &[Incident], untold: &mut Vec<String>) -> Schedule {
        let mut steps = Schedule::new();
        let mut before = None;
        for (number, incident) in (1..).zip(incidents) {
            let Incident { t, node, what, .. } = incident;
            let undoes = matches!(what, What::Returns | What::Reached);
            // A node that ended while it was cut off is connected again as it starts.
            let Some(target) = self.target(*node, *t, undoes, untold) else { continue };
            let fault = match what {
                What::Stops => Fault::Kill,
                What::Returns => Fault::Restart,
                What::Takes => Fault::Transfer,
                What::CutOff => Fault::Isolate,
                What::Reached => Fault::Heal,
            };
            let mut step = Step::new(fault, Some(target));
            match what {
                What::Stops | What::CutOff => {
                    let name = format!("{number}-{node}");
                    step.name = Some(name.clone());
                    self.hit.insert(*node, name);
                    self.away.push(*node);
                }
                What::Returns | What::Reached => self.away.retain(|away| away != node),
                What::Takes => {}
            }
            self.when(&mut step, before, *t);
            steps.push(step);
            before = Some(*t);
        }
        steps
    }

    /// Whom a step hits: by the part that the node plays, or by what was done to it before.
    fn target(
        &self,
        node: NodeId,
        t: u64,
        undoes: bool,
        untold: &mut Vec<String>,
    ) -> Option<Target> {
        let hit = self.hit.get(&node).map(|step| Target::Step(step.clone()));
        if undoes {
            return hit;
        }
        let elected = self.story.elected.iter().rfind(|(at, _)| *at <= t).map(|(_, node)| *node);
        if elected == Some(node) {
            return Some(Target::Leader);
        }
        if hit.is_some() {
            return hit;
        }
        if elected.is_some() && self.away.is_empty() {
            return Some(Target::Follower);
        }
        let place = self.nodes.iter().position(|other| *other == node)?;
        let place = NodeId(u8::try_from(place + 1).unwrap_or(u8::MAX));
        untold.push(format!("whom {node} stands for is told by its number alone: {place} here"));
        Some(Target::Node(place))
    }

    /// Hangs a step on the leader that was established before it, or on the step before it.
    fn when(&self, step: &mut Step, before: Option<u64>, t: u64) {
        let since = |at: &u64| before.is_none_or(|before| *at > before) && *at <= t;
        let elected = self.story.elected.iter().map(|(at, _)| *at).filter(since);
        let elected: Vec<u64> = elected.collect();
        let timeout = self.tempo.election_timeout;
        let (from, longest) = match elected.last() {
            Some(last) => {
                let count = u32::try_from(elected.len()).unwrap_or(u32::MAX);
                let pattern = Pattern::event("leader-elected", [("established", true.into())]);
                step.on = Some(pattern.counted(count.min(LEADERS_COUNTED_MAX)));
                step.within = Some(TimeSpan(self.tempo.patience));
                step.anyway = true;
                (*last, timeout * 2)
            }
            None => {
                let from = before.unwrap_or(0);
                let looked = |turn: &Turn| seeks(turn.to) && (from..=t).contains(&turn.t);
                let missed = self.story.turns.iter().any(looked);
                // What nobody had time to miss there shall not be missed here.
                (from, if missed || before.is_none() { timeout * 4 } else { timeout / 2 })
            }
        };
        let waited = Duration::from_nanos(t.saturating_sub(from)).min(longest);
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        step.after = Some(TimeSpan::millis(millis)).filter(|after| !after.0.is_zero());
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn seconds(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

#[cfg(test)]
mod tests;
