//! Random schedules: a pure function of a seed and options.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use usurper_history::NodeId;

use crate::{
    fault::Fault,
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// A family of faults to draw from, by the name that `--faults` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mix {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGTERM, then a restart.
    Terminate,
    /// SIGSTOP, then SIGCONT.
    Pause,
    /// One node, or a half, cut off; then healed.
    Partition,
}

impl Mix {
    pub const ALL: &'static [Self] = &[Self::Kill, Self::Terminate, Self::Pause, Self::Partition];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Terminate => "terminate",
            Self::Pause => "pause",
            Self::Partition => "partition",
        }
    }

    /// The fault that a system must be able to do for this family.
    pub fn fault(self) -> Fault {
        match self {
            Self::Kill => Fault::Kill,
            Self::Terminate => Fault::Terminate,
            Self::Pause => Fault::Pause,
            Self::Partition => Fault::Cut,
        }
    }
}

/// What to generate.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    pub mix: Vec<Mix>,
    /// From one fault to the next.
    pub interval: TimeSpan,
    /// When the last fault has been undone, at the latest.
    pub time: TimeSpan,
    /// Also let clients log transactions on random nodes, so that the nodes differ.
    pub advance: bool,
}

/// A random schedule. Each fault is undone before the next one begins and before `time` is over.
///
/// The same seed, nodes and options give the same schedule. Half of the faults aim at whoever leads
/// then, the others at a node of the seed's choice.
pub fn generate(nodes: &[NodeId], options: &GeneratorOptions, seed: u64) -> Schedule {
    let mut random = StdRng::seed_from_u64(seed);
    let interval = options.interval.0;
    let mut steps = Schedule::new();
    let mut number = 0;
    let mut start = interval / 2;
    while start + interval <= options.time.0 && !options.mix.is_empty() && !nodes.is_empty() {
        number += 1;
        let name = format!("f{number}");
        let victim = if random.random_bool(0.5) {
            Target::Leader
        } else {
            Target::Node(nodes[random.random_range(0..nodes.len())])
        };
        let (fault, target, undo, undo_target) =
            match options.mix[random.random_range(0..options.mix.len())] {
                Mix::Kill => (Fault::Kill, Some(victim), Fault::Restart, true),
                Mix::Terminate => (Fault::Terminate, Some(victim), Fault::Restart, true),
                Mix::Pause => (Fault::Pause, Some(victim), Fault::Resume, true),
                Mix::Partition if nodes.len() > 2 && random.random_bool(0.4) => {
                    (Fault::Halves, None, Fault::Heal, false)
                }
                Mix::Partition => (Fault::Isolate, Some(victim), Fault::Heal, false),
            };
        let held = interval.mul_f64(random.random_range(0.35..0.9));
        steps.push(Step {
            at: Some(whole_millis(start)),
            name: Some(name.clone()),
            ..Step::new(fault, target)
        });
        if options.advance {
            let at = start + held.mul_f64(random.random_range(0.1..0.9));
            let node = nodes[random.random_range(0..nodes.len())];
            let by = Some(random.random_range(1..4));
            let step = Step::new(Fault::Advance, Some(Target::Node(node)));
            steps.push(Step { at: Some(whole_millis(at)), by, optional: true, ..step });
        }
        steps.push(Step {
            at: Some(whole_millis(start + held)),
            ..Step::new(undo, undo_target.then_some(Target::Step(name)))
        });
        start += interval;
    }
    steps
}

/// A schedule is read by people.
pub(crate) fn whole_millis(time: std::time::Duration) -> TimeSpan {
    TimeSpan::millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
