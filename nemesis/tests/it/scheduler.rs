use serde_json::json;
use usurper_history::{Body, Event, HarnessEvent, Link, NodeId, NodeRecord, Record, Role, Trigger};
use usurper_nemesis::{Due, Hit, Resolved, Scheduler, Step};

use super::support::{File, steps};

const MS: u64 = 1_000_000;

fn nodes() -> Vec<NodeId> {
    NodeId::all(3).collect()
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
    due.iter().for_each(|due| scheduler.ended(due.index, None));
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
    s.ended(0, None);
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
    s.ended(0, None);
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
    refused("do = 'kill'\ntarget = 'n1'\ndelay = '1s'", "`kill` takes no `delay`");
    refused("do = 'hold'", "`hold` needs `links`, for example [\"n1->n2\"]");
    refused(
        "do = 'blackhole'\nlinks = ['n1->n2']\nkinds = ['hello']",
        "`blackhole` takes no `kinds`",
    );
    let loss = "do = 'loss'\nlinks = ['n1->n2']";
    refused(loss, "`loss` needs a `probability`, for example 0.3");
    for wrong in ["0.0", "1.5", "-1.0", "nan"] {
        let problem = "`probability` is above 0 and at most 1";
        refused(&format!("{loss}\nprobability = {wrong}"), problem);
    }
    refused(&format!("{loss}\nprobability = 1.0\ncount = 0"), "`count` starts at 1");
    let delay = "do = 'delay'\nlinks = ['n1->n2']";
    refused(delay, "`delay` needs a `delay`, for example \"200ms\"");
    let long = "`delay` and `jitter` are at most 600s together";
    refused(&format!("{delay}\ndelay = '5m'\njitter = '6m'"), long);
    let throttle = "`throttle` needs a `rate`, for example \"100KB\"";
    refused("do = 'throttle'\nlinks = ['n1->n2']", throttle);
    let unknown = toml::from_str::<File>("[[steps]]\ndo = 'kil'").err().unwrap().to_string();
    assert!(unknown.contains("unknown fault `kil`") && unknown.contains('^'), "{unknown}");
    let key = toml::from_str::<File>("[[steps]]\ndo = 'wait'\nwen = 1").err().unwrap().to_string();
    assert!(key.contains("unknown field `wen`"), "{key}");
    let target = toml::from_str::<File>("[[steps]]\ndo = 'kill'\ntarget = 'ledaer'");
    assert!(target.err().unwrap().to_string().contains("unknown target `ledaer`"));
    assert_eq!(json!(steps("[[steps]]\ndo = 'wait'")[0].fault), json!("wait"));
}

#[test]
fn a_kind_of_message_that_does_not_exist_is_refused_with_those_that_do() {
    let text = "[[steps]]\ndo = 'hold'\nlinks = ['n1->n2']\nkinds = ['vote']";
    let error = toml::from_str::<File>(text).err().unwrap().to_string();
    let expected = "unknown kind of message `vote`, expected one of `hello`, `welcome`";
    assert!(error.contains(expected) && error.contains('^'), "{error}");
    let rate = "[[steps]]\ndo = 'throttle'\nlinks = ['n1->n2']\nrate = 'fast'";
    let error = toml::from_str::<File>(rate).err().unwrap().to_string();
    assert!(error.contains("`fast` is no rate in bytes per second"), "{error}");
}

/// Whether a schedule of holds, heals and one last release can run; each step as its TOML, inline.
fn releases(steps: &[&str]) -> Result<(), String> {
    let list = steps.iter().map(|step| format!("{{ {step} }}")).collect::<Vec<_>>().join(", ");
    let file: File = toml::from_str(&format!("steps = [{list}]")).unwrap();
    Step::validate_all(&file.steps, &nodes()).map_err(|error| error.to_string())
}

#[test]
fn releasing_what_is_never_held_is_refused() {
    let hold = "do = 'hold', links = ['n3->n2'], kinds = ['notification']";
    let release = "do = 'release', links = ['n3->n2']";
    let nothing =
        |number| Err(format!("step {number}: no step before it holds every message on n3->n2"));
    assert_eq!(releases(&[hold, release]), Ok(()));
    assert_eq!(releases(&[release]), nothing(1));
    assert_eq!(releases(&[release, hold]), nothing(1));
    assert_eq!(releases(&[hold, "do = 'heal'", release]), nothing(3));
    assert_eq!(releases(&[hold, "do = 'heal', links = ['n1->n2']", release]), Ok(()));
    assert_eq!(releases(&["do = 'hold', links = ['n2->n3']", release]), nothing(2));
    assert_eq!(releases(&["do = 'hold', links = ['n2<->n3']", release]), Ok(()));
    // Who leads is known only when the step runs.
    assert_eq!(releases(&["do = 'hold', links = ['leader->n2']", release]), Ok(()));
    let other = "do = 'release', links = ['n3->n2'], kinds = ['heartbeat']";
    let expected = "step 2: no step before it holds heartbeat on n3->n2";
    assert_eq!(releases(&[hold, other]), Err(expected.to_owned()));
    // A time of its own counts for more than a place in the list.
    let (early, late) = (format!("{release}, at = '1s'"), format!("{hold}, at = '2s'"));
    assert_eq!(releases(&[&late, &early]), nothing(2));
    let (early, late) = (format!("{hold}, at = '1s'"), format!("{release}, at = '2s'"));
    assert_eq!(releases(&[&late, &early]), Ok(()));
}

