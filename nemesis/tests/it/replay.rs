//! From a run's records to the schedule that does it again.

use serde_json::{Map, Value};
use usurper_history::{
    Body, Effect, Event, FaultRecord, HarnessEvent, Link, NodeId, NodeRecord, Outcome, Phase,
    Record, Role, Trigger,
};
use usurper_nemesis::{Form, Step, Target, cut_short, what_was_done, what_was_done_as};

use super::support::{File, steps};

const MS: u64 = 1_000_000;

/// A run that is written down step by step.
#[derive(Default)]
struct Run {
    records: Vec<Record>,
    steps: u64,
}

impl Run {
    fn phase(mut self, t: u64, phase: &str) -> Self {
        let phase = HarnessEvent::Phase { phase: phase.to_owned() };
        self.records.push(Record::new(t * MS, Body::Harness(phase)));
        self
    }

    fn elected(mut self, t: u64, node: u8) -> Self {
        let (votes, how, round, config) = (Vec::new(), "acks".to_owned(), None, None);
        let event =
            Event::LeaderElected { in_term: t, established: true, votes, how, round, config };
        let (node, inc, seq, term) = (NodeId(node), 1, t, t);
        let (proto, role) = ("fle".to_owned(), Role::Leader);
        let body = NodeRecord { node, inc, seq, proto, term, role, event };
        self.records.push(Record::new(t * MS, Body::Node(body)));
        self
    }

    /// A step from one time to another, with its arguments as `key=value`.
    fn step(
        mut self,
        (begin, end): (u64, u64),
        fault: &str,
        nodes: &[u8],
        args: &str,
        outcome: Outcome,
    ) -> Self {
        self.steps += 1;
        let args: Map<String, Value> = args
            .split_whitespace()
            .map(|arg| arg.split_once('=').unwrap())
            .map(|(key, value)| match value {
                "true" => (key.to_owned(), true.into()),
                _ => (key.to_owned(), value.into()),
            })
            .collect();
        let links = match fault {
            "halves" | "isolate" | "heal" => vec![Link { from: NodeId(1), to: NodeId(2) }],
            _ => vec![],
        };
        let record = FaultRecord {
            id: self.steps,
            phase: Phase::Begin,
            fault: fault.to_owned(),
            effect: Effect::None,
            nodes: nodes.iter().map(|node| NodeId(*node)).collect(),
            links,
            args,
            trigger: Some(Trigger::At(begin * MS)),
            outcome: None,
            aspect: None,
            acted: None,
            proof: None,
            reason: None,
        };
        let (phase, outcome, args) = (Phase::End, Some(outcome), Map::new());
        let ended = FaultRecord { phase, outcome, args, ..record.clone() };
        self.records.push(Record::new(begin * MS, Body::Fault(record)));
        self.records.push(Record::new(end * MS, Body::Fault(ended)));
        self
    }

    /// The latest step was undone, at the end of its time.
    fn undone(mut self, (begin, end): (u64, u64), fault: &str, nodes: &[u8]) -> Self {
        let of = self.steps;
        self = self.step((begin, end), fault, nodes, "", DONE);
        let begun = self.records.len() - 2;
        let Body::Fault(record) = &mut self.records[begun].body else { panic!() };
        record.trigger = Some(Trigger::Step(of));
        self
    }

    /// What was done, as TOML without its empty lines. It can run.
    fn done(&self, planned: &[Step]) -> String {
        let steps = what_was_done(&self.records, planned);
        let nodes: Vec<_> = NodeId::all(3).collect();
        Step::validate_all(&steps, &nodes).unwrap_or_else(|error| panic!("{error}"));
        let text = toml::to_string(&File { steps: steps.clone() }).unwrap();
        assert_eq!(toml::from_str::<File>(&text).unwrap().steps, steps);
        let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        lines.join("\n")
    }
}

const DONE: Outcome = Outcome::Installed;

#[track_caller]
fn same(found: &str, expected: &str) {
    let expected: Vec<_> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(found, expected.join("\n"), "found:\n{found}");
}

