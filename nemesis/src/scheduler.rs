//! From a schedule and the live history to the steps that are due: pure, so that the same seed and
//! the same events give the same faults.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use usurper_history::{Body, Link, NodeId, Record, Trigger};

use crate::{
    fault::Fault,
    pattern::Progress,
    schedule::{Schedule, Step},
    schedule_check::shape_of,
    shape::{self, between},
    target::{Bindings, Target},
};

/// A step whose time has come, with its targets resolved.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its place in the schedule, from 0.
    pub index: usize,
    pub step: Step,
    pub trigger: Option<Trigger>,
    /// Whom it hits, or why it can hit nobody.
    pub resolved: Result<Resolved, String>,
}

/// Whom a step hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub nodes: Vec<NodeId>,
    pub links: Vec<Link>,
}

/// What a step has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The id of its records.
    pub id: u64,
    /// When it had been done.
    pub ended_ns: u64,
    /// Those whom it was really done to.
    pub whom: Resolved,
}

/// A step that never ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How a person would call it.
    pub step: String,
    pub waits_for: String,
    /// The verdict does not depend on it.
    pub optional: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// Not triggered yet.
    Waiting(Progress),
    Triggered {
        due_ns: u64,
        trigger: Option<Trigger>,
    },
    Running {
        since_ns: u64,
    },
    /// It has been done, and is undone when its time is over.
    Lasting {
        since_ns: u64,
        end_ns: u64,
        hit: Hit,
    },
    Undoing {
        since_ns: u64,
    },
    Ended {
        since_ns: u64,
    },
    /// What it waited for did not come in time. It hit nobody, and the steps after it go on.
    Missed {
        since_ns: u64,
    },
}

/// The state of a schedule while it runs. Times are nanoseconds since the run's origin.
#[derive(Debug)]
pub struct Scheduler {
    steps: Schedule,
    states: Vec<State>,
    /// How often each step has run, and when it began last.
    rounds: Vec<(u32, u64)>,
    bindings: Bindings,
    /// The names of the steps that have been done, by the ids of their records.
    name_of: BTreeMap<u64, String>,
    random: StdRng,
    run_began_ns: Option<u64>,
}

impl Scheduler {
    pub fn new(steps: Schedule, nodes: &[NodeId], seed: u64) -> Self {
        Self {
            states: vec![State::Waiting(Progress::default()); steps.len()],
            rounds: vec![(0, 0); steps.len()],
            steps,
            bindings: Bindings::new(nodes),
            name_of: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
            run_began_ns: None,
        }
    }

    /// What targets mean now.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// The run phase begins: times count from here, and steps may run.
    pub fn begin(&mut self, now_ns: u64) {
        self.run_began_ns = Some(now_ns);
        for index in 0..self.steps.len() {
            let step = &self.steps[index];
            if let Some(at) = step.at {
                let due_ns = now_ns + at.as_nanos() + step.after.unwrap_or_default().as_nanos();
                self.states[index] =
                    State::Triggered { due_ns, trigger: Some(Trigger::At(at.as_nanos())) };
            }
        }
    }

    /// Takes note of a record, in the order in which the records arrive.
    pub fn observe(&mut self, record: &Record) {
        if let Body::Fault(fault) = &record.body
            && let Some(name) = fault.args.get("name").and_then(Value::as_str)
        {
            self.name_of.insert(fault.id, name.to_owned());
        }
        for index in 0..self.steps.len() {
            let Some(pattern) = &self.steps[index].on else { continue };
            if !matches!(self.states[index], State::Waiting(_)) {
                continue;
            }
            let armed_ns = self.armed_ns(index);
            if self.deadline_ns(index).is_some_and(|deadline| record.t > deadline) {
                continue;
            }
            let armed = armed_ns.is_some_and(|armed| record.t >= armed);
            let State::Waiting(progress) = &mut self.states[index] else { continue };
            let came = progress.observe(pattern, record, armed, &self.bindings, &self.name_of);
            // What is complete before its turn is looked at again then.
            if came && armed_ns.is_some() {
                self.trigger(index, record.t, trigger_of(record));
            }
        }
        self.bindings.observe(record);
    }

    /// When the past of a step ends: when the step before it in its track began, or when it began
    /// itself the last time. `None` as long as neither has happened.
    fn armed_ns(&self, index: usize) -> Option<u64> {
        let (round, since_ns) = self.rounds[index];
        if round > 0 {
            return Some(since_ns);
        }
        let track = &self.steps[index].track;
        let before = (0..index).rev().find(|before| self.steps[*before].track == *track);
        match before.map(|before| &self.states[before]) {
            None => Some(0),
            Some(
                State::Running { since_ns }
                | State::Lasting { since_ns, .. }
                | State::Undoing { since_ns }
                | State::Ended { since_ns }
                | State::Missed { since_ns },
            ) => Some(*since_ns),
            Some(_) => None,
        }
    }

