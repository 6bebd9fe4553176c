//! Random schedules: a pure function of a seed and options.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use usurper_history::NodeId;

use crate::{
    fault::Fault,
    mix::{Aim, Mix, Strike},
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// In this part of the schedules clients log transactions. Equal logs have failures of their own.
pub(crate) const ADVANCES: f64 = 0.7;

/// What to generate.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    pub mix: Vec<Mix>,
    /// From one fault to the next.
    pub interval: TimeSpan,
    /// When the last fault has been undone, at the latest.
    pub time: TimeSpan,
    /// Also let clients log transactions on random nodes, so that the nodes differ; of some seeds.
    pub advance: bool,
    /// The moments at which a node of the system can be made to crash.
    pub points: Vec<String>,
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
    let advance = options.advance && random.random_bool(ADVANCES);
    while start + interval <= options.time.0 && !options.mix.is_empty() && !nodes.is_empty() {
        number += 1;
        let name = format!("f{number}");
        let victim = if random.random_bool(0.5) {
            Target::Leader
        } else {
            Target::Node(nodes[random.random_range(0..nodes.len())])
        };
        let mix = Mix::draw(&options.mix, &mut random);
        // What is written and promised in an election goes wrong only if there is one. The leader is
        // killed for it, so it is the others that are aimed at.
        let provokes = mix.bites_in_elections() && random.random_bool(0.7);
        let victim = match victim {
            Target::Leader if provokes => Target::Followers,
            victim => victim,
        };
        let aim =
            Aim { name: name.clone(), victim, nodes, points: &options.points, overlaps: false };
        let Strike { mut fault, undos } = aim.strike(mix, &mut random);
        if mix == Mix::Partition && nodes.len() > 2 && random.random_bool(0.4) {
            (fault.fault, fault.target) = (Fault::Halves, None);
        }
        let held = interval.mul_f64(random.random_range(0.35..0.9));
        steps.push(Step { at: Some(whole_millis(start)), ..fault });
        let provoked = provokes.then(|| {
            let kill = Step::new(Fault::Kill, Some(Target::Leader));
            let name = Some(format!("{name}-leader"));
            steps.push(Step {
                at: Some(whole_millis(start + held / 20)),
                name: name.clone(),
                ..kill
            });
            Step::new(Fault::Restart, name.map(Target::Step))
        });
        if advance {
            let at = start + held.mul_f64(random.random_range(0.1..0.9));
            let node = nodes[random.random_range(0..nodes.len())];
            let by = Some(random.random_range(1..4));
            let step = Step::new(Fault::Advance, Some(Target::Node(node)));
            steps.push(Step { at: Some(whole_millis(at)), by, optional: true, ..step });
        }
        steps.extend(spread(start, start + held, undos.into_iter().chain(provoked).collect()));
        start += interval;
    }
    // Stable: a fault stays before what undoes it.
    steps.sort_by_key(|step| step.at);
    steps
}

/// What undoes a fault, spread over the time after it; the last step comes at its end.
pub(crate) fn spread(start: Duration, end: Duration, undos: Vec<Step>) -> Vec<Step> {
    let count = u32::try_from(undos.len()).unwrap_or(u32::MAX);
    let lasts = end.saturating_sub(start);
    let at = |number: u32| Some(whole_millis(start + lasts * number / count));
    (1..).zip(undos).map(|(number, step)| Step { at: at(number), ..step }).collect()
}

/// A schedule is read by people.
pub(crate) fn whole_millis(time: Duration) -> TimeSpan {
    TimeSpan::millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
