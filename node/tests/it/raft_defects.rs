//! Each defect of `raft` breaks what it says it breaks, and only when it is on.
//!
//! Each case runs the same story twice. The story fixes who campaigns when; it breaks the network
//! and the processes, never the code.

use serde_json::json;
use usurper_history::{NodeId, Role, frame::Kind};
use usurper_node::{protocol::Protocol, system};

use super::{
    raft_chaos::{run_chaos, run_peace},
    raft_sim::Sim,
    sim::MS,
};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const N4: NodeId = NodeId(4);
const T: u64 = 500 * MS;

/// A cluster whose nodes campaign after these milliseconds; n1, the first, leads it.
fn cluster(defects: &[&str], params: &[(&str, &str)], campaign_after: &[u32]) -> Sim {
    let count = u8::try_from(campaign_after.len()).unwrap();
    let mut sim = Sim::new(1, count, defects, params);
    for (id, after) in NodeId::all(count).zip(campaign_after) {
        sim.set_param(id, "campaign-after", &format!("{after}ms"));
    }
    sim.start_all();
    sim.run_for(700 * MS);
    sim
}

fn led_by_n1(defects: &[&str], params: &[(&str, &str)], campaign_after: &[u32]) -> Sim {
    let sim = cluster(defects, params, campaign_after);
    assert_eq!(sim.common_leader(), Some((N1, 1)), "{}", sim.describe());
    sim
}

#[track_caller]
fn assert_sound(sim: &Sim) {
    assert_eq!(sim.invariants.violations, [""; 0]);
}

#[track_caller]
fn assert_broken(sim: &Sim, rule: &str) {
    let broken = sim.invariants.violations.join("\n");
    assert!(broken.contains(rule), "not broken: {rule}; {broken}; {}", sim.describe());
}

/// Seed 001, scenario 1: n3 raised its term alone, and comes back.
fn higher_term_returns(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[("prevote", "false")], &[600, 900, 900]);
    sim.isolate(N3);
    sim.run_for(5 * T);
    sim.cut.clear();
    sim.run_for(10 * T);
    sim
}

#[test]
fn a_node_of_a_higher_term_returns_only_if_it_answers() {
    assert!(higher_term_returns(&[]).common_leader().is_some());
    let sim = higher_term_returns(&["no-reply-to-lower-term-leader"]);
    assert_eq!(sim.common_leader(), None, "{}", sim.describe());
    assert_eq!(sim.leaders(), [N1]);
}

/// Seed 001, scenario 3: prevote is switched on where terms and logs are ordered oppositely.
fn prevote_is_switched_on(defects: &[&str]) -> Sim {
    let plain = [("prevote", "false"), ("check-quorum", "false")];
    let mut sim = led_by_n1(defects, &plain, &[600, 1300, 800]);
    sim.isolate(N3);
    sim.ask(N1, "append", "list", Some(json!(1)), None);
    sim.run_for(100 * MS);
    sim.isolate(N2);
    sim.ask(N1, "append", "list", Some(json!(2)), None);
    sim.run_for(10 * T);
    for id in sim.ids() {
        sim.kill(id, false);
        sim.set_param(id, "prevote", "true");
        sim.set_param(id, "check-quorum", "true");
    }
    sim.cut.clear();
    sim.start_all();
    sim.run_for(20 * T);
    sim
}

#[test]
fn a_prevote_of_a_lower_term_must_be_refused_and_not_dropped() {
    let sim = prevote_is_switched_on(&[]);
    assert!(sim.common_leader().is_some(), "{}", sim.describe());
    let sim = prevote_is_switched_on(&["drop-low-term-prevote"]);
    assert!(sim.leaders().is_empty(), "{}", sim.describe());
}

#[test]
fn a_leader_that_never_speaks_is_elected_again_and_again() {
    let elections = |defects| {
        let mut sim = cluster(defects, &[], &[600, 900, 1200]);
        sim.run_for(20 * T);
        sim.invariants.elections
    };
    assert_eq!(elections(&[]), 1);
    assert!(elections(&["no-hb-after-elected"]) >= 5);
}

