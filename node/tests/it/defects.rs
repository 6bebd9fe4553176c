//! Each defect breaks what it says it breaks, and only when it is on.

use usurper_history::{Event, NodeId, Role, frame::Kind};
use usurper_node::{protocol::Protocol, systems};

use super::{
    chaos::{run_chaos, run_peace},
    sim::{MS, Sim},
};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn started(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    sim
}

/// Ten seconds of a leader that nobody disturbs: how often was one elected?
fn elections_in_peace(defects: &[&str]) -> usize {
    let mut sim = started(defects);
    sim.run_until(11_000 * MS);
    sim.invariants.elections
}

#[test]
fn a_leader_that_never_heartbeats_is_elected_again_and_again() {
    assert_eq!(elections_in_peace(&[]), 1);
    assert!(elections_in_peace(&["no-hb-after-elected"]) >= 5);
}

/// n1 follows n3 in a second epoch, and is restarted.
fn old_leader_restarts(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    let (first, _) = sim.common_leader().unwrap();
    sim.kill(first, false);
    sim.run_until(3_000 * MS);
    sim.start(first);
    sim.run_until(6_000 * MS);
    sim.kill(N1, false);
    sim.start(N1);
    sim.run_until(9_000 * MS);
    sim
}

#[test]
fn a_leader_by_configuration_is_a_second_one_of_its_epoch() {
    let sim = old_leader_restarts(&[]);
    assert_eq!(sim.invariants.violations, [""; 0]);
    let sim = old_leader_restarts(&["config-leader-on-boot"]);
    let broken = sim.invariants.violations.join("\n");
    assert!(broken.contains("one established leader per epoch"), "{broken}");
}

/// A heartbeat of n3 is under way to n1 while n3 dies and n2 comes to lead.
fn late_heartbeat(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    assert_eq!(sim.common_leader(), Some((N3, 1)));
    sim.hold(N3, N1, &[Kind::Heartbeat]);
    sim.run_until(1_250 * MS);
    sim.kill(N3, false);
    sim.run_until(3_000 * MS);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N2, 2)));
    sim.release();
    sim.run_until(3_010 * MS);
    sim
}

#[test]
fn a_heartbeat_from_anyone_makes_a_stale_leader_count() {
    let sim = late_heartbeat(&[]);
    assert_eq!(sim.invariants.violations, [""; 0]);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N2, 2)));
    let sim = late_heartbeat(&["hb-from-anyone"]);
    let broken = sim.invariants.violations.join("\n");
    assert!(broken.contains("no heartbeat below the accepted epoch is accepted"), "{broken}");
}

/// The field failure: the configured leader n1 is killed, n3 is elected, n1 is started again.
/// Returns who sent and whose heartbeats n2 took in the last second of ten.
fn configured_leader_returns(defects: &[&str]) -> (Vec<NodeId>, Vec<NodeId>) {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    // Without the defect nobody leads by configuration: kill whoever does.
    let (first, _) = sim.common_leader().unwrap();
    assert_eq!(first == N1, !defects.is_empty());
    sim.kill(first, false);
    sim.run_until(3_000 * MS);
    sim.start(first);
    sim.run_until(12_000 * MS);
    sim.invariants.heartbeats.clear();
    sim.run_until(13_000 * MS);
    let select = |wanted: &str| {
        let mut nodes: Vec<_> = sim
            .invariants
            .heartbeats
            .iter()
            .filter_map(|(node, event)| match event {
                Event::Heartbeat { dir, leader, .. } if dir == wanted => {
                    (wanted == "sent" || *node == N2).then_some(*leader)
                }
                _ => None,
            })
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    };
    (select("sent"), select("accepted"))
}

#[test]
fn with_both_defects_two_leaders_go_on_for_ever() {
    let (sent, _) = configured_leader_returns(&[]);
    assert_eq!(sent.len(), 1);
    let both = ["config-leader-on-boot", "hb-from-anyone"];
    let (sent, accepted) = configured_leader_returns(&both);
    assert_eq!((sent, accepted), (vec![N1, N3], vec![N1, N3]));
}

