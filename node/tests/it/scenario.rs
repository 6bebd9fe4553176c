//! The catalogue's step lists for `fle`, with every defect off: each must end well.

use usurper_history::{Event, NodeId, frame::Kind};

use super::sim::{MS, Sim};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const N4: NodeId = NodeId(4);
const N5: NodeId = NodeId(5);

fn sim(count: u8) -> Sim {
    Sim::new(1, count, &[], &[])
}

fn started(count: u8) -> Sim {
    let mut sim = sim(count);
    sim.start_all();
    sim.run_until(1_000 * MS);
    assert_eq!(sim.common_leader(), Some((NodeId(count), 1)));
    sim
}

fn leader(sim: &Sim, id: NodeId) -> Option<(NodeId, u64)> {
    sim.fle(id).and_then(|fle| fle.leader())
}

#[track_caller]
fn check(sim: &Sim) {
    assert_eq!(sim.invariants.violations, [""; 0]);
}

#[test]
fn a_cold_cluster_has_a_leader_well_within_a_second() {
    for count in 1..=21 {
        let mut sim = sim(count);
        sim.start_all();
        let found = sim.run_until_or(500 * MS, |sim| sim.common_leader().is_some());
        assert!(found, "{count} nodes: {}", sim.describe());
    }
}

#[test]
fn nodes_need_not_start_together() {
    let mut sim = sim(3);
    sim.start(N1);
    sim.run_until(10_000 * MS);
    sim.start(N2);
    assert!(sim.run_until_or(11_000 * MS, |sim| leader(sim, N1) == Some((N2, 1))));
    sim.run_until(20_000 * MS);
    sim.start(N3);
    // The better candidate comes late, and joins.
    assert!(sim.run_until_or(20_500 * MS, |sim| sim.common_leader() == Some((N2, 1))));
    check(&sim);
}

#[test]
fn the_freshest_node_wins_not_the_highest_id() {
    let mut sim = sim(3);
    sim.start(N1);
    sim.advance(N1, 5);
    sim.start_all();
    sim.run_until(1_000 * MS);
    assert_eq!(sim.common_leader(), Some((N1, 1)));
}

/// F-092: n2 has won with n1's vote, but n1 still waits for a better one when it hears of n3,
/// and helps it to win the same round.
#[test]
fn two_winners_of_one_round_make_one_leader() {
    let mut sim = sim(3);
    sim.set_param(N1, "finalize-wait", "1500ms");
    sim.part(N3, N1);
    sim.part(N3, N2);
    sim.start_all();
    assert!(sim.run_until_or(400 * MS, |sim| sim.invariants.winners.contains(&(N2, 1))));
    // n2 is not told that its voter moves on.
    sim.hold(N1, N2, &[Kind::Notification]);
    sim.cut.remove(&(N3, N1));
    sim.cut.remove(&(N1, N3));
    assert!(sim.run_until_or(1_200 * MS, |sim| sim.invariants.winners.contains(&(N3, 1))));
    sim.cut.clear();
    sim.release();
    sim.run_until(4_000 * MS);
    // n2 never had a quorum that accepted its epoch.
    assert_eq!((sim.common_leader(), sim.invariants.elections), (Some((N3, 1)), 1));
    check(&sim);
}

/// F-008: 1, 2 and 3 are connected, 4 only to 2 and 5 only to 3, and the farther the better.
fn chained(seed: u64, defects: &[&str]) -> Sim {
    let mut sim = Sim::new(seed, 5, defects, &[]);
    sim.set_param(NodeId(4), "initial-zxid", "4");
    sim.set_param(NodeId(5), "initial-zxid", "5");
    for (one, other) in [(1, 4), (1, 5), (2, 5), (3, 4), (4, 5)] {
        sim.part(NodeId(one), NodeId(other));
    }
    sim.start_all();
    sim.run_until(6_000 * MS);
    check(&sim);
    sim
}

#[test]
fn a_candidate_that_reaches_too_few_does_not_keep_the_others_from_electing() {
    for seed in 1..=100 {
        let sim = chained(seed, &[]);
        for id in [N1, N2, N3] {
            assert!(leader(&sim, id).is_some(), "seed {seed}: {}", sim.describe());
        }
    }
    assert_eq!(leader(&chained(1, &["stands-without-quorum"]), N1), None);
}