#[test]
fn where_only_a_newer_log_wins_nobody_does() {
    let leaders = |defects| {
        let mut sim = cluster(defects, &[], &[600, 900, 1200]);
        sim.run_for(10 * T);
        sim.leaders()
    };
    assert_eq!(leaders(&[]), [N1]);
    assert_eq!(leaders(&["vote-needs-strictly-newer"]), []);
}

/// n1 and n3 campaign in one term, and n2 votes for n1. It hears so little of n1 that it asks for
/// prevotes, twice; in between it follows n1 again. Then comes n3's request of that term.
fn late_rival(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[("check-quorum", "false"), ("prevote", "false")]);
    for (id, after) in [(N1, "10s"), (N2, "700ms"), (N3, "10s")] {
        sim.set_param(id, "campaign-after", after);
    }
    sim.set_param(N2, "prevote", "true");
    sim.part(N1, N3);
    sim.cut.extend([(N2, N1), (N2, N3)]);
    sim.hold(N3, N2, &[Kind::VoteRequest]);
    sim.hold(N1, N2, &[Kind::Append]);
    sim.start_all();
    sim.run_for(9_900 * MS);
    sim.cut.clear();
    sim.part(N1, N3);
    assert!(sim.run_until_or(10_100 * MS, |sim| sim.leaders() == [N1]));
    sim.isolate(N1);
    sim.cut.insert((N2, N3));
    let asks = |sim: &Sim| sim.raft(N2).unwrap().envelope().1 == Role::PreCandidate;
    assert!(sim.run_until_or(sim.now + 5 * T, asks));
    sim.cut.remove(&(N1, N2));
    assert!(sim.run_until_or(sim.now + T, |sim| !asks(sim)));
    sim.cut.insert((N1, N2));
    assert!(sim.run_until_or(sim.now + 5 * T, asks));
    sim.cut.remove(&(N2, N3));
    sim.release(N3, N2);
    sim.run_for(10 * MS);
    sim
}

#[test]
fn a_vote_lasts_as_long_as_its_term() {
    assert_sound(&late_rival(&[]));
    let sim = late_rival(&["vote-cleared-on-step-down"]);
    assert_broken(&sim, "a node votes once per term");
    assert_broken(&sim, "election safety");
}

/// n3 and n1 campaign in one term; n2 votes for n1, loses its power, and meets n3's request.
fn voter_loses_power(defects: &[&str]) -> Sim {
    let mut sim = Sim::new(1, 3, defects, &[("prevote", "false")]);
    for (id, after) in [(N1, "600ms"), (N2, "5s"), (N3, "600ms")] {
        sim.set_param(id, "campaign-after", after);
    }
    sim.part(N1, N3);
    sim.hold(N3, N2, &[Kind::VoteRequest]);
    // So that nothing of n1's makes the vote durable after all.
    sim.hold(N1, N2, &[Kind::Append, Kind::Heartbeat]);
    sim.start_all();
    assert!(sim.run_until_or(700 * MS, |sim| sim.leaders() == [N1]));
    sim.kill(N2, true);
    sim.isolate(N1);
    sim.start(N2);
    sim.release(N3, N2);
    sim.run_for(10 * MS);
    sim
}

#[test]
fn a_vote_must_survive_the_power() {
    assert_sound(&voter_loses_power(&[]));
    let sim = voter_loses_power(&["vote-not-synced"]);
    assert_broken(&sim, "a vote is durable before it is told");
    assert_broken(&sim, "a node votes once per term");
    assert_broken(&sim, "election safety");
}