#[test]
fn no_pair_of_defects_crashes_a_node() {
    let names: Vec<_> = systems()[0].defects.iter().map(|defect| defect.name).collect();
    for (place, one) in names.iter().enumerate() {
        for other in &names[place..] {
            for seed in 0..4 {
                let mut sim = Sim::new(seed, 3, &[one, other], &[]);
                run_chaos(&mut sim);
                // Whether it finds peace is not the point here.
                let _peace = run_peace(&mut sim);
            }
        }
    }
    for seed in 0..20 {
        let mut sim = Sim::new(seed, 3, &names, &[]);
        run_chaos(&mut sim);
        let _peace = run_peace(&mut sim);
    }
}

#[test]
fn a_defect_that_is_off_is_never_hit() {
    let mut sim = Sim::new(3, 3, &[], &[]);
    run_chaos(&mut sim);
    assert!(sim.invariants.defect_hits.is_empty());
}

#[test]
fn the_listed_events_are_those_that_come() {
    let mut names: Vec<_> = vec!["conn", "failpoint"]; // of the shell
    for defects in [&[][..], &["config-leader-on-boot"]] {
        let mut sim = Sim::new(1, 3, defects, &[]);
        run_chaos(&mut sim);
        names.extend(&sim.invariants.names);
    }
    names.sort_unstable();
    names.dedup();
    let mut listed = systems()[0].events.to_vec();
    listed.sort_unstable();
    assert_eq!(names, listed);
}

// Elections.

/// F-092: n2 has won with n1's vote, but n1 still waits for a better one when it hears of n3, and
/// helps it to win the same round.
fn two_winners(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.set_param(N1, "finalize-wait", "1s");
    sim.set_param(N2, "down-after", "2s");
    sim.isolate(N3);
    sim.start_all();
    assert!(sim.run_until_or(400 * MS, |sim| sim.fle(N2).unwrap().envelope().1 == Role::Leader));
    sim.cut.clear();
    sim.part(N2, N3);
    sim.connect(N1, N3);
    sim.run_until(1_000 * MS);
    sim.cut.clear();
    sim.connect(N2, N3);
    sim.run_until(4_000 * MS);
    sim
}

#[test]
fn leading_on_votes_alone_makes_two_leaders_of_one_epoch() {
    let sim = two_winners(&[]);
    assert_eq!(sim.invariants.violations, [""; 0]);
    assert!(sim.common_leader().is_some());
    let broken = two_winners(&["lead-on-votes-alone"]).invariants.violations.join("\n");
    assert!(broken.contains("one established leader per epoch"), "{broken}");
}

/// F-054: n1 has the longer log, of an older epoch than n2 was in.
fn old_tail_returns(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.set_param(N1, "initial-zxid", "9");
    sim.start_all();
    sim.run_until(1_000 * MS);
    assert_eq!(sim.common_leader(), Some((N1, 1)));
    sim.kill(N1, false);
    sim.run_until(3_000 * MS);
    assert_eq!(sim.fle(N2).unwrap().leader(), Some((N3, 2)));
    sim.kill(N3, false);
    sim.start(N1);
    sim.run_until(13_000 * MS);
    sim
}

#[test]
fn an_order_by_zxid_alone_elects_one_that_cannot_lead() {
    assert_eq!(old_tail_returns(&[]).fle(N1).unwrap().leader(), Some((N2, 3)));
    let sim = old_tail_returns(&["zxid-only-order"]);
    assert_eq!((sim.fle(N1).unwrap().leader(), sim.fle(N2).unwrap().leader()), (None, None));
    assert!(sim.fle(N1).unwrap().round() > 5, "{}", sim.describe());
}

#[test]
fn without_a_tiebreak_equal_candidates_never_agree() {
    let sim = started(&["no-id-tiebreak"]);
    assert_eq!((started(&[]).common_leader(), sim.common_leader()), (Some((N3, 1)), None));
    assert_eq!(elections_in_peace(&["no-id-tiebreak"]), 0);
}

/// F-081: the node of the highest rank is dead.
fn highest_dies(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.kill(N3, false);
    sim.run_until(12_000 * MS);
    sim
}

