//! Many seeds of everything at once, and then peace: nothing may break, a leader must come, and
//! every client must have been told the truth.

use rand::RngExt;
use serde_json::{Value, json};
use usurper_history::NodeId;
use usurper_node::protocol::SessionOp;

use super::{
    chaos::{halves, seeds},
    raft_invariants::{COUNTER, LIST},
    raft_sim::Sim,
    sim::MS,
};

/// How many seeds each test runs.
const SEEDS: u64 = 150;

/// Between two faults in chaos.
const PAUSE_MAX_MS: u64 = 700;

/// How long a healed cluster may take: what `usurper_node` says it may.
fn leader_bound(sim: &Sim) -> u64 {
    let params = &sim.nodes.values().next().unwrap().setup.params;
    usurper_node::system("raft").unwrap().timing(params).unwrap().leader_bound_ns
}

/// A client with a session that sends an operation again until it is answered.
#[derive(Default)]
struct Persistent {
    session: Option<u64>,
    serial: u64,
    open: Option<(u64, u64)>,
    registering: Option<u64>,
}

/// Values of the persistent client; the others are below.
const PERSISTENT: u64 = 1_000_000;

impl Persistent {
    fn act(&mut self, sim: &mut Sim) {
        let target = server(sim);
        let Some(id) = self.session else {
            let answer = self.registering.and_then(|asked| sim.replies.remove(&asked));
            self.session = answer.filter(|it| it.ok).and_then(|it| it.value?.as_u64());
            self.registering = Some(sim.ask(target, "register", "", None, None));
            return;
        };
        if let Some((asked, _)) = self.open
            && sim.replies.get(&asked).is_some_and(|reply| reply.ok)
        {
            self.open = None;
        }
        if self.open.is_none() {
            self.serial += 1;
        }
        let value = PERSISTENT + self.serial;
        let session = Some(SessionOp { id, serial: self.serial });
        let asked = sim.ask(target, "append", LIST, Some(json!(value)), session);
        self.open = Some((asked, value));
    }
}

pub(crate) fn run_chaos(sim: &mut Sim) {
    sim.loss = [0, 0, 20, 150][sim.rng.random_range(0..4)];
    sim.late = [0, 20, 100][sim.rng.random_range(0..3)];
    sim.doubled = [0, 30, 200][sim.rng.random_range(0..3)];
    sim.crash = [0, 0, 5][sim.rng.random_range(0..3)];
    let mut persistent = Persistent::default();
    for id in sim.ids() {
        let wait = sim.rng.random_range(0..100 * MS);
        sim.run_for(wait);
        sim.start(id);
    }
    let mut appended = 0;
    for _ in 0..sim.rng.random_range(8..30) {
        let wait = sim.rng.random_range(MS..PAUSE_MAX_MS * MS);
        sim.run_for(wait);
        fault(sim);
        for _ in 0..sim.rng.random_range(0..6) {
            let id = server(sim);
            match sim.rng.random_range(0..sim.operations) {
                0 | 1 => {
                    appended += 1;
                    sim.ask(id, "append", LIST, Some(json!(appended)), None);
                }
                2 => _ = sim.ask(id, "advance", COUNTER, Some(json!(1)), None),
                3 => _ = sim.ask(id, "read", COUNTER, None, None),
                4 => persistent.act(sim),
                _ => reconfigure(sim, id),
            }
            let wait = sim.rng.random_range(0..10 * MS);
            sim.run_for(wait);
        }
    }
}

/// Asks for another configuration: one node more or less, or any.
fn reconfigure(sim: &mut Sim, server: NodeId) {
    let node = sim.pick();
    let ids = sim.ids();
    let some: Vec<_> = ids.into_iter().filter(|_| sim.rng.random_bool(0.5)).collect();
    let value = match sim.rng.random_range(0..6) {
        0 | 1 => json!({ "add": [node] }),
        2 => json!({ "remove": [node] }),
        3 => json!({ "learn": [node] }),
        4 => json!({ "voters": some }),
        _ => json!({ "add": some, "remove": [node], "joint": true }),
    };
    sim.ask(server, "reconfigure", "", Some(value), None);
}

/// Often whoever leads, or thinks so.
fn server(sim: &mut Sim) -> NodeId {
    let any = sim.pick();
    let leader = sim.leaders().last().copied();
    leader.filter(|_| sim.rng.random_bool(0.7)).unwrap_or(any)
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
        7 => _ = sim.cut.insert((id, other)),
        8 => sim.isolate(id),
        9 => sim.cut.extend(halves(&sim.ids(), &mut sim.rng)),
        10 | 11 => sim.cut.clear(),
        _ => {
            let server = server(sim);
            sim.ask(server, "transfer", "", Some(json!(other)), None);
        }
    }
}