/// A line of three: the far end is the best candidate, and led before it lost its neighbour.
#[test]
fn the_ends_of_a_line_take_turns_at_nothing() {
    for seed in 1..=50 {
        let mut sim = Sim::new(seed, 3, &[], &[]);
        sim.start_all();
        sim.run_until(1_000 * MS);
        sim.part(N1, N3);
        sim.run_until(5_000 * MS);
        // n3 is followed by n2, and n1 is told that it is.
        assert_eq!((leader(&sim, N2), leader(&sim, N1)), (Some((N3, 1)), Some((N3, 1))));
        check(&sim);
    }
}

/// Seed bug 5: the second death of a leader, right after the first one came back.
#[test]
fn a_second_leader_death_after_a_rejoin_is_survived() {
    let mut sim = started(3);
    sim.kill(N3, false);
    assert!(sim.run_until_or(2_500 * MS, |sim| leader(sim, N1) == Some((N2, 2))));
    sim.start(N3);
    sim.kill(N2, false);
    assert!(sim.run_until_or(
        4_500 * MS,
        |sim| leader(sim, N1).is_some_and(|(_, epoch)| epoch > 2)
            && leader(sim, N1) == leader(sim, N3)
    ));
    sim.start(N2);
    assert!(sim.run_until_or(6_000 * MS, |sim| sim.common_leader().is_some()));
    check(&sim);
}

/// A restarted node that cannot join counts as finding the leader down: the two survivors do not
/// wait for each other.
#[test]
fn a_looking_node_counts_as_a_report() {
    let mut sim = started(3);
    sim.kill(N1, false);
    sim.cut.insert((N3, N1));
    sim.start(N1);
    sim.run_until(1_300 * MS);
    sim.kill(N3, false);
    assert!(sim.run_until_or(3_000 * MS, |sim| leader(sim, N1) == Some((N2, 2))));
    check(&sim);
}

/// F-043: followers that have not noticed yet name a dead leader.
#[test]
fn a_late_node_does_not_join_a_dead_leader() {
    let mut sim = started(5);
    sim.kill(N1, false);
    sim.run_until(1_500 * MS);
    sim.kill(N5, false);
    sim.start(N1);
    let joined = |sim: &Sim| sim.fle(N1).is_some_and(|fle| fle.leader() == Some((N5, 1)));
    assert!(!sim.run_until_or(1_900 * MS, joined));
    assert!(sim.run_until_or(3_000 * MS, |sim| leader(sim, N1) == Some((N4, 2))));
    check(&sim);
}

/// F-065: the leader is back before anybody missed it. It must be followed by nobody meanwhile.
#[test]
fn a_leader_restarted_at_once_does_not_resume() {
    let mut sim = started(3);
    sim.kill(N3, false);
    sim.start(N3);
    assert_eq!(leader(&sim, N3), None);
    let found = |sim: &Sim| sim.common_leader().is_some_and(|(_, epoch)| epoch == 2);
    assert!(sim.run_until_or(3_000 * MS, found), "{}", sim.describe());
    check(&sim);
}

/// F-066 and F-029: a stopped leader keeps its sockets, and has a backlog when it continues.
#[test]
fn a_paused_leader_is_replaced_and_disturbs_nobody() {
    let mut sim = started(3);
    sim.pause(N3);
    assert!(sim.run_until_or(2_000 * MS, |sim| leader(sim, N1) == Some((N2, 2))));
    sim.run_until(4_000 * MS);
    sim.invariants.heartbeats.clear();
    sim.resume(N3);
    sim.run_until(5_000 * MS);
    assert_eq!(sim.common_leader(), Some((N2, 2)));
    let stale = sim.invariants.heartbeats.iter().any(|(node, event)| {
        *node == N3 && matches!(event, Event::Heartbeat { dir, .. } if dir == "sent")
    });
    assert!(!stale, "it sent a heartbeat before it knew where it stood");
    check(&sim);
}

/// F-035: the side with the majority goes on, the other falls silent, and nobody is deposed.
#[test]
fn only_the_majority_side_of_a_partition_has_a_leader() {
    let mut sim = started(5);
    for one in [N4, N5] {
        for other in [N1, N2, N3] {
            sim.part(one, other);
        }
    }
    sim.run_until(3_000 * MS);
    assert_eq!(leader(&sim, N1), Some((N3, 2)));
    assert_eq!((leader(&sim, N5), leader(&sim, N4)), (None, Some((N5, 1))));
    sim.cut.clear();
    assert!(sim.run_until_or(4_500 * MS, |sim| sim.common_leader() == Some((N3, 2))));
    check(&sim);
}