#[test]
fn a_step_by_the_clock_follows_the_leader_before_it() {
    let run = Run::default()
        .phase(0, "run")
        .elected(200, 3)
        .step((1000, 1010), "kill", &[3], "name=f1 target=leader", DONE)
        .elected(1600, 2)
        .elected(1800, 1)
        .step((2000, 2100), "restart", &[3], "target=step:f1", DONE)
        .step((3000, 3001), "pause", &[2], "target=n2", DONE)
        .phase(3501, "heal");
    same(
        &run.done(&[]),
        r#"[[steps]]
        name = "f1"
        after = "800ms"
        within = "1s"
        anyway = true
        do = "kill"
        target = "leader"
        [steps.on]
        event = "leader-elected"
        established = true
        [[steps]]
        after = "200ms"
        within = "2s 100ms"
        anyway = true
        do = "restart"
        target = "step:f1"
        [steps.on]
        event = "leader-elected"
        count = 2
        established = true
        [[steps]]
        after = "900ms"
        do = "pause"
        target = "n2"
        [[steps]]
        after = "500ms"
        do = "wait""#,
    );
}

#[test]
fn many_leaders_in_a_row_are_not_counted() {
    let mut run = Run::default().phase(0, "run").step((10, 20), "kill", &[1], "target=n1", DONE);
    for t in 1..=9 {
        run = run.elected(100 * t, 2);
    }
    let run = run.step((1000, 1001), "kill", &[2], "target=n2", DONE).phase(1001, "heal");
    let steps = what_was_done(&run.records, &[]);
    assert!(steps[1].on.is_none());
    assert_eq!(steps[1].after.unwrap().to_string(), "980ms");
}

#[test]
fn what_was_skipped_is_left_out_and_what_named_it_becomes_concrete() {
    let run = Run::default()
        .phase(0, "run")
        .step((10, 11), "kill", &[1], "name=f1 target=leader", Outcome::Skipped)
        .step((20, 21), "terminate", &[2], "name=f1 target=one", DONE)
        .step((30, 31), "kill", &[3], "name=f2 target=n3", Outcome::Skipped)
        .step((40, 41), "restart", &[3], "target=step:f2", DONE)
        .step((50, 51), "halves", &[3], "name=f4", DONE)
        .step((60, 61), "heal", &[3], "target=step:f4", DONE)
        .phase(61, "heal");
    same(
        &run.done(&[]),
        r#"[[steps]]
        name = "f1"
        after = "20ms"
        do = "terminate"
        target = "n2"
        [[steps]]
        after = "19ms"
        do = "restart"
        target = "n3"
        [[steps]]
        name = "f4"
        after = "9ms"
        do = "halves"
        target = "n3"
        [[steps]]
        after = "9ms"
        do = "heal"
        target = "step:f4""#,
    );
}

#[test]
fn a_step_that_waited_for_an_event_waits_for_it_again() {
    let planned = steps(
        r#"
        [[steps]]
        name = "a"
        do = "pause"
        target = "trigger"
        after = "30ms"
        on = { event = "heartbeat", dir = "accepted", leader = "$l", count = 5 }
        [[steps]]
        do = "kill"
        target = "$l"
        [[steps]]
        do = "wait"
        on = { event = "exit", expected = false }
        optional = true
        "#,
    );
    let run = Run::default()
        .phase(0, "run")
        .step((100, 101), "pause", &[2], "name=a target=trigger", DONE)
        .step((150, 151), "kill", &[1], "target=$l", DONE)
        .phase(1151, "heal");
    same(
        &run.done(&planned),
        r#"[[steps]]
        name = "a"
        after = "30ms"
        do = "pause"
        target = "trigger"
        [steps.on]
        event = "heartbeat"
        count = 5
        dir = "accepted"
        leader = "$l"
        [[steps]]
        after = "49ms"
        do = "kill"
        target = "$l"
        [[steps]]
        after = "1s"
        do = "wait""#,
    );
    same(
        &run.done(&[]),
        r#"[[steps]]
        name = "a"
        after = "100ms"
        do = "pause"
        target = "n2"
        [[steps]]
        after = "49ms"
        do = "kill"
        target = "n1"
        [[steps]]
        after = "1s"
        do = "wait""#,
    );
}