#[test]
fn a_static_priority_elects_the_dead() {
    assert_eq!(highest_dies(&[]).fle(N1).unwrap().leader(), Some((N2, 2)));
    assert_eq!(highest_dies(&["static-priority-election"]).fle(N1).unwrap().leader(), None);
}

/// F-043: every follower is restarted in turn before anybody has missed the dead leader.
fn rolling_restart_after_a_death(defects: &[&str]) -> Sim {
    let params = [("down-after", "2s"), ("init-limit", "2s")];
    let mut sim = Sim::new(1, 5, defects, &params);
    sim.start_all();
    sim.run_until(1_000 * MS);
    assert_eq!(sim.common_leader(), Some((NodeId(5), 1)));
    sim.kill(NodeId(5), false);
    for id in NodeId::all(4) {
        sim.kill(id, false);
        sim.start(id);
        sim.run_until(sim.now + 200 * MS);
    }
    sim.run_until(20_000 * MS);
    sim
}

#[test]
fn without_the_leaders_own_word_a_dead_leader_is_joined_for_ever() {
    let sim = rolling_restart_after_a_death(&[]);
    // One of the living: n4 was restarted last, and may have missed the election.
    let (leader, epoch) = sim.fle(N1).unwrap().leader().unwrap();
    assert!(leader < NodeId(5) && epoch == 2, "{leader} leads {epoch}");
    let sim = rolling_restart_after_a_death(&["no-check-leader"]);
    let led = NodeId::all(4).filter(|id| sim.fle(*id).unwrap().leader().is_some());
    assert_eq!(led.count(), 0, "{}", sim.describe());
}

/// F-045: n1 joined the leader of round 1 in a later round; then n2 looks for a leader.
fn member_of_another_round(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.kill(N1, false);
    sim.hold(N3, N1, &[Kind::LeaderInfo, Kind::Heartbeat]);
    sim.start(N1);
    // It decides for n3, hears nothing more, and looks again.
    assert!(sim.run_until_or(4_000 * MS, |sim| sim.fle(N1).unwrap().round() == 2));
    sim.release();
    assert!(
        sim.run_until_or(5_000 * MS, |sim| sim.fle(N1).unwrap().leader() == Some((N3, 1))),
        "{}",
        sim.describe()
    );
    sim.kill(N2, false);
    sim.start(N2);
    sim.run_until(15_000 * MS);
    sim
}

#[test]
fn a_full_comparison_of_settled_votes_keeps_a_node_out() {
    let sim = member_of_another_round(&[]);
    assert_eq!(sim.fle(N2).unwrap().leader(), Some((N3, 1)));
    let sim = member_of_another_round(&["settled-vote-full-compare"]);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N3, 1)));
    assert_eq!(sim.fle(N2).unwrap().leader(), None);
}

/// F-031: n4 is no member, and on the side of n3.
fn halves_with_a_stranger(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 4, defects, &[("members", "n1,n2,n3")]);
    sim.set_param(N3, "initial-zxid", "5");
    for one in [N1, N2] {
        for other in [N3, NodeId(4)] {
            sim.part(one, other);
        }
    }
    sim.start_all();
    sim.run_until(3_000 * MS);
    sim
}

#[test]
fn a_vote_of_a_stranger_makes_a_second_quorum() {
    let sim = halves_with_a_stranger(&[]);
    assert_eq!((sim.fle(N1).unwrap().leader(), sim.invariants.elections), (Some((N2, 1)), 1));
    let broken = halves_with_a_stranger(&["non-member-votes-counted"]).invariants.violations;
    let broken = broken.join("\n");
    assert!(broken.contains("one established leader per epoch"), "{broken}");
}

// Silence.

/// B5: n1 was restarted and cannot join when n3 dies.
fn second_death(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.kill(N1, false);
    sim.cut.insert((N3, N1));
    sim.start(N1);
    sim.run_until(1_300 * MS);
    sim.kill(N3, false);
    sim.run_until(15_000 * MS);
    sim
}

#[test]
fn a_prevote_that_ignores_looking_nodes_waits_for_ever() {
    assert_eq!(second_death(&[]).fle(N2).unwrap().leader(), Some((N2, 2)));
    let sim = second_death(&["prevote-ignores-looking"]);
    assert_eq!(sim.fle(N2).unwrap().leader(), Some((N3, 1)));
    assert_eq!(sim.fle(N1).unwrap().leader(), None);
}