/// Figure 8 of the thesis with three nodes. Entries travel one at a time.
fn figure_8(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[("batch", "1")], &[600, 60_000, 900]);
    // n1 has an entry that nobody else has.
    sim.isolate(N1);
    sim.ask(N1, "append", "list", Some(json!(1)), None);
    sim.run_for(MS);
    sim.kill(N1, false);
    sim.cut.clear();
    // So has n3, of a later term.
    sim.hold(N3, N2, &[Kind::Append]);
    sim.hold(N3, N1, &[Kind::Append]);
    assert!(sim.run_until_or(sim.now + 10 * T, |sim| sim.leaders() == [N3]));
    sim.kill(N3, false);
    sim.drop_held();
    // n1 leads again, and n2 gets the old entry, but not that of n1's new term.
    sim.start(N1);
    let two = |sim: &Sim| sim.raft(N2).is_some_and(|raft| raft.entries().len() == 2);
    assert!(sim.run_until_or(sim.now + 10 * T, two), "{}", sim.describe());
    sim.sever(N1, N2);
    sim.run_for(10 * MS);
    sim.kill(N1, false);
    sim.cut.clear();
    sim.start(N3);
    sim.run_for(10 * T);
    assert_eq!(sim.leaders(), [N3], "{}", sim.describe());
    sim
}

#[test]
fn an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    assert_sound(&figure_8(&[]));
    let sim = figure_8(&["commit-old-term-by-count"]);
    assert_broken(&sim, "leader completeness");
    assert_broken(&sim, "what is committed is never replaced");
}

/// n2 has a tail of its own; it hears heartbeats of a leader that committed something else.
fn divergent_tail(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[], &[600, 60_000, 900, 60_000, 60_000]);
    for id in [N3, N4, NodeId(5)] {
        sim.part(N1, id);
        sim.part(N2, id);
    }
    for value in 1..=3 {
        sim.ask(N1, "append", "list", Some(json!(value)), None);
    }
    sim.run_for(2 * T);
    sim.kill(N1, false);
    assert!(sim.run_until_or(sim.now + 10 * T, |sim| sim.leaders() == [N3]));
    for value in 4..=5 {
        sim.ask(N3, "append", "list", Some(json!(value)), None);
    }
    sim.run_for(100 * MS);
    sim.hold(N3, N2, &[Kind::Append]);
    sim.cut.clear();
    sim.run_for(T);
    sim
}

#[test]
fn a_heartbeat_commits_only_what_the_follower_has() {
    assert_sound(&divergent_tail(&[]));
    let sim = divergent_tail(&["heartbeat-full-commit"]);
    assert_broken(&sim, "what is committed is never replaced");
    assert_broken(&sim, "state machine safety");
}

/// A copy of the first append comes after the second.
fn late_copy(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[], &[600, 900, 60_000]);
    sim.isolate(N3);
    sim.hold(N1, N2, &[Kind::Append]);
    sim.ask(N1, "append", "list", Some(json!(1)), None);
    sim.run_for(2 * MS);
    sim.release_copies(N1, N2);
    sim.run_for(20 * MS);
    sim.drop_holding();
    sim.ask(N1, "append", "list", Some(json!(2)), None);
    assert!(sim.run_until_or(sim.now + 20 * MS, |sim| sim.invariants.done.contains(&2)));
    sim.cut.insert((N1, N2));
    sim.release(N1, N2);
    sim.run_for(20 * MS);
    sim.kill(N1, false);
    sim.cut.clear();
    assert!(sim.run_until_or(sim.now + 20 * T, |sim| !sim.leaders().is_empty()));
    sim
}

#[test]
fn a_late_append_drops_nothing() {
    assert_sound(&late_copy(&[]));
    let sim = late_copy(&["truncate-on-any-append"]);
    assert_broken(&sim, "leader completeness");
}

/// n1 is cut off and does not know. A client reads at it what others have changed since.
fn read_at_an_old_leader(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[("check-quorum", "false")], &[600, 900, 1200]);
    sim.isolate(N1);
    assert!(sim.run_until_or(sim.now + 5 * T, |sim| sim.leaders() == [N1, N2]));
    sim.run_for(100 * MS);
    sim.ask(N2, "advance", "counter", Some(json!(1)), None);
    sim.run_for(100 * MS);
    sim.ask(N1, "read", "counter", None, None);
    sim.run_for(100 * MS);
    sim
}