    /// Until when a step waits for its event.
    fn deadline_ns(&self, index: usize) -> Option<u64> {
        let within = self.steps[index].within?;
        let armed_ns = self.armed_ns(index)?.max(self.run_began_ns?);
        Some(armed_ns.saturating_add(within.as_nanos()))
    }

    fn trigger(&mut self, index: usize, t: u64, trigger: Option<Trigger>) {
        let due_ns = t + self.steps[index].after.unwrap_or_default().as_nanos();
        let before =
            std::mem::replace(&mut self.states[index], State::Triggered { due_ns, trigger });
        if let State::Waiting(progress) = before {
            self.bindings.capture(progress.into_captured());
        }
    }

    /// The steps that are due, each marked as running. The caller does them and calls
    /// [`Scheduler::ended`].
    pub fn due(&mut self, now_ns: u64) -> Vec<Due> {
        if self.run_began_ns.is_none() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for index in 0..self.steps.len() {
            due.extend(self.undo_due(index, now_ns));
            let before_ended = self.before_ended(index);
            self.look_at_waiting(index, before_ended, now_ns);
            let step = &self.steps[index];
            let State::Triggered { due_ns, trigger } = &self.states[index] else { continue };
            if *due_ns > now_ns || (step.at.is_none() && !before_ended) {
                continue;
            }
            let (step, trigger) = (step.clone(), trigger.clone());
            self.states[index] = State::Running { since_ns: now_ns };
            self.rounds[index] = (self.rounds[index].0 + 1, now_ns);
            let resolved = self.resolve(&step, self.rounds[index].0, trigger.as_ref());
            if let (Some(name), Ok(resolved)) = (&step.name, &resolved) {
                self.bindings.remember(name, &resolved.nodes);
            }
            due.push(Due { index, step, trigger, resolved });
        }
        due
    }

    /// The end of a step that lasts, if its time is over.
    fn undo_due(&mut self, index: usize, now_ns: u64) -> Option<Due> {
        let State::Lasting { since_ns, end_ns, hit } = &self.states[index] else { return None };
        let step = self.steps[index].undo().filter(|_| *end_ns <= now_ns)?;
        let trigger = Some(Trigger::Step(hit.id));
        let resolved = Ok(match step.fault {
            // A partition heals on its links, not around the nodes that it names.
            Fault::Heal => Resolved { nodes: Vec::new(), links: hit.whom.links.clone() },
            _ => hit.whom.clone(),
        });
        self.states[index] = State::Undoing { since_ns: *since_ns };
        Some(Due { index, step, trigger, resolved })
    }

    /// Triggers a step whose turn has come and that needs no event, or has had it; gives up one
    /// whose event is late.
    fn look_at_waiting(&mut self, index: usize, before_ended: bool, now_ns: u64) {
        let State::Waiting(progress) = &self.states[index] else { return };
        match &self.steps[index].on {
            None if before_ended && self.steps[index].at.is_none() => {
                self.trigger(index, now_ns, None);
            }
            Some(on) if progress.is_complete(on) && self.armed_ns(index).is_some() => {
                self.trigger(index, now_ns, None);
            }
            _ if self.deadline_ns(index).is_some_and(|deadline| now_ns > deadline) => {
                if self.steps[index].anyway {
                    self.trigger(index, now_ns, None);
                } else {
                    self.states[index] = State::Missed { since_ns: now_ns };
                }
            }
            _ => {}
        }
    }

    /// A step has been done or undone, or given up, where nothing was hit.
    pub fn ended(&mut self, index: usize, hit: Option<Hit>) {
        let step = &self.steps[index];
        let since_ns = match (&self.states[index], step.lasts, hit) {
            (State::Running { since_ns }, Some(lasts), Some(hit)) => {
                let end_ns = hit.ended_ns.saturating_add(lasts.as_nanos());
                self.states[index] = State::Lasting { since_ns: *since_ns, end_ns, hit };
                return;
            }
            (State::Running { since_ns } | State::Undoing { since_ns }, ..) => *since_ns,
            _ => return,
        };
        let more = self.rounds[index].0 < step.times.unwrap_or(1);
        self.states[index] = match (step.every, more) {
            (_, false) => State::Ended { since_ns },
            (None, true) => State::Waiting(Progress::default()),
            (Some(every), true) => {
                let due_ns = since_ns.saturating_add(every.as_nanos());
                let trigger = self.run_began_ns.filter(|_| step.at.is_some());
                let trigger = trigger.map(|began| Trigger::At(due_ns.saturating_sub(began)));
                State::Triggered { due_ns, trigger }
            }
        };
    }

