use std::time::Duration;

use usurper_history::{
    Body, Event, FaultRecord, HarnessEvent, NodeId, NodeRecord, Record, Role, Trigger,
};

use super::{Reproduction, Tempo, from_field_logs};
use crate::{Fault, Step};

const MS: u64 = 1_000_000;

/// The logs of a cluster, line by line.
#[derive(Default)]
struct Logs(Vec<Record>);

impl Logs {
    /// Three servers that start at once.
    fn three() -> Self {
        Self::default().starts(0, 1).starts(0, 2).starts(0, 3)
    }

    fn harness(mut self, t: u64, event: HarnessEvent) -> Self {
        self.0.push(Record::new(t * MS, Body::Harness(event)));
        self
    }

    fn node(mut self, t: u64, node: u8, event: Event) -> Self {
        let (node, inc, seq, term) = (NodeId(node), 1, t + 1, 1);
        let (proto, role) = ("raft".to_owned(), Role::Follower);
        let body = NodeRecord { node, inc, seq, proto, term, role, event };
        self.0.push(Record::new(t * MS, Body::Node(body)));
        self
    }

    fn starts(self, t: u64, node: u8) -> Self {
        self.harness(t, HarnessEvent::Spawn { node: NodeId(node), inc: 1, pid: 0 })
    }

    fn ends(self, t: u64, node: u8) -> Self {
        let (node, inc, code, signal, expected, stderr) = (NodeId(node), 1, None, None, true, None);
        self.harness(t, HarnessEvent::Exit { node, inc, code, signal, expected, stderr })
    }

    fn elected(self, t: u64, node: u8) -> Self {
        let (votes, how, round, config) = (Vec::new(), "votes".to_owned(), None, None);
        let event =
            Event::LeaderElected { in_term: t, established: true, votes, how, round, config };
        self.node(t, node, event)
    }

    fn turns(self, t: u64, node: u8, from: Role, to: Role) -> Self {
        let (phase, reason) = (None, String::new());
        self.node(t, node, Event::RoleChange { from, to, phase, reason })
    }

    fn looks(self, t: u64, node: u8) -> Self {
        self.turns(t, node, Role::Follower, Role::Candidate)
    }

    fn knows(self, t: u64, node: u8, leader: u8) -> Self {
        self.node(t, node, Event::LeaderKnown { leader: Some(NodeId(leader)), in_term: t })
    }

    fn told(self) -> Reproduction {
        let nodes: Vec<_> = NodeId::all(3).collect();
        let election_timeout = Duration::from_millis(500);
        let patience = Duration::from_secs(5);
        from_field_logs(&self.0, &nodes, Tempo { election_timeout, patience })
    }

    /// The steps, each as what it does, to whom, after how many leaders and how long a wait.
    #[track_caller]
    fn expect(self, expected: &[&str]) -> Reproduction {
        let told = self.told();
        let shown: Vec<_> = told.steps.iter().map(shown).collect();
        assert_eq!(shown, expected, "{told:#?}");
        let nodes: Vec<_> = NodeId::all(3).collect();
        Step::validate_all(&told.steps, &nodes).unwrap_or_else(|error| panic!("{error}"));
        told
    }
}

fn shown(step: &Step) -> String {
    let target = step.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let after = step.after.map(|after| format!(" after {after}")).unwrap_or_default();
    let on = if step.on.is_some() { " on a leader" } else { "" };
    format!("{} {target}{on}{after}", step.fault)
}

#[test]
fn a_leader_that_dies_and_returns_is_killed_and_restarted() {
    let logs = Logs::three().elected(100, 3).ends(300, 3).looks(900, 2).elected(1_000, 2);
    let told = logs.starts(60_000, 3).knows(60_100, 3, 2).ends(90_000, 1).expect(&[
        "kill leader on a leader after 200ms",
        // A minute there is the longest wait here.
        "restart step:1-n3 on a leader after 1s",
    ]);
    let untold = told.untold.join("\n");
    assert!(untold.contains("n3 fell silent at 0.300 s; it was missed by 0.900 s"), "{untold}");
    assert_eq!(told.seen.len(), 2);
}

