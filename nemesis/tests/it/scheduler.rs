use serde_json::json;
use usurper_history::{Body, Event, HarnessEvent, Link, NodeId, NodeRecord, Record, Role, Trigger};
use usurper_nemesis::{Due, Schedule, Scheduler, Step};

const MS: u64 = 1_000_000;

fn nodes() -> Vec<NodeId> {
    NodeId::all(3).collect()
}

#[derive(serde::Deserialize)]
struct File {
    steps: Schedule,
}

fn steps(text: &str) -> Schedule {
    toml::from_str::<File>(text).unwrap_or_else(|error| panic!("{error}")).steps
}

fn scheduler(text: &str) -> Scheduler {
    let steps = steps(text);
    Step::validate_all(&steps, &nodes()).unwrap();
    Scheduler::new(steps, &nodes(), 1)
}

fn event(t_ms: u64, node: u8, event: Event) -> Record {
    let (inc, seq, term, role) = (1, t_ms, 1, Role::Looking);
    let node = NodeRecord { node: NodeId(node), inc, seq, proto: "fle".into(), term, role, event };
    Record::new(t_ms * MS, Body::Node(node))
}

fn elected(t_ms: u64, node: u8) -> Record {
    let (votes, how, round, config) = (Vec::new(), "acks".into(), None, None);
    let event_ =
        Event::LeaderElected { in_term: t_ms, established: true, votes, how, round, config };
    event(t_ms, node, event_)
}

/// What is due at a time, as `index fault nodes links`; each ends at once.
fn due(scheduler: &mut Scheduler, t_ms: u64) -> Vec<String> {
    let due = scheduler.due(t_ms * MS);
    due.iter().for_each(|due| scheduler.ended(due.index));
    due.iter().map(describe).collect()
}

fn describe(due: &Due) -> String {
    let whom = match &due.resolved {
        Ok(resolved) => {
            let nodes = resolved.nodes.iter().map(ToString::to_string);
            let links = resolved.links.iter().map(ToString::to_string);
            nodes.chain(links).collect::<Vec<_>>().join(" ")
        }
        Err(reason) => reason.clone(),
    };
    format!("{} {} {whom}", due.index, due.step.fault)
}

#[test]
fn a_step_waits_for_its_event_and_for_the_step_before_it() {
    let mut s = scheduler(
        r#"
        [[steps]]
        name = "first"
        do = "kill"
        target = "leader"
        on = { event = "leader-elected", established = true }
        [[steps]]
        do = "restart"
        target = "step:first"
        on = { event = "leader-elected", established = true }
        after = "5ms"
        "#,
    );
    s.begin(0);
    assert!(due(&mut s, 1).is_empty());
    s.observe(&elected(10, 1));
    let killed = s.due(10 * MS);
    assert_eq!(describe(&killed[0]), "0 kill n1");
    let Some(Trigger::Event { node, seq, t, .. }) = &killed[0].trigger else { panic!() };
    assert_eq!((*node, *seq, *t), (NodeId(1), 10, 10 * MS));
    // An event from before the kill began, that is delivered late, is not its consequence.
    s.observe(&elected(9, 3));
    s.observe(&elected(20, 3));
    assert!(s.due(30 * MS).is_empty(), "the kill has not ended");
    s.ended(0);
    assert!(due(&mut s, 24).is_empty(), "5 ms after the event");
    assert_eq!(s.next_due_ns(), Some(25 * MS));
    assert_eq!(due(&mut s, 25), ["1 restart n1"]);
    assert!(s.all_ended());
}

#[test]
fn a_time_waits_for_nobody() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "wait"
        on = { event = "exit" }
        [[steps]]
        do = "isolate"
        target = "n2"
        at = "1s"
        [[steps]]
        do = "heal"
        at = "2s"
        "#,
    );
    s.begin(100 * MS);
    assert_eq!(s.next_due_ns(), Some(1100 * MS));
    assert_eq!(due(&mut s, 1100), ["1 isolate n2 n1->n2 n2->n1 n2->n3 n3->n2"]);
    assert_eq!(due(&mut s, 2100).len(), 1);
    assert!(!s.all_ended());
    let missed = s.missed();
    assert_eq!(missed[0].step, "step 1: wait");
    assert!(missed[0].waits_for.contains("exit"), "{missed:?}");
}

#[test]
fn the_third_time_is_the_third_time() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "pause"
        target = "trigger"
        on = { event = "heartbeat", dir = "accepted", count = 3 }
        "#,
    );
    s.begin(0);
    let beat = |t, dir: &str| {
        let leader = NodeId(1);
        let (peer, commit, reason) = (None, None, None);
        event(t, 2, Event::Heartbeat { dir: dir.into(), peer, msg_term: 1, leader, commit, reason })
    };
    for (t, dir) in [(1, "accepted"), (2, "rejected"), (3, "accepted")] {
        s.observe(&beat(t, dir));
        assert!(due(&mut s, t).is_empty());
    }
    s.observe(&beat(4, "accepted"));
    assert_eq!(due(&mut s, 4), ["0 pause n2"]);
}