    /// No step that has not begun will run any more.
    pub fn give_up(&mut self) {
        self.run_began_ns = None;
    }

    /// When [`Scheduler::due`] should be asked next, if a time is all that is waited for.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.run_began_ns?;
        let times = self.states.iter().enumerate().filter_map(|(index, state)| match state {
            State::Triggered { due_ns, .. }
                if self.steps[index].at.is_some() || self.before_ended(index) =>
            {
                Some(*due_ns)
            }
            State::Lasting { end_ns, .. } => Some(*end_ns),
            // Just past it, so that it is over when it is looked at.
            State::Waiting(_) => self.deadline_ns(index).map(|deadline| deadline.saturating_add(1)),
            _ => None,
        });
        times.min()
    }

    /// Whether every step has ended, or was missed.
    pub fn all_ended(&self) -> bool {
        self.states.iter().all(State::is_over)
    }

    /// The steps that have not begun, or not as often as they should have.
    pub fn missed(&self) -> Vec<Missed> {
        let waiting = self.states.iter().enumerate().filter(|(_, state)| {
            matches!(state, State::Waiting(_) | State::Triggered { .. } | State::Missed { .. })
        });
        waiting.map(|(index, state)| self.describe_missed(index, state)).collect()
    }

    fn describe_missed(&self, index: usize, state: &State) -> Missed {
        let step = &self.steps[index];
        let target = step.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
        let waits_for = match (state, &step.on) {
            (State::Waiting(progress), Some(pattern)) => format!(
                "{} ({})",
                serde_json::to_string(pattern).unwrap_or_default(),
                progress.seen(pattern)
            ),
            (State::Missed { .. }, Some(pattern)) => format!(
                "{} within {}",
                serde_json::to_string(pattern).unwrap_or_default(),
                step.within.unwrap_or_default()
            ),
            (State::Triggered { .. }, _) => "its time, or the steps before it".to_owned(),
            _ => "the steps before it".to_owned(),
        };
        let (round, _) = self.rounds[index];
        let again = if round > 0 { format!(" for time {}", round + 1) } else { String::new() };
        Missed {
            step: format!("step {}: {}{target}{again}", index + 1, step.fault),
            waits_for,
            optional: step.optional,
        }
    }

    fn before_ended(&self, index: usize) -> bool {
        let track = &self.steps[index].track;
        (0..index).all(|i| self.steps[i].track != *track || self.states[i].is_over())
    }

    /// Whom a step hits the `round`th time, from 1.
    fn resolve(
        &mut self,
        step: &Step,
        round: u32,
        trigger: Option<&Trigger>,
    ) -> Result<Resolved, String> {
        let trigger = match trigger {
            Some(Trigger::Event { node, .. }) => Some(*node),
            _ => None,
        };
        let random = &mut self.random;
        let mut pick = |count: usize| random.random_range(0..count);
        let bindings = &self.bindings;
        let turn = |count: usize| (round as usize - 1) % count.max(1);
        let mut nodes = match &step.target {
            Some(Target::Several(targets)) if step.in_turn => {
                bindings.resolve(&targets[turn(targets.len())], trigger, &mut pick)?
            }
            Some(target) => bindings.resolve(target, trigger, &mut pick)?,
            None => Vec::new(),
        };
        if step.in_turn {
            nodes = nodes.get(turn(nodes.len())).copied().into_iter().collect();
        }
        let mut links = Vec::new();
        for link in &step.links {
            links.extend(bindings.resolve_link(link, trigger, &mut pick)?);
        }
        if let Some(shape) = shape_of(step.fault) {
            let target = step.target.is_some().then_some(nodes.as_slice());
            let cut = shape::links(shape, target, bindings, &mut pick)?;
            (nodes, links) = (cut.nodes, cut.links);
        } else if step.fault == Fault::Heal {
            // Naming nobody means everybody.
            if step.target.is_some() {
                links.extend(between(&nodes, bindings.nodes()));
            } else if step.links.is_empty() {
                links = between(bindings.nodes(), bindings.nodes());
            }
        }
        links.sort_unstable();
        links.dedup();
        Ok(Resolved { nodes, links })
    }
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, Self::Ended { .. } | Self::Missed { .. })
    }
}

fn trigger_of(record: &Record) -> Option<Trigger> {
    match &record.body {
        Body::Node(node) => Some(Trigger::Event {
            node: node.node,
            inc: node.inc,
            seq: node.seq,
            event: node.event.name().to_owned(),
            t: record.t,
        }),
        Body::Fault(fault) => Some(Trigger::Step(fault.id)),
        Body::Op(_) | Body::Harness(_) => None,
    }
}

/// So that a message can name a target in a schedule that is built in code.
impl From<NodeId> for Target {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}
