//! Random schedules: a pure function of a seed and options.
//!
//! Most failures of elections are coincidences: two faults that must meet in the same election, at the
//! same node or link. Uniformly random faults rarely meet, so a schedule is drawn from a seed in ways
//! that make them. Most seeds play [scenes](crate::scene), the others episodes:
//!
//! - *Swarms* (Groce and others, "Swarm Testing", ISSTA 2012): each seed has few families, and more
//!   faults of each.
//! - Every seed has a node, and kinds of messages, that are hit more often than others.
//! - Times are drawn by their order of magnitude. Half of the schedules end with one long episode, in
//!   which what goes wrong for good has the time to show.
//! - Faults follow what the nodes say ([`Cue`](crate::cue::Cue)) as often as the clock, and come in the
//!   [shapes](crate::episode) in which the field met them.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use usurper_history::{NodeId, Timing};

use crate::{
    episode::{Episodes, Span},
    link::MessageKind,
    mix::{Mix, MixKind},
    scene::Scene,
    schedule::{Schedule, Step},
    time_span::TimeSpan,
};

/// In this part of the schedules clients log transactions. Equal logs have failures of their own.
pub(crate) const ADVANCES: f64 = 0.7;
/// More families than this are a swarm's worth: each seed takes some of them.
const FAMILIES_MAX: usize = 4;
/// More steps in twelve seconds find no more, and are long to shrink.
const STEPS_MAX: usize = 24;
const STEPS_TIME: Duration = Duration::from_secs(12);

/// What to generate.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    pub mix: Vec<Mix>,
    /// From one episode to the next, about.
    pub interval: TimeSpan,
    /// When the last fault has been undone, at the latest.
    pub time: TimeSpan,
    /// How long the system takes: an election timeout matters more than a second.
    pub timing: Timing,
    /// Also let clients log transactions on random nodes, so that the nodes differ; of some seeds.
    pub advance: bool,
    /// The moments at which a node of the system can be made to crash.
    pub points: Vec<String>,
    /// The kinds of messages that the network can tell apart.
    pub kinds: Vec<MessageKind>,
    /// The events that the nodes tell of.
    pub events: Vec<String>,
}

/// A random schedule. Each fault is undone before `time` is over.
///
/// The same seed, nodes and options give the same schedule.
pub fn generate(nodes: &[NodeId], options: &GeneratorOptions, seed: u64) -> Schedule {
    let mut random = StdRng::seed_from_u64(seed);
    let (time, interval) = (options.time.0, options.interval.0);
    if nodes.is_empty() || options.mix.is_empty() || time < interval {
        return Schedule::new();
    }
    let families = swarm(&options.mix, &mut random);
    let advance = options.advance && random.random_bool(ADVANCES);
    let times = (time.as_secs() / STEPS_TIME.as_secs()).max(1);
    let crowd = nodes.len().saturating_sub(5) * 4;
    let steps_max = STEPS_MAX * usize::try_from(times).unwrap_or(usize::MAX) + crowd;
    let mut episodes = Episodes::new(nodes, options, families, steps_max, random);
    // Seeds that follow each other begin with different scenes.
    let scenes = episodes.scenes();
    let changes = options.mix.iter().any(|mix| mix.kind() == MixKind::Members);
    let others = if changes { scenes.len() } else { scenes.len() / 4 } + 1;
    let turn = seed % u64::try_from(scenes.len() + others).unwrap_or(u64::MAX);
    match usize::try_from(turn).ok().and_then(|turn| scenes.get(turn)) {
        Some(first) => play_scenes(&mut episodes, (*first, &scenes), time, advance),
        None => add_episodes(&mut episodes, (time, interval), advance),
    }
    episodes.into_schedule()
}