#[test]
fn a_lone_follower_raises_no_round_and_its_return_disturbs_nobody() {
    let mut sim = started(3);
    sim.isolate(N1);
    sim.run_until(10_000 * MS);
    assert_eq!((leader(&sim, N1), sim.fle(N1).unwrap().round()), (Some((N3, 1)), 1));
    sim.cut.clear();
    sim.run_until(11_000 * MS);
    assert_eq!((sim.common_leader(), sim.invariants.elections), (Some((N3, 1)), 1));
    check(&sim);
}

/// Without the prevote it leaves the leader at once. The number that it raises disturbs nobody, because
/// whoever follows answers with its settled vote.
#[test]
fn without_a_prevote_a_lone_follower_looks_and_rejoins() {
    let mut sim = Sim::new(1, 3, &[], &[("prevote", "off")]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    sim.isolate(N1);
    sim.run_until(10_000 * MS);
    assert_eq!(leader(&sim, N1), None);
    assert!(sim.fle(N1).unwrap().round() > 1);
    sim.cut.clear();
    sim.run_until(13_000 * MS);
    assert_eq!((sim.common_leader(), sim.invariants.elections), (Some((N3, 1)), 1));
    check(&sim);
}

/// F-035: what one node reported once, and another later, does not add up.
#[test]
fn reports_expire() {
    let mut sim = started(5);
    for id in [N1, N2, N3, N4] {
        sim.cut.insert((N5, id));
        let end = sim.now + 450 * MS;
        sim.run_until(end);
        // Silent for less than it takes; then for longer, but one at a time.
        sim.run_until(end + 300 * MS);
        sim.cut.clear();
        sim.run_until(end + 1_500 * MS);
    }
    assert_eq!((sim.common_leader(), sim.invariants.elections), (Some((N5, 1)), 1));
    check(&sim);
}

/// The residual loop of ZOOKEEPER-335: a node that promised a higher epoch cannot follow, so the
/// leader steps down, once.
#[test]
fn a_newcomer_with_a_higher_promise_makes_the_leader_step_down_once() {
    let mut sim = sim(3);
    // n3 wins with n2, and its proposal never arrives: n3 alone has accepted epoch 1.
    sim.start(N2);
    sim.start(N3);
    sim.cut.insert((N3, N1));
    sim.hold(N3, N2, &[Kind::LeaderInfo]);
    assert!(sim.run_until_or(1_000 * MS, |sim| sim.fle(N3).unwrap().accepted_epoch() == 1));
    sim.kill(N3, false);
    sim.kill(N2, false);
    // So it happens again, for epoch 2.
    sim.start(N2);
    sim.start(N3);
    assert!(sim.run_until_or(2_500 * MS, |sim| sim.fle(N3).unwrap().accepted_epoch() == 2));
    sim.kill(N3, false);
    sim.kill(N2, false);
    sim.release();
    sim.cut.clear();
    sim.start(N1);
    sim.start(N2);
    assert!(sim.run_until_or(4_000 * MS, |sim| leader(sim, N1) == Some((N2, 1))));
    sim.start(N3);
    assert!(
        sim.run_until_or(6_000 * MS, |sim| sim.common_leader().is_some_and(|(_, epoch)| epoch > 2))
    );
    sim.run_until(10_000 * MS);
    assert_eq!(sim.invariants.elections, 2);
    check(&sim);
}

/// F-045: members that were elected in different rounds still name one leader to a newcomer.
#[test]
fn a_newcomer_joins_members_of_different_rounds() {
    let mut sim = sim(3);
    sim.start(N1);
    sim.start(N2);
    sim.run_until(1_000 * MS);
    sim.kill(N1, false);
    sim.start(N1);
    assert!(sim.run_until_or(3_000 * MS, |sim| leader(sim, N1).is_some()));
    let before = leader(&sim, N1);
    sim.run_until(4_000 * MS);
    sim.start(N3);
    assert!(sim.run_until_or(4_500 * MS, |sim| sim.common_leader() == before));
    check(&sim);
}
