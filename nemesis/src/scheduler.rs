//! From a schedule and the live history to the steps that are due: pure, so that the same seed and
//! the same events give the same faults.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use usurper_history::{Body, Link, NodeId, Record, Trigger};

use crate::{
    fault::Fault,
    schedule::{Schedule, Step},
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
    /// Not triggered yet; so many events have matched.
    Waiting {
        seen: u32,
    },
    Triggered {
        due_ns: u64,
        trigger: Option<Trigger>,
    },
    Running {
        since_ns: u64,
    },
    Ended {
        since_ns: u64,
    },
}

/// The state of a schedule while it runs. Times are nanoseconds since the run's origin.
#[derive(Debug)]
pub struct Scheduler {
    steps: Schedule,
    states: Vec<State>,
    bindings: Bindings,
    random: StdRng,
    run_began_ns: Option<u64>,
}

impl Scheduler {
    pub fn new(steps: Schedule, nodes: &[NodeId], seed: u64) -> Self {
        Self {
            states: vec![State::Waiting { seen: 0 }; steps.len()],
            steps,
            bindings: Bindings::new(nodes),
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
        for (step, state) in self.steps.iter().zip(&mut self.states) {
            if let Some(at) = step.at {
                let due_ns = now_ns + at.as_nanos() + step.after.unwrap_or_default().as_nanos();
                *state = State::Triggered { due_ns, trigger: Some(Trigger::At(at.as_nanos())) };
            }
        }
    }

    /// Takes note of a record, in the order in which the records arrive.
    pub fn observe(&mut self, record: &Record) {
        for index in 0..self.steps.len() {
            let Some(pattern) = &self.steps[index].on else { continue };
            let State::Waiting { seen } = self.states[index] else { continue };
            // Events from before the step before it are the past of this one.
            let armed_ns = match index.checked_sub(1).map(|before| &self.states[before]) {
                None => 0,
                Some(State::Running { since_ns } | State::Ended { since_ns }) => *since_ns,
                Some(_) => continue,
            };
            if record.t < armed_ns || !pattern.matches(record, &self.bindings) {
                continue;
            }
            let seen = seen + 1;
            self.states[index] = if seen < pattern.count.unwrap_or(1) {
                State::Waiting { seen }
            } else {
                let after = self.steps[index].after.unwrap_or_default();
                State::Triggered {
                    due_ns: record.t + after.as_nanos(),
                    trigger: trigger_of(record),
                }
            };
        }
        self.bindings.observe(record);
    }

    /// The steps that are due, each marked as running. The caller does them and calls
    /// [`Scheduler::ended`].
    pub fn due(&mut self, now_ns: u64) -> Vec<Due> {
        if self.run_began_ns.is_none() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for index in 0..self.steps.len() {
            let before_ended = self.before_ended(index);
            let step = &self.steps[index];
            if let (State::Waiting { .. }, None, None, true) =
                (&self.states[index], &step.on, step.at, before_ended)
            {
                let due_ns = now_ns + step.after.unwrap_or_default().as_nanos();
                self.states[index] = State::Triggered { due_ns, trigger: None };
            }
            let State::Triggered { due_ns, trigger } = &self.states[index] else { continue };
            if *due_ns > now_ns || (step.at.is_none() && !before_ended) {
                continue;
            }
            let (step, trigger) = (step.clone(), trigger.clone());
            self.states[index] = State::Running { since_ns: now_ns };
            let resolved = self.resolve(&step, trigger.as_ref());
            if let (Some(name), Ok(resolved)) = (&step.name, &resolved) {
                self.bindings.remember(name, &resolved.nodes);
            }
            due.push(Due { index, step, trigger, resolved });
        }
        due
    }

    /// A step has been done, or given up.
    pub fn ended(&mut self, index: usize) {
        if let State::Running { since_ns } = self.states[index] {
            self.states[index] = State::Ended { since_ns };
        }
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
            _ => None,
        });
        times.min()
    }

    /// Whether every step has ended.
    pub fn all_ended(&self) -> bool {
        self.states.iter().all(|state| matches!(state, State::Ended { .. }))
    }

    /// The steps that have not begun.
    pub fn missed(&self) -> Vec<Missed> {
        let waiting =
            self.states.iter().enumerate().filter(|(_, state)| {
                matches!(state, State::Waiting { .. } | State::Triggered { .. })
            });
        waiting.map(|(index, state)| self.describe_missed(index, state)).collect()
    }

    fn describe_missed(&self, index: usize, state: &State) -> Missed {
        let step = &self.steps[index];
        let target = step.target.as_ref().map(|target| format!(" {target}")).unwrap_or_default();
        let waits_for = match (state, &step.on) {
            (State::Waiting { seen }, Some(pattern)) => format!(
                "{} (seen {seen} of {})",
                serde_json::to_string(pattern).unwrap_or_default(),
                pattern.count.unwrap_or(1)
            ),
            (State::Triggered { .. }, _) => "its time, or the steps before it".to_owned(),
            _ => "the steps before it".to_owned(),
        };
        Missed {
            step: format!("step {}: {}{target}", index + 1, step.fault),
            waits_for,
            optional: step.optional,
        }
    }

    fn before_ended(&self, index: usize) -> bool {
        self.states[..index].iter().all(|state| matches!(state, State::Ended { .. }))
    }

    fn resolve(&mut self, step: &Step, trigger: Option<&Trigger>) -> Result<Resolved, String> {
        let trigger = match trigger {
            Some(Trigger::Event { node, .. }) => Some(*node),
            _ => None,
        };
        let random = &mut self.random;
        let mut pick = |count: usize| random.random_range(0..count);
        let bindings = &self.bindings;
        let mut nodes = match &step.target {
            Some(target) => bindings.resolve(target, trigger, &mut pick)?,
            None => Vec::new(),
        };
        let mut links = Vec::new();
        for link in &step.links {
            links.extend(bindings.resolve_link(link, trigger, &mut pick)?);
        }
        match step.fault {
            Fault::Isolate => links = between(&nodes, bindings.nodes()),
            Fault::Halves => {
                if step.target.is_none() {
                    nodes = half(bindings.nodes(), &mut pick);
                }
                links = between(&nodes, bindings.nodes());
            }
            // Naming nobody means everybody.
            Fault::Heal if step.target.is_some() => links = between(&nodes, bindings.nodes()),
            Fault::Heal if step.links.is_empty() => {
                links = between(bindings.nodes(), bindings.nodes());
            }
            _ => {}
        }
        links.sort_unstable();
        links.dedup();
        Ok(Resolved { nodes, links })
    }
}

/// Both directions of every link between a set of nodes and the rest; within the set when it is
/// everybody.
fn between(side: &[NodeId], all: &[NodeId]) -> Vec<Link> {
    let everybody = side.len() == all.len();
    let mut links = Vec::new();
    for &from in side {
        for &to in all.iter().filter(|to| **to != from) {
            if everybody || !side.contains(&to) {
                links.push(Link { from, to });
                links.push(Link { from: to, to: from });
            }
        }
    }
    links.sort_unstable();
    links.dedup();
    links
}

/// The smaller half of the cluster, chosen at random; one node of two.
fn half(all: &[NodeId], pick: &mut dyn FnMut(usize) -> usize) -> Vec<NodeId> {
    let mut rest = all.to_vec();
    let mut side = Vec::new();
    while side.len() < all.len() / 2 {
        side.push(rest.swap_remove(pick(rest.len())));
    }
    side.sort_unstable();
    side
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
        _ => None,
    }
}

/// So that a message can name a target in a schedule that is built in code.
impl From<NodeId> for Target {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}