#[test]
fn a_leader_that_returns_before_anybody_missed_it_returns_so_here() {
    let logs = Logs::three().elected(100, 3).ends(300, 3).starts(9_000, 3).ends(20_000, 1);
    logs.expect(&["kill leader on a leader after 200ms", "restart step:1-n3 after 250ms"]);
}

#[test]
fn a_log_that_only_stops_is_no_death_and_a_leader_that_is_missed_for_good_is_one() {
    let healthy = || Logs::three().elected(100, 3).ends(300, 3);
    let told = healthy().ends(5_000, 2).ends(9_000, 1).expect(&[]);
    assert!(told.untold[0].contains("the log of n2 ends at 5.000 s"), "{:?}", told.untold);
    healthy().looks(900, 2).ends(9_000, 1).expect(&["kill leader on a leader after 200ms"]);
}

#[test]
fn a_superseded_leader_was_cut_off_until_it_hears_of_it() {
    let logs = Logs::three().elected(100, 3).looks(5_000, 2).elected(5_100, 2);
    let cut = ["isolate leader on a leader after 1s", "heal step:1-n3 on a leader after 1s"];
    logs.turns(9_000, 3, Role::Leader, Role::Follower).ends(9_500, 1).expect(&cut);
    // Nobody heard of it again: it stays cut off until everything is healed in the end.
    let logs = Logs::three().elected(100, 3).looks(5_000, 2).elected(5_100, 2).ends(9_500, 1);
    logs.expect(&cut[..1]);
}

#[test]
fn a_leader_that_gives_up_at_once_handed_over() {
    let logs = Logs::three().elected(100, 3).looks(5_000, 2);
    let logs = logs.turns(5_001, 3, Role::Leader, Role::Follower).elected(5_002, 2);
    logs.ends(9_500, 1).expect(&["transfer follower on a leader after 1s"]);
}

#[test]
fn a_follower_that_comes_back_to_its_leader_was_cut_off() {
    let astray = || Logs::three().elected(100, 3).looks(5_000, 2);
    astray()
        .knows(7_000, 2, 3)
        .ends(9_000, 1)
        .expect(&["isolate follower on a leader after 1s", "heal step:1-n2 after 2s"]);
    // Whoever finds another leader took part in an election.
    astray().elected(5_500, 1).knows(7_000, 2, 1).expect(&["isolate leader on a leader after 1s"]);
}

#[test]
fn what_is_hit_again_is_named_by_the_step_that_hit_it() {
    let logs = Logs::three().elected(100, 3).ends(300, 3).looks(900, 2).elected(1_000, 2);
    let logs = logs.starts(1_500, 3).ends(2_000, 3).starts(2_100, 3).ends(3_000, 1);
    let told = logs.expect(&[
        "kill leader on a leader after 200ms",
        "restart step:1-n3 on a leader after 500ms",
        "kill step:1-n3 after 250ms",
        "restart step:3-n3 after 100ms",
    ]);
    assert!(told.steps.iter().filter(|step| step.on.is_some()).all(|step| step.anyway));
}

#[test]
fn one_of_many_while_another_is_away_is_told_by_its_number() {
    let logs = Logs::three().elected(100, 3).ends(300, 2).ends(400, 1).starts(500, 1);
    let told = logs.starts(600, 2).ends(9_000, 3).told();
    assert_eq!(told.steps[0].target, Some(crate::Target::Follower));
    assert_eq!(told.steps[1].target, Some(crate::Target::Node(NodeId(1))));
    assert_eq!(told.steps[1].fault, Fault::Kill);
    assert!(told.untold.iter().any(|line| line.contains("by its number alone")));
}

#[test]
fn records_that_tell_nothing_make_no_step() {
    let untold = Logs::default().told();
    assert_eq!(untold, Reproduction::default());
    let fault = FaultRecord {
        id: 1,
        phase: usurper_history::Phase::Begin,
        fault: "kill".to_owned(),
        effect: usurper_history::Effect::Down,
        aspect: None,
        nodes: vec![NodeId(1)],
        links: Vec::new(),
        args: serde_json::Map::new(),
        trigger: Some(Trigger::At(0)),
        outcome: None,
        acted: None,
        proof: None,
        reason: None,
    };
    let mut logs = Logs::three();
    logs.0.push(Record::new(1, Body::Fault(fault)));
    assert!(logs.told().steps.is_empty(), "a run's own records are for `what_was_done`");
}