#[test]
fn healing_at_the_end_is_no_step_and_a_run_without_steps_only_waits() {
    let mut run = Run::default().phase(5, "run").phase(4005, "heal").step(
        (4010, 4020),
        "heal",
        &[],
        "",
        DONE,
    );
    for record in &mut run.records {
        if let Body::Fault(fault) = &mut record.body {
            fault.trigger = Some(Trigger::Heal);
        }
    }
    same(&run.done(&[]), "[[steps]]\nafter = \"4s\"\ndo = \"wait\"");
}

#[test]
fn what_would_have_undone_a_skipped_step_becomes_a_wait() {
    let planned = "
        [[steps]]
        name = 'f1'
        do = 'pause'
        target = 'leader'
        at = '100ms'
        [[steps]]
        do = 'resume'
        target = 'step:f1'
        at = '300ms'
        [[steps]]
        do = 'kill'
        target = 'n2'
        at = '400ms'
    ";
    let run = |outcome: Outcome| {
        let run = Run::default()
            .phase(0, "run")
            .step((100, 110), "pause", &[], "name=f1 target=leader", outcome)
            .step((300, 310), "resume", &[], "target=step:f1", DONE)
            .step((400, 410), "kill", &[2], "target=n2", DONE)
            .phase(410, "heal");
        run.done(&steps(planned))
    };
    let wait = "
        [[steps]]
        after = \"300ms\"
        do = \"wait\"
        [[steps]]
        after = \"90ms\"
        do = \"kill\"
        target = \"n2\"
    ";
    same(&run(Outcome::Skipped), wait);
    assert!(run(DONE).contains("do = \"resume\""));
}

#[test]
fn a_step_of_an_unknown_schedule_keeps_what_its_record_says_of_it() {
    let run = Run::default().phase(0, "run").elected(100, 3);
    let run = run.step((300, 301), "disk-slow", &[1], "target=n1 delay=50ms track=clients", DONE);
    let done = what_was_done(&run.phase(400, "heal").records, &[]);
    assert_eq!(done[0].delay.map(|delay| delay.to_string()).as_deref(), Some("50ms"));
    assert_eq!((&done[0].track, done[0].anyway), (&None, true));
}

/// A leader is killed and comes back; then the next one is paused by its own name, and a follower.
fn two_leaders() -> Run {
    Run::default()
        .phase(0, "run")
        .elected(200, 3)
        .step((1000, 1010), "kill", &[3], "name=f1 target=leader", DONE)
        .elected(1600, 2)
        .step((2000, 2100), "restart", &[3], "target=step:f1", DONE)
        .step((3000, 3001), "pause", &[2], "target=n2", DONE)
        .step((3100, 3101), "resume", &[2], "target=n2", DONE)
        .step((3200, 3201), "pause", &[3], "target=n3", DONE)
        .step((3300, 3301), "pause", &[1], "target=n1", DONE)
        .phase(3501, "heal")
}