/// Heals everything. Returns how long it took until all follow one leader for good.
pub(crate) fn run_peace(sim: &mut Sim) -> Result<u64, String> {
    (sim.loss, sim.late, sim.doubled, sim.crash) = (0, 0, 0, 0);
    sim.cut.clear();
    for id in sim.ids() {
        sim.start(id);
        sim.resume(id);
    }
    let healed = sim.now;
    let bound = leader_bound(sim);
    if !sim.run_until_or(healed + bound, |sim| sim.common_leader().is_some()) {
        return Err(format!("no common leader: {}", sim.describe()));
    }
    let took = sim.now - healed;
    // A late message of the time before may still arrive and depose this one.
    sim.run_for(bound);
    let Some((leader, term)) = sim.common_leader() else {
        return Err(format!("the leader did not last: {}", sim.describe()));
    };
    let asked = sim.ask(leader, "read", LIST, None, None);
    sim.run_for(2_000 * MS);
    if sim.common_leader() != Some((leader, term)) {
        return Err(format!("{leader} did not last: {}", sim.describe()));
    }
    let Some(list) = sim.replies.remove(&asked).filter(|reply| reply.ok) else {
        return Err(format!("{leader} answers no read"));
    };
    check_promises(sim, &list.value.unwrap())?;
    let commit = sim.raft(leader).unwrap().commit();
    let behind = sim.members().into_iter().find(|id| sim.raft(*id).unwrap().commit() != commit);
    behind.map_or(Ok(took), |id| Err(format!("{id} is behind: {}", sim.describe())))
}

/// Acknowledged once and for all; refused and never done; sent twice and done once.
fn check_promises(sim: &Sim, list: &Value) -> Result<(), String> {
    let list: Vec<_> =
        list.as_array().into_iter().flatten().map(|value| value.as_u64().unwrap()).collect();
    for value in &sim.invariants.done {
        if !list.contains(value) {
            return Err(format!("{value} was acknowledged and is lost"));
        }
    }
    for (place, value) in list.iter().enumerate() {
        if list[..place].contains(value) {
            return Err(format!("{value} was appended twice"));
        }
        if *value < PERSISTENT && sim.invariants.refused.contains(value) {
            return Err(format!("{value} was refused and appended"));
        }
    }
    Ok(())
}

#[track_caller]
fn check(seed: u64, count: u8, params: &[(&str, &str)]) -> (u64, usize, usize) {
    let mut sim = Sim::new(seed, count, &[], params);
    check_run(&mut sim, seed)
}

#[track_caller]
fn check_run(sim: &mut Sim, seed: u64) -> (u64, usize, usize) {
    let count = sim.ids().len();
    run_chaos(sim);
    let peace = run_peace(sim);
    let replay =
        format!("replay: USURPER_SIM_SEED={seed} cargo test -p usurper-node --test it raft_chaos");
    let violations = &sim.invariants.violations;
    assert!(violations.is_empty(), "seed {seed}, {count} nodes: {violations:#?}\n{replay}");
    match peace {
        Ok(took) => (took, sim.invariants.done.len(), sim.invariants.elections),
        Err(error) => panic!("seed {seed}, {count} nodes: {error}\n{replay}"),
    }
}

fn check_all(count: u8, params: &[(&str, &str)]) {
    let runs: Vec<_> = seeds(SEEDS).map(|seed| check(seed, count, params)).collect();
    let mut took: Vec<_> = runs.iter().map(|run| run.0).collect();
    took.sort_unstable();
    println!(
        "{count} nodes: median {} ms, worst {} ms, {} appends acknowledged, {} elections",
        took[took.len() / 2] / MS,
        took[took.len() - 1] / MS,
        runs.iter().map(|run| run.1).sum::<usize>(),
        runs.iter().map(|run| run.2).sum::<usize>()
    );
}

#[test]
fn one_node_survives_chaos() {
    check_all(1, &[]);
}

#[test]
fn two_nodes_survive_chaos() {
    check_all(2, &[]);
}

#[test]
fn three_nodes_survive_chaos() {
    check_all(3, &[]);
}

#[test]
fn four_nodes_survive_chaos() {
    check_all(4, &[("reads", "log")]);
}

#[test]
fn five_nodes_survive_chaos() {
    check_all(5, &[("batch", "1")]);
}

#[test]
fn leases_survive_chaos() {
    check_all(3, &[("reads", "lease")]);
    check_all(5, &[("reads", "lease"), ("prevote", "false")]);
}

#[test]
fn plain_raft_survives_chaos() {
    check_all(3, &[("prevote", "false"), ("check-quorum", "false")]);
}

#[test]
fn prevote_alone_survives_chaos() {
    check_all(3, &[("check-quorum", "false")]);
}

#[test]
fn check_quorum_alone_survives_chaos() {
    check_all(3, &[("prevote", "false")]);
}

