//! Random schedules from expected rates: faults that overlap, with or without a majority left. A
//! pure function of a seed and options.
//!
//! The faults of each family come as a Poisson process: independent of each other, so many a minute
//! on the average. Each is undone after a while of its own. Which nodes are down, paused or cut off
//! at one time is kept account of while the schedule is made, so that a promise about the majority
//! holds whoever leads when a step runs: a step that aims at the leader counts as one more node.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use usurper_history::NodeId;

use crate::{
    fault::Fault,
    generator::{ADVANCES, of_any_scale, spread, whole_millis},
    link::MessageKind,
    mix::{Aim, Mix, Strike},
    schedule::{Schedule, Step},
    target::Target,
    time_span::TimeSpan,
};

/// A fault lasts at least this long, and at most so long.
const LASTS_MIN: Duration = Duration::from_millis(300);
const LASTS_MAX: Duration = Duration::from_secs(8);
/// More faults than this in one schedule are a typing error.
const FAULTS_MAX: usize = 10_000;

/// What faults may do to the majority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Majority {
    /// Whatever comes.
    #[default]
    Any,
    /// At every moment a majority is up, running and connected.
    Keep,
    /// At least once, if there is a fault at all, no majority is.
    Break,
}

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct RateOptions {
    /// Expected faults of each family per minute. Those that are not above 0 never come.
    pub rates: BTreeMap<Mix, f64>,
    pub majority: Majority,
    /// When the last fault has been undone, at the latest.
    pub time: TimeSpan,
    /// Also let clients log transactions on random nodes, so that the nodes differ; of some seeds.
    pub advance: bool,
    /// The moments at which a node of the system can be made to crash.
    pub points: Vec<String>,
    /// The kinds of messages that the network can tell apart.
    pub kinds: Vec<MessageKind>,
}

/// A fault to come.
struct Planned {
    start: Duration,
    end: Duration,
    mix: Mix,
}

/// A random schedule of faults that may overlap. Every one is undone before `time` is over.
///
/// The same seed, nodes and options give the same schedule.
pub fn generate_rates(nodes: &[NodeId], options: &RateOptions, seed: u64) -> Schedule {
    let mut random = StdRng::seed_from_u64(seed);
    let mut steps: Vec<Step> = Vec::new();
    if nodes.is_empty() {
        return steps;
    }
    let mut hit = Hit { open: Vec::new(), nodes: nodes.len() };
    let mut broken = false;
    let advance = options.advance && random.random_bool(ADVANCES);
    for (number, planned) in arrivals(options, &mut random).into_iter().enumerate() {
        let can_break = options.majority == Majority::Break && planned.mix.takes_away();
        let must_break = can_break && !broken;
        let side = match options.majority {
            Majority::Keep => match hit.room(planned.start) {
                0 => continue,
                _ => 1,
            },
            _ if must_break || (can_break && random.random_bool(0.3)) => {
                // Of an even number, half is enough to leave no majority.
                nodes.len().div_ceil(2)
            }
            _ => 1,
        };
        broken |= can_break && (side > 1 || nodes.len() <= 2);
        let halves = planned.mix == Mix::Partition
            && side == 1
            && options.majority == Majority::Any
            && nodes.len() > 2
            && random.random_bool(0.4);
        let target = if halves {
            None
        } else if side > 1 {
            Some(several(nodes, side, &mut random))
        } else if !planned.mix.hits_links() && random.random_bool(0.5) {
            // Who leads may change until a link is healed, so a link is named by its nodes.
            Some(Target::Leader)
        } else {
            Some(Target::Node(nodes[random.random_range(0..nodes.len())]))
        };
        hit.open.push((planned.end + planned.mix.recovery(), side));
        add(&mut steps, &planned, (nodes, options), number, target, &mut random);
        if advance {
            let held = planned.end.saturating_sub(planned.start);
            let at = planned.start + held.mul_f64(random.random_range(0.1..0.9));
            let node = nodes[random.random_range(0..nodes.len())];
            let by = Some(random.random_range(1..4));
            let step = Step::new(Fault::Advance, Some(Target::Node(node)));
            steps.push(Step { at: Some(whole_millis(at)), by, optional: true, ..step });
        }
    }
    // Stable: a fault stays before what undoes it.
    steps.sort_by_key(|step| step.at);
    steps
}

/// When faults of which family come and end, in the order of time.
fn arrivals(options: &RateOptions, random: &mut StdRng) -> Vec<Planned> {
    let mut all = Vec::new();
    let time = options.time.0;
    for (mix, per_minute) in &options.rates {
        let mut start = Duration::ZERO;
        while *per_minute > 0.0 && per_minute.is_finite() && all.len() < FAULTS_MAX {
            // The time to the next event of a Poisson process is exponential.
            let share: f64 = random.random_range(f64::EPSILON..1.0);
            let gap = -share.ln() * 60.0 / per_minute;
            start += Duration::from_secs_f64(gap.min(1e6));
            let lasts = of_any_scale(LASTS_MIN, LASTS_MAX, random);
            if start + LASTS_MIN > time {
                break;
            }
            all.push(Planned { start, end: (start + lasts).min(time), mix: *mix });
        }
    }
    all.sort_by_key(|planned| planned.start);
    all
}

fn several(nodes: &[NodeId], count: usize, random: &mut StdRng) -> Target {
    let mut rest = nodes.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        chosen.push(rest.swap_remove(random.random_range(0..rest.len())));
    }
    chosen.sort_unstable();
    match chosen.as_slice() {
        [one] => Target::Node(*one),
        _ => Target::Several(chosen.into_iter().map(Target::Node).collect()),
    }
}

fn add(
    steps: &mut Schedule,
    planned: &Planned,
    (nodes, options): (&[NodeId], &RateOptions),
    number: usize,
    target: Option<Target>,
    random: &mut StdRng,
) {
    let name = format!("f{}", number + 1);
    let mut push = |name: String, victim: Target, halves: bool| {
        let (points, kinds) = (&options.points, &options.kinds);
        let aim = Aim { name, victim, nodes, points, kinds };
        let Strike { mut fault, undos } = aim.strike(planned.mix, random);
        if halves {
            (fault.fault, fault.target) = (Fault::Halves, None);
        }
        let (start, end) = (planned.start, planned.end);
        steps.push(Step { at: Some(whole_millis(start)), ..fault });
        steps.extend(spread(start, end, undos));
    };
    match (planned.mix, target) {
        (_, None) => push(name, Target::All, true),
        // One by one: together they would still be a majority on their own side.
        (Mix::Partition, Some(Target::Several(parts))) => {
            for (index, part) in parts.into_iter().enumerate() {
                push(format!("{name}-{}", index + 1), part, false);
            }
        }
        (_, Some(target)) => push(name, target, false),
    }
}

/// The faults that nodes may still suffer from: until when, and how many nodes.
struct Hit {
    open: Vec<(Duration, usize)>,
    nodes: usize,
}

impl Hit {
    /// How many more nodes may be hit without the majority, whoever they are.
    fn room(&mut self, now: Duration) -> usize {
        self.open.retain(|(until, _)| *until > now);
        let hit: usize = self.open.iter().map(|(_, count)| count).sum();
        (self.nodes.saturating_sub(1) / 2).saturating_sub(hit)
    }
}