/// A scene or two, and little else.
fn play_scenes(
    episodes: &mut Episodes<'_>,
    (first, scenes): (Scene, &[Scene]),
    time: Duration,
    advance: bool,
) {
    let mut scene = first;
    let timeout = episodes.timeouts(1.0, 1.0);
    let mut start = of_any_scale(Duration::from_millis(5), time / 20, &mut episodes.random);
    loop {
        let rest = time.saturating_sub(start);
        // What does not last takes nine election timeouts, at most.
        let all = scene.lasts() || rest < timeout * 8;
        let length = if all { rest } else { episodes.timeouts(6.5, 9.0).min(rest) };
        let span = Span { start, end: start + length };
        if advance {
            let span = Span { start, end: start + length / 2 };
            episodes.if_room(|episodes| episodes.advance(span));
        }
        episodes.if_room(|episodes| episodes.play(scene, span));
        if !scene.lasts() && episodes.random.random_bool(0.4) {
            let start = span.start + length.mul_f64(episodes.random.random_range(0.0..0.6));
            episodes.if_room(|episodes| episodes.strike(Span { start, end: span.end }, true));
        }
        // Nothing comes after what lasts.
        if scene.lasts() {
            return;
        }
        if all {
            break;
        }
        start = span.end + timeout.mul_f64(episodes.random.random_range(0.0..2.0));
        if start + timeout * 4 > time || episodes.random.random_bool(0.1) {
            break;
        }
        // What lasts shows nothing in less time than a leader may take to come.
        let bound = Duration::from_nanos(episodes.options.timing.leader_bound_ns);
        let fits = |scene: &&Scene| !scene.lasts() || start + bound + timeout < time;
        let fitting: Vec<_> = scenes.iter().filter(fits).collect();
        if fitting.is_empty() {
            break;
        }
        scene = *fitting[episodes.random.random_range(0..fitting.len())];
    }
    if episodes.random.random_bool(0.4) {
        let span = Span { start: time.mul_f64(0.95), end: time.mul_f64(0.97) };
        episodes.if_room(|episodes| episodes.last_return(span));
    }
}

/// One episode after another.
fn add_episodes(
    episodes: &mut Episodes<'_>,
    (time, interval): (Duration, Duration),
    advance: bool,
) {
    let random = &mut episodes.random;
    let lasting = random.random_bool(0.5).then(|| time.mul_f64(random.random_range(0.3..0.6)));
    let early = random.random_bool(0.3);
    let mut start = interval.mul_f64(if early { 0.01 } else { 0.4 });
    if episodes.random.random_bool(0.3) {
        let start = time.mul_f64(episodes.random.random_range(0.0..0.3));
        let span = Span { start, end: time.mul_f64(0.9) };
        episodes.if_room(|episodes| episodes.strike(span, false));
    }
    loop {
        let length = interval.mul_f64(episodes.random.random_range(-1.2_f64..1.0).exp2());
        let last = lasting.is_some_and(|lasting| start + length > lasting);
        let end = if last { time } else { start + length };
        if end > time || end <= start {
            break;
        }
        // Something of the gap is left for the nodes to recover in.
        let rest = interval.min(length).mul_f64(episodes.random.random_range(0.02..0.4));
        let span = Span { start, end: if last { time } else { end.saturating_sub(rest) } };
        if advance {
            episodes.if_room(|episodes| episodes.advance(span));
        }
        if last {
            episodes.if_room(|episodes| episodes.lasting(span));
            break;
        }
        episodes.if_room(|episodes| episodes.add(span));
        start = end;
    }
    if episodes.random.random_bool(0.6) {
        let span = Span { start: time.mul_f64(0.95), end: time.mul_f64(0.97) };
        episodes.if_room(|episodes| episodes.last_return(span));
    }
}

/// Some of the families, if there are many.
fn swarm(mix: &[Mix], random: &mut StdRng) -> Vec<Mix> {
    if mix.len() <= FAMILIES_MAX {
        return mix.to_vec();
    }
    let mut rest = mix.to_vec();
    let count = random.random_range(2..=FAMILIES_MAX);
    let mut drawn = Vec::new();
    for _ in 0..count {
        let family = Mix::draw(&rest, random);
        rest.retain(|other| *other != family);
        drawn.push(family);
    }
    drawn
}

/// What undoes a fault, spread over the time after it; the last step comes at its end.
pub(crate) fn spread(start: Duration, end: Duration, undos: Vec<Step>) -> Vec<Step> {
    let count = u32::try_from(undos.len()).unwrap_or(u32::MAX);
    let lasts = end.saturating_sub(start);
    let at = |number: u32| Some(whole_millis(start + lasts * number / count));
    (1..).zip(undos).map(|(number, step)| Step { at: at(number), ..step }).collect()
}

/// Anything from `min` to `max`, each order of magnitude as likely as another.
pub(crate) fn of_any_scale(min: Duration, max: Duration, random: &mut StdRng) -> Duration {
    if max <= min || min.is_zero() {
        return max;
    }
    let share = random.random_range(0.0..1.0);
    min.mul_f64((max.as_secs_f64() / min.as_secs_f64()).powf(share)).min(max)
}

/// A schedule is read by people.
pub(crate) fn whole_millis(time: Duration) -> TimeSpan {
    TimeSpan::millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