#[test]
fn a_leader_asks_a_quorum_before_it_answers_a_read() {
    assert_sound(&read_at_an_old_leader(&[]));
    let sim = read_at_an_old_leader(&["read-local-leader"]);
    assert_broken(&sim, "an answer is not older than those before it");
}

/// n1 has acknowledged an operation, and only n1 knows that it is committed. n2 leads next, and
/// nothing that it appends arrives.
fn read_at_a_new_leader(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[], &[600, 900, 1200]);
    sim.cut.insert((N1, N3));
    sim.ask(N1, "advance", "counter", Some(json!(1)), None);
    assert!(sim.run_until_or(sim.now + T, |sim| !sim.replies.is_empty()));
    sim.kill(N1, false);
    sim.sever(N1, N2);
    sim.hold(N2, N3, &[Kind::Append]);
    assert!(sim.run_until_or(sim.now + 10 * T, |sim| sim.leaders() == [N2]));
    sim.ask(N2, "read", "counter", None, None);
    sim.run_for(100 * MS);
    sim
}

#[test]
fn a_new_leader_commits_an_entry_before_it_serves_a_read() {
    assert_sound(&read_at_a_new_leader(&[]));
    let sim = read_at_a_new_leader(&["readindex-before-own-commit"]);
    assert_broken(&sim, "an answer is not older than those before it");
}

/// The answers to a round of n1's are under way while n2 comes to lead. Then a client reads at n1.
fn late_confirmation(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[("check-quorum", "false")], &[600, 900, 1200]);
    sim.hold(N2, N1, &[Kind::HeartbeatReply]);
    sim.hold(N3, N1, &[Kind::HeartbeatReply]);
    sim.ask(N1, "read", "counter", None, None);
    sim.run_for(10 * MS);
    sim.isolate(N1);
    assert!(sim.run_until_or(sim.now + 5 * T, |sim| sim.leaders() == [N1, N2]));
    sim.run_for(100 * MS);
    sim.ask(N2, "advance", "counter", Some(json!(1)), None);
    sim.run_for(100 * MS);
    sim.ask(N1, "read", "counter", None, None);
    sim.run_for(10 * MS);
    sim.release(N2, N1);
    sim.run_for(100 * MS);
    sim
}

#[test]
fn a_late_answer_confirms_no_newer_read() {
    assert_sound(&late_confirmation(&[]));
    let sim = late_confirmation(&["readindex-reuse-ctx"]);
    assert_broken(&sim, "an answer is not older than those before it");
}

/// How many of these seeds of chaos break a rule, with the defect and without.
fn chaos_breaks(defect: &str, rule: &str) -> (usize, usize) {
    let broken = |defects: &[&str], seed| {
        let mut sim = Sim::new(seed, 5, defects, &[]);
        run_chaos(&mut sim);
        let _peace = run_peace(&mut sim);
        sim.invariants.violations.iter().any(|text| text.contains(rule))
    };
    let with = (0..60).filter(|seed| broken(&[defect], *seed)).count();
    (with, (0..60).filter(|seed| broken(&[], *seed)).count())
}

#[test]
fn chaos_finds_what_needs_no_story() {
    for (defect, rule) in [
        ("ack-before-sync", "entries are durable before they are acknowledged"),
        ("vote-not-synced", "a vote is durable before it is told"),
        ("match-from-reject", "what is committed is never replaced"),
    ] {
        let (with, without) = chaos_breaks(defect, rule);
        println!("{defect}: {with} of 60 seeds with it, {without} without");
        assert!(with >= 10 && without == 0, "{defect}: {with} with, {without} without");
    }
}