#[test]
fn a_follower_catches_up_with_values_that_fill_many_frames() {
    let mut sim = Sim::new(1, 3, &[], &[]);
    sim.start_all();
    assert!(sim.run_until_or(5_000 * MS, |sim| sim.common_leader().is_some()));
    let (leader, _) = sim.common_leader().unwrap();
    let behind = sim.ids().into_iter().find(|id| *id != leader).unwrap();
    sim.kill(behind, false);
    let value = "x".repeat((1 << 20) - 2);
    let asked: Vec<_> =
        (0..12).map(|_| sim.ask(leader, "write", "big", Some(json!(value)), None)).collect();
    sim.run_for(1_000 * MS);
    assert!(asked.iter().all(|asked| sim.replies[asked].ok));
    let longer = sim.ask(leader, "write", "big", Some(json!("x".repeat(1 << 20))), None);
    sim.start(behind);
    sim.run_for(2_000 * MS);
    assert!(!sim.replies[&longer].ok);
    assert_eq!(sim.raft(behind).unwrap().value("big"), json!(value));
}

/// A snapshot every few entries, so that whoever was away needs one.
const SNAPSHOTS: [(&str, &str); 2] = [("snapshot-after", "4"), ("snapshot-keep", "2")];

#[test]
fn snapshots_survive_chaos() {
    let mut installed = 0;
    for seed in seeds(SEEDS) {
        let mut sim = Sim::new(seed, 3, &[], &SNAPSHOTS);
        check_run(&mut sim, seed);
        installed += sim.invariants.installed;
    }
    println!("{installed} snapshots installed");
    assert!(installed > seeds(SEEDS).count() / 10, "only {installed} snapshots");
}

#[test]
fn a_changing_configuration_in_snapshots_survives_chaos() {
    let mut installed = 0;
    for seed in seeds(SEEDS) {
        let members = ["n1", "n1,n2", "n1,n2,n3"][usize::try_from(seed % 3).unwrap()];
        let mut params = SNAPSHOTS.to_vec();
        params.push(("initial-members", members));
        let mut sim = Sim::new(seed, 5, &[], &params);
        sim.operations = 7;
        check_run(&mut sim, seed);
        installed += sim.invariants.installed;
    }
    println!("{installed} snapshots installed");
    assert!(installed > seeds(SEEDS).count() / 10, "only {installed} snapshots");
}

/// The state is longer than a message may be.
#[test]
fn a_long_snapshot_comes_in_pieces_in_spite_of_losses() {
    let mut sim = Sim::new(1, 3, &[], &[("snapshot-after", "10"), ("snapshot-keep", "0")]);
    sim.start_all();
    assert!(sim.run_until_or(5_000 * MS, |sim| sim.common_leader().is_some()));
    let (leader, _) = sim.common_leader().unwrap();
    let behind = sim.ids().into_iter().find(|id| *id != leader).unwrap();
    sim.kill(behind, false);
    let value = "x".repeat((1 << 20) - 2);
    for index in 0..9 {
        sim.ask(leader, "write", &format!("big{index}"), Some(json!(value)), None);
    }
    sim.run_for(1_000 * MS);
    assert!(sim.raft(leader).unwrap().base().index >= 10);
    sim.loss = 100;
    sim.start(behind);
    sim.run_for(20_000 * MS);
    assert_eq!(sim.invariants.installed, 1);
    assert_eq!(sim.raft(behind).unwrap().value("big0"), json!(value));
    assert_eq!(sim.invariants.violations, [""; 0]);
}

#[test]
fn a_changing_configuration_survives_chaos() {
    let mut changes = 0;
    for seed in seeds(SEEDS) {
        let members = ["n1", "n1,n2", "n1,n2,n3"][usize::try_from(seed % 3).unwrap()];
        let mut sim = Sim::new(seed, 5, &[], &[("initial-members", members)]);
        sim.operations = 7;
        check_run(&mut sim, seed);
        changes += sim.invariants.configs.len();
    }
    println!("{changes} committed configurations");
    assert!(changes > seeds(SEEDS).count(), "only {changes} changes");
}

/// In the middle of an upgrade, or for ever.
#[test]
fn nodes_with_different_settings_survive_chaos() {
    for seed in seeds(SEEDS) {
        let mut sim = Sim::new(seed, 5, &[], &[("prevote", "false")]);
        // The bound is that of the first node's settings.
        for id in sim.ids().into_iter().skip(1) {
            let [prevote, check_quorum, lease] = [0; 3].map(|_| sim.rng.random_bool(0.5));
            // A node without both of the first never answers a leader of a lower term, because its
            // own campaign would depose it; one that has the lease of others would not hear of it.
            let prevote = prevote || !check_quorum;
            let settings = [("prevote", prevote), ("check-quorum", check_quorum), ("lease", lease)];
            for (name, on) in settings {
                sim.set_param(id, name, if on { "true" } else { "false" });
            }
        }
        check_run(&mut sim, seed);
    }
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
    for seed in 0..40 {
        let mut sim = Sim::new(seed, 3, &[], &[]);
        sim.lying_disk = true;
        run_chaos(&mut sim);
        broken += usize::from(!sim.invariants.violations.is_empty());
    }
    assert!(broken > 30, "only {broken} of 40 seeds noticed");
}