/// F-035: two of five lose the leader for as long as it likes, the others do not.
fn two_of_five_lose_the_leader(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 5, defects, &[]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    sim.part(NodeId(5), N1);
    sim.part(NodeId(5), N2);
    sim.run_until(5_000 * MS);
    sim
}

#[test]
fn a_small_odown_quorum_and_blind_trust_depose_a_healthy_leader() {
    let (small, blind) = ("odown-quorum-below-majority", "odown-trusted-blindly");
    // Each of the two is held by the other lock.
    for harmless in [&[][..], &[small], &[blind]] {
        assert_eq!(two_of_five_lose_the_leader(harmless).invariants.elections, 1, "{harmless:?}");
    }
    assert!(two_of_five_lose_the_leader(&[small, blind]).invariants.elections > 1);
}

/// F-035: each of three nodes loses the leader for a while, one after the other.
fn one_after_the_other_loses_the_leader(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 5, defects, &[]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    for id in [N1, N2, N3] {
        sim.part(NodeId(5), id);
        sim.run_until(sim.now + 1_000 * MS);
        sim.cut.clear();
        sim.run_until(sim.now + 1_000 * MS);
    }
    sim
}

#[test]
fn reports_that_never_expire_add_up() {
    let (old, blind) = ("sdown-reports-never-expire", "odown-trusted-blindly");
    for harmless in [&[][..], &[old], &[blind]] {
        let sim = one_after_the_other_loses_the_leader(harmless);
        assert_eq!(sim.invariants.elections, 1, "{harmless:?}");
    }
    assert!(one_after_the_other_loses_the_leader(&[old, blind]).invariants.elections > 1);
}

/// F-066: a stopped leader keeps its connections.
fn stopped_leader(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.pause(N3);
    sim.run_until(12_000 * MS);
    sim
}

#[test]
fn a_failure_detector_of_connections_alone_misses_a_stopped_leader() {
    assert_eq!(stopped_leader(&[]).fle(N1).unwrap().leader(), Some((N2, 2)));
    let sim = stopped_leader(&["fin-only-failure-detection"]);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N3, 1)));
}

/// F-065: the leader is back before anybody missed it.
fn leader_restarts_at_once(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[("notify-max", "300ms")]);
    sim.start_all();
    sim.run_until(1_000 * MS);
    sim.kill(N3, false);
    sim.start(N3);
    sim.run_until(12_000 * MS);
    sim
}

#[test]
fn a_leaders_connection_is_no_heartbeat() {
    assert!(leader_restarts_at_once(&[]).common_leader().is_some());
    assert_eq!(leader_restarts_at_once(&["tcp-alive-is-leader-alive"]).common_leader(), None);
}

// Leaders.

/// F-065: n3 has accepted an epoch for itself that nobody else heard of, and dies.
fn proposer_returns(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.start_all();
    // All have voted, and wait for a better vote.
    sim.run_until(150 * MS);
    sim.cut.extend([(N3, N1), (N3, N2)]);
    assert!(sim.run_until_or(500 * MS, |sim| sim.fle(N3).unwrap().accepted_epoch() == 1));
    sim.kill(N3, false);
    sim.cut.clear();
    sim.run_until(4_000 * MS);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N2, 1)));
    sim.start(N3);
    sim.run_until(6_000 * MS);
    sim
}

#[test]
fn a_leadership_from_the_disk_is_a_second_one() {
    let sim = proposer_returns(&[]);
    assert_eq!((sim.common_leader(), sim.invariants.elections), (Some((N2, 1)), 1));
    let broken = proposer_returns(&["resume-as-leader"]).invariants.violations.join("\n");
    assert!(broken.contains("one established leader per epoch"), "{broken}");
}