#[test]
fn each_form_names_who_was_hit_in_its_own_way() {
    let run = two_leaders();
    let targets = |form: Form| {
        let steps = what_was_done_as(&run.records, &[], form);
        let nodes: Vec<_> = NodeId::all(3).collect();
        Step::validate_all(&steps, &nodes).unwrap_or_else(|error| panic!("{error}"));
        let targets = steps.iter().filter_map(|step| step.target.as_ref());
        targets.map(Target::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(targets(Form::AsPlanned), "leader step:f1 n2 n2 n3 n1");
    assert_eq!(targets(Form::Nodes), "n3 step:f1 n2 n2 n3 n1");
    assert_eq!(targets(Form::Parts), "leader step:f1 leader leader old-leader n1");
    assert_eq!(targets(Form::Clock), "n3 step:f1 n2 n2 n3 n1");
    assert_eq!(
        what_was_done_as(&run.records, &[], Form::AsPlanned),
        what_was_done(&run.records, &[])
    );
}

#[test]
fn only_the_clock_needs_no_event() {
    let run = two_leaders();
    for form in Form::ALL {
        let steps = what_was_done_as(&run.records, &[], form);
        let waits = steps.iter().filter(|step| step.on.is_some()).count();
        assert_eq!(waits, if form == Form::Clock { 0 } else { 2 }, "{}", form.name());
    }
    let planned =
        steps("[[steps]]\ndo = 'pause'\ntarget = 'trigger'\non = { event = 'heartbeat' }");
    let run = Run::default().phase(0, "run");
    let run = run.step((100, 101), "pause", &[2], "target=trigger", DONE).phase(101, "heal");
    let clock = what_was_done_as(&run.records, &planned, Form::Clock);
    let [pause] = clock.as_slice() else { panic!("{clock:?}") };
    assert_eq!((&pause.on, &pause.target), (&None, &Some(Target::Node(NodeId(2)))));
    assert_eq!(pause.after.unwrap().to_string(), "100ms");
    assert_eq!(what_was_done_as(&run.records, &planned, Form::Nodes)[0].on, planned[0].on);
}

#[test]
fn what_came_after_the_finding_is_left_out_with_the_rest_of_the_time() {
    let run = two_leaders();
    let done = |found_ms: u64| {
        let steps = what_was_done(&cut_short(&run.records, found_ms * MS), &[]);
        let list = steps.iter().map(|step| {
            let after = step.after.map_or_else(String::new, |after| format!(" after {after}"));
            format!("{}{after}", step.fault)
        });
        list.collect::<Vec<_>>().join(", ")
    };
    // The next step does not begin, although the run goes on a little.
    assert_eq!(done(1999), "kill after 800ms, wait after 1s 489ms");
    assert_eq!(done(2000), "kill after 800ms, restart after 400ms, wait after 400ms");
    // A run that had been healed by then had done all that it did.
    assert_eq!(cut_short(&run.records, 3501 * MS), run.records);
    assert!(done(3501).ends_with("pause after 99ms, wait after 200ms"), "{}", done(3501));
}

#[test]
fn a_step_that_lasts_lasts_as_long_again_and_its_end_is_no_step_of_its_own() {
    let planned = steps(
        "[[steps]]\ntrack = 'a'\ndo = 'kill'\ntarget = 'all'\nin-turn = true\nfor = '30ms'\n\
         every = '1s'\ntimes = 2\n[[steps]]\ntrack = 'a'\ndo = 'restart'\ntarget = 'n3'",
    );
    let args = "track=a target=all for=30ms in-turn=true";
    let run = Run::default()
        .phase(0, "run")
        .step((500, 503), "kill", &[1], args, DONE)
        .undone((535, 570), "restart", &[1])
        .step((1500, 1503), "kill", &[2], args, DONE)
        .undone((1533, 1570), "restart", &[2])
        .step((1600, 1640), "restart", &[3], "track=a target=n3", DONE)
        .phase(1641, "heal");
    let kill = |after: u32, lasts: u32, node: u8| {
        format!(
            "[[steps]]\ntrack = \"a\"\nafter = \"{after}ms\"\nfor = \"{lasts}ms\"\n\
             do = \"kill\"\ntarget = \"n{node}\"\n"
        )
    };
    let restart = "[[steps]]\ntrack = \"a\"\nafter = \"30ms\"\ndo = \"restart\"\ntarget = \"n3\"";
    // From the end of one to the begin of the next.
    same(&run.done(&planned), &[kill(500, 32, 1), kill(930, 30, 2), restart.to_owned()].concat());
    // Of a schedule that nobody knows, the records say the same but for the tracks.
    let unknown = run.done(&[]);
    assert!(
        unknown.contains("for = \"32ms\"") && unknown.matches("restart").count() == 1,
        "{unknown}"
    );

    // It was healed before its time was over.
    let run = Run::default().phase(0, "run").step((500, 503), "kill", &[1], args, DONE);
    assert!(run.phase(510, "heal").done(&planned).contains("for = \"30ms\""));
}
