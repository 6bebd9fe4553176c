//! What a person sees while a run goes on. Every reporter reads the same stream of records.

use std::{collections::BTreeMap, io::IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use usurper_checks::term_word;
use usurper_history::{
    Body, Effect, Event, FaultRecord, HarnessEvent, NodeId, Outcome, Phase, Record, Role,
};

use crate::{output, plan::Plan};

/// Reads a run's records as they are written.
pub(crate) trait Reporter {
    fn record(&mut self, record: &Record);
}

/// The reporter for this run: live lines on a terminal, plain ones elsewhere.
pub(crate) fn for_run(plan: &Plan) -> Box<dyn Reporter> {
    if std::io::stderr().is_terminal() {
        Box::new(Live::new(&plan.node_ids()))
    } else {
        Box::new(Plain)
    }
}

/// Says nothing.
pub(crate) struct Silent;

impl Reporter for Silent {
    fn record(&mut self, _: &Record) {}
}

/// One line per fault and per new leader.
pub(crate) struct Plain;

impl Reporter for Plain {
    fn record(&mut self, record: &Record) {
        if let Some(line) = notable(record) {
            output::talk(&line);
        }
    }
}

/// One line that changes per node, and the notable lines above them.
struct Live {
    bars: MultiProgress,
    nodes: BTreeMap<NodeId, (ProgressBar, Shown)>,
}

#[derive(Clone, Debug, Default)]
struct Shown {
    role: Option<Role>,
    term: u64,
    /// What the protocol calls it.
    word: &'static str,
    leader: Option<NodeId>,
    fault: Option<&'static str>,
}

impl Live {
    fn new(nodes: &[NodeId]) -> Self {
        let bars = MultiProgress::new();
        let style = ProgressStyle::with_template("  {prefix:>4}  {msg}").expect("a valid template");
        let line = |node: &NodeId| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style.clone()));
            bar.set_prefix(node.to_string());
            bar.set_message("starting");
            (*node, (bar, Shown::default()))
        };
        let nodes = nodes.iter().map(line).collect();
        Self { bars, nodes }
    }
}

impl Reporter for Live {
    fn record(&mut self, record: &Record) {
        if let Some(line) = notable(record) {
            // A terminal that cannot be written to is no reason to end a run.
            let _ = self.bars.println(line);
        }
        let touched: Vec<NodeId> = match &record.body {
            Body::Node(node) => {
                let Some((_, shown)) = self.nodes.get_mut(&node.node) else { return };
                shown.role = Some(node.role);
                shown.term = node.term;
                shown.word = term_word(&node.proto);
                match &node.event {
                    Event::RoleChange { to, .. } => shown.role = Some(*to),
                    Event::LeaderKnown { leader, .. } => shown.leader = *leader,
                    _ => return,
                }
                vec![node.node]
            }
            Body::Fault(fault) if fault.phase == Phase::End => {
                for node in &fault.nodes {
                    if let Some((_, shown)) = self.nodes.get_mut(node) {
                        shown.fault = match fault.effect {
                            Effect::Down => Some("down"),
                            Effect::Frozen => Some("paused"),
                            Effect::Cut => Some("cut off"),
                            _ => None,
                        };
                    }
                }
                if fault.effect == Effect::Healed {
                    let cut = |shown: &Shown| shown.fault == Some("cut off");
                    self.nodes
                        .values_mut()
                        .filter(|(_, s)| cut(s))
                        .for_each(|(_, s)| s.fault = None);
                }
                self.nodes.keys().copied().collect()
            }
            _ => return,
        };
        for node in touched {
            if let Some((bar, shown)) = self.nodes.get(&node) {
                bar.set_message(shown.to_string());
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // The lines have served; the summary follows.
        let _ = self.bars.clear();
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let role = self.role.map_or("", Role::name);
        write!(f, "{role:<14} {} {:<6}", self.word, self.term)?;
        match self.leader {
            Some(leader) => write!(f, " follows {leader:<5}")?,
            None => write!(f, "              ")?,
        }
        write!(f, " {}", self.fault.unwrap_or(""))
    }
}

/// The line for a record that a person wants to see as it happens.
fn notable(record: &Record) -> Option<String> {
    let text = match &record.body {
        Body::Node(node) => match &node.event {
            Event::LeaderElected { in_term, established: true, .. } => {
                format!("{} leads {} {in_term}", node.node, term_word(&node.proto))
            }
            _ => return None,
        },
        Body::Fault(fault) if fault.phase == Phase::End && fault.fault != "wait" => {
            fault_line(fault)
        }
        Body::Harness(HarnessEvent::Exit { node, expected: false, code, signal, .. }) => {
            let how = match (code, signal) {
                (Some(code), _) => format!("exit code {code}"),
                (_, Some(signal)) => format!("signal {signal}"),
                _ => "an unknown status".to_owned(),
            };
            format!("{node} ended by itself with {how}")
        }
        Body::Harness(HarnessEvent::StepMissed { step, waits_for }) => {
            format!("{step} never ran, it waits for {waits_for}")
        }
        Body::Harness(HarnessEvent::Stall { until }) => {
            let stood_s = seconds(until.saturating_sub(record.t));
            format!("the machine stood still for {stood_s:.1} s")
        }
        Body::Harness(HarnessEvent::Interrupted { signal }) => {
            format!("interrupted by {signal}: healing, stopping, judging what was seen")
        }
        _ => return None,
    };
    Some(format!("{:>8.3} s  {text}", seconds(record.t)))
}

fn fault_line(fault: &FaultRecord) -> String {
    let nodes: Vec<_> = fault.nodes.iter().map(ToString::to_string).collect();
    let whom = if nodes.is_empty() && fault.links.len() <= 4 {
        fault.links.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    } else {
        nodes.join(" ")
    };
    let name = format!("{} {whom}", fault.fault);
    let name = name.trim_end();
    match fault.outcome {
        Some(Outcome::Installed) | None => name.to_owned(),
        Some(Outcome::Skipped) => {
            format!("{name} skipped: {}", fault.reason.as_deref().unwrap_or("no reason"))
        }
        Some(Outcome::Indeterminate) => {
            format!("{name} unclear: {}", fault.reason.as_deref().unwrap_or("no reason"))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time for people, in milliseconds")]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