/// The leader dies; n2 and n3 find out half a timeout apart, each in the lease of the other.
fn campaigns_out_of_step(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[], &[500, 600, 600]);
    for id in [N2, N3] {
        sim.kill(id, false);
        sim.set_param(id, "campaign-after", "500ms");
        sim.start(id);
        sim.run_for(100 * MS);
    }
    assert_eq!(sim.leaders(), [N1]);
    sim.cut.insert((N1, N2));
    sim.run_for(200 * MS);
    sim.kill(N1, false);
    sim.run_for(20 * T);
    sim
}

#[test]
fn who_campaigns_honours_no_lease() {
    let sim = campaigns_out_of_step(&[]);
    assert_eq!(sim.leaders().len(), 1, "{}", sim.describe());
    let sim = campaigns_out_of_step(&["campaigner-keeps-leader"]);
    assert!(sim.leaders().is_empty(), "{}", sim.describe());
}

/// The leader n1 reaches only n2; n2, n3 and n4 reach each other.
fn bridge(defects: &[&str]) -> Sim {
    let mut sim = led_by_n1(defects, &[], &[600, 1000, 900, 1200]);
    sim.part(N1, N3);
    sim.part(N1, N4);
    sim.run_for(20 * T);
    sim
}

#[test]
fn a_lease_needs_a_leader_that_checks_its_quorum() {
    let sim = bridge(&[]);
    let leader = sim.leaders();
    assert!(leader.len() == 1 && leader != [N1], "{}", sim.describe());
    let sim = bridge(&["lease-without-checkquorum"]);
    assert_eq!(sim.leaders(), [N1], "{}", sim.describe());
}

#[test]
fn a_leader_without_a_quorum_gives_up() {
    let cut_off = |defects| {
        let mut sim = led_by_n1(defects, &[], &[600, 900, 1200, 1200, 1200]);
        sim.isolate(N1);
        sim.run_for(10 * T);
        sim.leaders()
    };
    assert_eq!(cut_off(&[]).len(), 1);
    let leaders = cut_off(&["no-checkquorum"]);
    assert!(leaders.len() == 2 && leaders[0] == N1, "{leaders:?}");
}

#[test]
fn no_defect_crashes_a_node_and_each_does_something() {
    for defect in system("raft").unwrap().defects {
        let lease = defect.name.starts_with("lease-from") || defect.name.starts_with("lease-surv");
        let reads = if lease { "lease" } else { "index" };
        // Half of them without prevote, where candidates are more often alone.
        let hits = (0..60).any(|seed| {
            let prevote = if seed % 2 == 0 { "true" } else { "false" };
            let params = [
                ("batch", "1"),
                ("initial-members", "n1,n2,n3"),
                ("reads", reads),
                ("prevote", prevote),
                ("snapshot-after", "6"),
                ("snapshot-keep", "1"),
            ];
            let mut sim = Sim::new(seed, 4, &[defect.name], &params);
            sim.operations = 7;
            run_chaos(&mut sim);
            // Whether it finds peace is not the point here.
            let _peace = run_peace(&mut sim);
            sim.invariants.defect_hits.contains(defect.name)
        });
        // A few milliseconds in each term; their stories hit them. Others are of the disk, which chaos
        // neither empties nor lets fail, of a cluster that never met, and of an idle minute.
        let rare = [
            "readindex-before-own-commit",
            "timeout-now-ignores-term",
            "accept-wiped-member",
            "retry-failed-sync",
            "truncate-on-crc",
            "ignore-write-error",
            "no-disk-watchdog",
            "bootstrap-without-expect",
            "session-expiry-local-clock",
        ]
        .contains(&defect.name);
        assert!(hits || rare, "{} never changed anything", defect.name);
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
    let mut names: Vec<_> = vec!["conn"]; // of the shell
    for seed in 0..20 {
        let mut sim = Sim::new(seed, 3, &["truncate-on-any-append"], &[("snapshot-after", "6")]);
        sim.operations = 7;
        run_chaos(&mut sim);
        names.extend(&sim.invariants.names);
    }
    names.sort_unstable();
    names.dedup();
    let mut listed = system("raft").unwrap().events.to_vec();
    listed.sort_unstable();
    assert_eq!(names, listed);
}