#[test]
fn a_pattern_names_nodes_by_the_part_they_play() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "cut"
        links = ["leader->n1", "n1<->n2"]
        on = { event = "leader-known", node = "old-leader", leader = "leader" }
        "#,
    );
    s.begin(0);
    let known = |t, node, leader| {
        event(t, node, Event::LeaderKnown { leader: Some(NodeId(leader)), in_term: 1 })
    };
    s.observe(&elected(1, 2));
    s.observe(&elected(2, 3));
    s.observe(&known(3, 1, 3));
    s.observe(&known(4, 2, 1));
    assert!(due(&mut s, 4).is_empty());
    s.observe(&known(5, 2, 3));
    assert_eq!(due(&mut s, 5), ["0 cut n1->n2 n2->n1 n3->n1"]);
}

#[test]
fn a_target_that_means_nobody_is_said_so() {
    let mut s = scheduler("[[steps]]\ndo = 'kill'\ntarget = 'leader'\nat = '0s'");
    s.begin(0);
    assert_eq!(due(&mut s, 0), ["0 kill no leader has been established"]);
}

#[test]
fn halves_leave_the_larger_half_whole() {
    let mut s = scheduler("[[steps]]\ndo = 'halves'\n[[steps]]\ndo = 'heal'");
    s.begin(0);
    let cut = s.due(0);
    let resolved = cut[0].resolved.clone().unwrap();
    assert_eq!(resolved.nodes.len(), 1);
    let side = resolved.nodes[0];
    assert_eq!(resolved.links.len(), 4);
    assert!(resolved.links.iter().all(|Link { from, to }| *from == side || *to == side));
    s.ended(0);
    assert_eq!(s.due(0)[0].resolved.clone().unwrap().links.len(), 6, "heal names every link");
}

#[test]
fn harness_events_can_be_waited_for_and_trigger_no_node() {
    let mut s = scheduler("[[steps]]\ndo = 'wait'\non = { event = 'ready', node = 'n2' }");
    s.begin(0);
    for (t, node) in [(1, NodeId(1)), (2, NodeId(2))] {
        assert!(due(&mut s, t).is_empty());
        s.observe(&Record::new(t, Body::Harness(HarnessEvent::Ready { node, inc: 1 })));
    }
    assert_eq!(due(&mut s, 2).len(), 1);
}

/// What is wrong with a step.
#[track_caller]
fn refused(step: &str, expected: &str) {
    let steps = steps(&format!("[[steps]]\n{step}"));
    let error = Step::validate_all(&steps, &nodes()).expect_err("must be refused").to_string();
    assert_eq!(error, format!("step 1: {expected}"));
}

#[test]
fn a_schedule_that_cannot_run_is_refused_before_it_starts() {
    refused("do = 'kill'", "`kill` needs a `target`");
    refused("do = 'kill'\ntarget = 'n4'", "there is no node `n4` in this cluster");
    refused("do = 'cut'", "`cut` needs `links`, for example [\"n1->n2\"]");
    refused("do = 'cut'\nlinks = ['n1->n9']", "there is no node `n9` in this cluster");
    refused("do = 'restart'\ntarget = 'step:x'", "there is no earlier step `x`");
    refused("do = 'kill'\ntarget = 'trigger'", "`trigger` needs an `on`");
    refused("do = 'wait'\nat = '1s'\non = { event = 'exit' }", "`at` and `on` exclude each other");
    refused("do = 'wait'\non = { event = 'leader-electd' }", "unknown event `leader-electd`");
    refused(
        "do = 'wait'\non = { event = 'vote-cast', colour = 1 }",
        "event `vote-cast` has no field `colour`",
    );
    refused(
        "do = 'wait'\non = { event = 'ready', node = 'n7' }",
        "there is no node `n7` in this cluster",
    );
    refused("do = 'wait'\nby = 3", "`wait` takes no `by`");
    let unknown = toml::from_str::<File>("[[steps]]\ndo = 'kil'").err().unwrap().to_string();
    assert!(unknown.contains("unknown fault `kil`") && unknown.contains('^'), "{unknown}");
    let key = toml::from_str::<File>("[[steps]]\ndo = 'wait'\nwen = 1").err().unwrap().to_string();
    assert!(key.contains("unknown field `wen`"), "{key}");
    let target = toml::from_str::<File>("[[steps]]\ndo = 'kill'\ntarget = 'ledaer'");
    assert!(target.err().unwrap().to_string().contains("unknown target `ledaer`"));
    assert_eq!(json!(steps("[[steps]]\ndo = 'wait'")[0].fault), json!("wait"));
}
