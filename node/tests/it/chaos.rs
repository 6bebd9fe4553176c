//! Many seeds of everything at once, and then peace: nothing may break, and a leader must come.

use rand::{RngExt, rngs::StdRng};
use usurper_history::NodeId;

use super::sim::{MS, Sim};

/// How long a healed cluster may take: what `usurper_node` says it may.
fn leader_bound() -> u64 {
    usurper_node::system("fle").unwrap().timing(&[]).unwrap().leader_bound_ns
}

/// Between two faults in chaos.
const PAUSE_MAX_MS: u64 = 700;

fn run(seed: u64, count: u8) -> (Sim, Result<u64, String>) {
    let mut sim = Sim::new(seed, count, &[], &[]);
    run_chaos(&mut sim);
    let result = run_peace(&mut sim);
    (sim, result)
}

pub(crate) fn run_chaos(sim: &mut Sim) {
    sim.loss = [0, 0, 20, 150][sim.rng.random_range(0..4)];
    sim.held = [0, 20, 100][sim.rng.random_range(0..3)];
    sim.crash = [0, 0, 5][sim.rng.random_range(0..3)];
    // Nodes that decide at different times make rivals of one round.
    let uneven = sim.rng.random_bool(0.5);
    for id in sim.ids() {
        if uneven {
            let wait = sim.rng.random_range(5..400);
            sim.set_param(id, "finalize-wait", &format!("{wait}ms"));
        }
        let at = sim.now + sim.rng.random_range(0..100 * MS);
        sim.run_until(at);
        sim.start(id);
    }
    for _ in 0..sim.rng.random_range(4..16) {
        let wait = sim.rng.random_range(MS..PAUSE_MAX_MS * MS);
        sim.run_until(sim.now + wait);
        fault(sim);
    }
}

fn fault(sim: &mut Sim) {
    let (id, other) = (sim.pick(), sim.pick());
    match sim.rng.random_range(0..14) {
        0 => sim.kill(id, false),
        1 => sim.kill(id, true),
        2..=4 => {
            sim.start(id);
            sim.start(other);
        }
        5 => sim.pause(id),
        6 => sim.resume(id),
        7 => {
            sim.cut.insert((id, other));
        }
        8 => sim.isolate(id),
        9 => sim.cut.extend(halves(&sim.ids(), &mut sim.rng)),
        10 | 11 => sim.cut.clear(),
        12 => sim.connect(id, other),
        _ => {
            let steps = sim.rng.random_range(1..5);
            sim.advance(id, steps);
        }
    }
}

/// The links between two halves that are drawn at random.
pub(crate) fn halves(ids: &[NodeId], rng: &mut StdRng) -> Vec<(NodeId, NodeId)> {
    let side: Vec<bool> = ids.iter().map(|_| rng.random_bool(0.5)).collect();
    let mut links = Vec::new();
    for (one, left) in ids.iter().zip(&side) {
        for (other, right) in ids.iter().zip(&side) {
            if left != right {
                links.push((*one, *other));
            }
        }
    }
    links
}

/// Heals everything. Returns how long it took until all follow one leader for good.
pub(crate) fn run_peace(sim: &mut Sim) -> Result<u64, String> {
    (sim.loss, sim.held, sim.crash) = (0, 0, 0);
    sim.cut.clear();
    for id in sim.ids() {
        sim.start(id);
        sim.resume(id);
    }
    let healed = sim.now;
    if !sim.run_until_or(healed + leader_bound(), |sim| sim.common_leader().is_some()) {
        return Err(format!("no common leader: {}", sim.describe()));
    }
    let took = sim.now - healed;
    // A held message of the time before may still arrive and depose this one, once.
    sim.run_until(healed + leader_bound());
    let leader = sim.common_leader();
    let elections = sim.invariants.elections;
    sim.run_until(sim.now + 2_000 * MS);
    if leader.is_none() || sim.common_leader() != leader || sim.invariants.elections != elections {
        return Err(format!("{leader:?} did not last: {}", sim.describe()));
    }
    Ok(took)
}

#[track_caller]
fn check(seed: u64, count: u8) -> u64 {
    let (sim, peace) = run(seed, count);
    let replay =
        format!("replay: USURPER_SIM_SEED={seed} cargo test -p usurper-node --test it chaos");
    let violations = &sim.invariants.violations;
    assert!(violations.is_empty(), "seed {seed}, {count} nodes: {violations:#?}\n{replay}");
    match peace {
        Ok(took) => took,
        Err(error) => panic!("seed {seed}, {count} nodes: {error}\n{replay}"),
    }
}

/// What chaos is made of: so many seeds, unless the environment asks for one, or for more.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("USURPER_SIM_SEED") {
        let seed = seed.parse().unwrap();
        return seed..seed + 1;
    }
    0..std::env::var("USURPER_SIM_SEEDS").map_or(count, |count| count.parse().unwrap())
}

fn check_all(count: u8) {
    let mut took: Vec<_> = seeds(300).map(|seed| check(seed, count)).collect();
    took.sort_unstable();
    println!(
        "{count} nodes: median {} ms, worst {} ms",
        took[took.len() / 2] / MS,
        took[took.len() - 1] / MS
    );
}

#[test]
fn one_node_survives_chaos() {
    check_all(1);
}

#[test]
fn two_nodes_survive_chaos() {
    check_all(2);
}

#[test]
fn three_nodes_survive_chaos() {
    check_all(3);
}

#[test]
fn four_nodes_survive_chaos() {
    check_all(4);
}

#[test]
fn five_nodes_survive_chaos() {
    check_all(5);
}

#[test]
fn a_run_can_be_replayed_from_its_seed() {
    let transcript = |seed| {
        let mut sim = Sim::new(seed, 3, &[], &[]);
        sim.invariants.transcript = Some(Vec::new());
        run_chaos(&mut sim);
        sim.invariants.transcript.take().unwrap()
    };
    assert_eq!(transcript(7), transcript(7));
    assert_ne!(transcript(7), transcript(8));
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let mut broken = 0;
    for seed in 0..200 {
        let mut sim = Sim::new(seed, 3, &[], &[]);
        sim.lying_disk = true;
        run_chaos(&mut sim);
        let violations = &sim.invariants.violations;
        broken += usize::from(violations.iter().any(|text| text.contains("never decreases")));
    }
    assert!(broken > 20, "only {broken} of 200 seeds noticed");
}