#[test]
fn a_step_s_own_words_are_kept() {
    let text = "[[steps]]\ndo = 'delay'\nlinks = ['n1->n2']\ndelay = '200ms'\njitter = '50ms'\nkinds = ['heartbeat']";
    let step = &steps(text)[0];
    assert_eq!(
        json!(step),
        json!({
            "do": "delay", "links": ["n1->n2"], "delay": "200ms", "jitter": "50ms",
            "kinds": ["heartbeat"],
        })
    );
    let throttle = &steps("[[steps]]\ndo = 'throttle'\nlinks = ['n1->n2']\nrate = '2MB/s'")[0];
    assert_eq!(json!(throttle)["rate"], "2MB");
}

/// A step that was done to these nodes, and took until then.
fn hit(id: u64, ended_ms: u64, nodes: &[u8]) -> Option<Hit> {
    let nodes = nodes.iter().copied().map(NodeId).collect();
    Some(Hit { id, ended_ns: ended_ms * MS, whom: Resolved { nodes, links: Vec::new() } })
}

#[test]
fn a_step_lasts_for_its_time_where_it_was_done_and_then_it_has_ended() {
    let mut s = scheduler(
        r#"
        [[steps]]
        name = "gone"
        do = "kill"
        target = "n1,n2"
        for = "50ms"
        [[steps]]
        do = "wait"
        after = "5ms"
        "#,
    );
    s.begin(0);
    assert_eq!(describe(&s.due(0)[0]), "0 kill n1 n2");
    // n1 was down already.
    s.ended(0, hit(7, 3, &[2]));
    assert_eq!(s.next_due_ns(), Some(53 * MS), "since it was done");
    assert!(s.due(52 * MS).is_empty());
    assert!(s.missed().iter().all(|missed| missed.step.starts_with("step 2")), "it has begun");
    let undo = s.due(53 * MS);
    assert_eq!(describe(&undo[0]), "0 restart n2");
    assert_eq!((&undo[0].trigger, &undo[0].step.name), (&Some(Trigger::Step(7)), &None));
    assert!(s.due(60 * MS).is_empty(), "the next one waits until it is undone");
    s.ended(0, hit(8, 60, &[2]));
    assert!(s.due(61 * MS).is_empty());
    assert_eq!(due(&mut s, 66), ["1 wait "]);
    assert!(s.all_ended());
}

#[test]
fn what_was_not_done_is_not_undone() {
    let mut s = scheduler("[[steps]]\ndo = 'pause'\ntarget = 'n1'\nfor = '50ms'");
    s.begin(0);
    assert_eq!(due(&mut s, 0), ["0 pause n1"]);
    assert!(s.all_ended());
}

#[test]
fn links_are_healed_and_no_others() {
    let mut s = scheduler("[[steps]]\ndo = 'isolate'\ntarget = 'n2'\nfor = '1s'");
    s.begin(0);
    let began = s.due(0).remove(0);
    let whom = began.resolved.clone().unwrap();
    assert_eq!(whom.links.len(), 4);
    s.ended(0, Some(Hit { id: 1, ended_ns: 0, whom }));
    assert_eq!(describe(&s.due(1_000 * MS)[0]), "0 heal n1->n2 n2->n1 n2->n3 n3->n2");
}

#[test]
fn each_is_hit_in_turn_some_time_after_the_one_before_was_undone() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "kill"
        target = "n3,n1"
        in-turn = true
        times = 3
        after = "10ms"
        for = "5ms"
        "#,
    );
    s.begin(0);
    // The wait begins once somebody looks.
    assert!(s.due(0).is_empty());
    for (at, node) in [(10, 3), (60, 1), (110, 3)] {
        assert!(s.due((at - 1) * MS).is_empty());
        assert_eq!(describe(&s.due(at * MS)[0]), format!("0 kill n{node}"));
        s.ended(0, hit(at, at + 1, &[node]));
        assert_eq!(describe(&s.due((at + 6) * MS)[0]), format!("0 restart n{node}"));
        s.ended(0, hit(at + 1, at + 40, &[node]));
        assert!(s.due((at + 40) * MS).is_empty());
    }
    assert!(s.all_ended());
    // Of a target that means several nodes, each.
    let mut s = scheduler(
        "[[steps]]\ndo = 'pause'\ntarget = 'all'\nin-turn = true\ntimes = 4\nevery = '1s'",
    );
    s.begin(0);
    let hits = (0..4).flat_map(|second| due(&mut s, second * 1_000)).collect::<Vec<_>>();
    assert_eq!(hits, ["0 pause n1", "0 pause n2", "0 pause n3", "0 pause n1"]);
}