/// F-010: n1 accepts an epoch for n3 and loses its power; then n2 needs it.
fn power_fails_after_an_acceptance(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.part(N2, N3);
    sim.hold(N1, N3, &[Kind::EpochAck]);
    sim.start(N1);
    sim.start(N3);
    assert!(sim.run_until_or(900 * MS, |sim| sim.fle(N1).unwrap().accepted_epoch() == 1));
    sim.release();
    sim.part(N1, N3);
    sim.run_until(sim.now + 20 * MS);
    sim.kill(N1, true);
    sim.start(N1);
    sim.start(N2);
    sim.run_until(4_000 * MS);
    sim
}

#[test]
fn an_acceptance_that_was_not_synced_is_given_twice() {
    let sim = power_fails_after_an_acceptance(&[]);
    assert_eq!(sim.invariants.violations, [""; 0]);
    assert_eq!(sim.fle(N1).unwrap().leader(), Some((N2, 2)));
    let sim = power_fails_after_an_acceptance(&["accepted-epoch-not-synced"]);
    let broken = sim.invariants.violations.join("\n");
    assert!(broken.contains("one established leader per epoch"), "{broken}");
}

/// F-035: the leader is cut off for good.
fn minority_leader(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.isolate(N3);
    sim.run_until(5_000 * MS);
    sim
}

#[test]
fn a_leader_without_a_fence_leads_nobody_for_ever() {
    let sim = minority_leader(&[]);
    assert_eq!(
        (sim.fle(N3).unwrap().leader(), sim.fle(N1).unwrap().leader()),
        (None, Some((N2, 2)))
    );
    let sim = minority_leader(&["no-leader-self-fence"]);
    assert_eq!(sim.fle(N3).unwrap().leader(), Some((N3, 1)));
}

/// F-056: a heartbeat of n3's first epoch is under way to n1 while n3 is deposed and elected again.
fn heartbeat_of_an_earlier_reign(defects: &[&str]) -> Sim {
    let mut sim = started(defects);
    sim.hold(N3, N1, &[Kind::Heartbeat]);
    sim.run_until(1_250 * MS);
    sim.pause(N3);
    assert!(sim.run_until_or(3_000 * MS, |sim| sim.fle(N1).unwrap().leader() == Some((N2, 2))));
    sim.resume(N3);
    assert!(sim.run_until_or(6_000 * MS, |sim| sim.common_leader() == Some((N2, 2))));
    sim.kill(N2, false);
    assert!(
        sim.run_until_or(9_000 * MS, |sim| sim.fle(N3).unwrap().leader() == Some((N3, 3))),
        "{}",
        sim.describe()
    );
    sim.release();
    sim.run_until(sim.now + 10 * MS);
    sim
}

#[test]
fn a_heartbeat_without_an_epoch_may_be_of_an_earlier_reign() {
    let sim = heartbeat_of_an_earlier_reign(&[]);
    assert_eq!(sim.invariants.violations, [""; 0]);
    let sim = heartbeat_of_an_earlier_reign(&["no-epoch-in-heartbeat"]);
    let broken = sim.invariants.violations.join("\n");
    assert!(broken.contains("no heartbeat below the accepted epoch is accepted"), "{broken}");
}

// Corrections.

/// B4-e: the configured leader n1 dies, n3 is elected, n1 returns; then n2 is restarted.
fn rolling_restart_with_corrections(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[]);
    sim.set_param(N1, "initial-zxid", "5");
    sim.start_all();
    sim.run_until(1_000 * MS);
    assert_eq!(sim.common_leader(), Some((N1, 1)));
    for id in [N1, N2] {
        sim.kill(id, false);
        sim.run_until(sim.now + if id == N1 { 2_000 * MS } else { 100 * MS });
        sim.start(id);
        sim.run_until(sim.now + 2_000 * MS);
    }
    sim
}

#[test]
fn neither_one_correction_nor_a_majority_of_them_says_who_leads() {
    assert_eq!(rolling_restart_with_corrections(&[]).invariants.elections, 2);
    for rule in ["correction-single", "correction-majority-cumulative"] {
        let sim = rolling_restart_with_corrections(&["config-leader-on-boot", rule]);
        assert!(sim.invariants.defect_hits.contains(rule));
        let deposed = sim.invariants.yielded.contains(&N3);
        assert!(deposed, "{rule}: the elected leader kept its role: {}", sim.describe());
    }
}
