//! What a step can wait for, and what is refused.

use serde_json::{Map, json};
use usurper_history::{
    Body, Effect, Event, FaultRecord, NodeId, NodeRecord, OpRecord, OpType, Outcome, Phase, Record,
    Role, Trigger,
};
use usurper_nemesis::{Scheduler, Step};

use super::support::{File, steps};

const MS: u64 = 1_000_000;

/// A scheduler whose run phase began at 0.
fn scheduler(text: &str) -> Scheduler {
    let steps = steps(text);
    let nodes: Vec<_> = NodeId::all(3).collect();
    Step::validate_all(&steps, &nodes).unwrap_or_else(|error| panic!("{error}"));
    let again = toml::to_string(&std::collections::BTreeMap::from([("steps", &steps)])).unwrap();
    assert_eq!(toml::from_str::<File>(&again).unwrap().steps, steps, "{again}");
    let mut scheduler = Scheduler::new(steps, &nodes, 1);
    scheduler.begin(0);
    scheduler
}

fn node(t_ms: u64, node: u8, event: Event) -> Record {
    let (node, inc, seq, term) = (NodeId(node), 1, t_ms, 1);
    let (proto, role) = ("fle".to_owned(), Role::Looking);
    Record::new(t_ms * MS, Body::Node(NodeRecord { node, inc, seq, proto, term, role, event }))
}

fn cast(t_ms: u64, by: u8, candidate: u8, in_term: u64) -> Record {
    let candidate = NodeId(candidate);
    node(t_ms, by, Event::VoteCast { candidate, in_term, prevote: false, zxid: None })
}

fn elected(t_ms: u64, by: u8, in_term: u64) -> Record {
    let (votes, how) = (vec![NodeId(by), NodeId(2)], "acks".to_owned());
    let (established, round, config) = (true, None, None);
    node(t_ms, by, Event::LeaderElected { in_term, established, votes, how, round, config })
}

fn operation(t_ms: u64, op_type: OpType, server: u8) -> Record {
    let op = OpRecord {
        process: 1,
        op_type,
        f: "write".to_owned(),
        key: None,
        value: Some(json!(7)),
        server: Some(NodeId(server)),
        session: None,
        serial: None,
        error: None,
    };
    Record::new(t_ms * MS, Body::Op(op))
}

/// The begin or, with an outcome, the end of a step.
fn done(t_ms: u64, id: u64, name: &str, outcome: Option<Outcome>) -> Record {
    let begin = outcome.is_none();
    let args = Map::from_iter(begin.then(|| ("name".to_owned(), json!(name))));
    let fault = FaultRecord {
        id,
        phase: if begin { Phase::Begin } else { Phase::End },
        fault: "cut".to_owned(),
        effect: Effect::Cut,
        nodes: vec![],
        links: vec![],
        args,
        trigger: None,
        outcome,
        aspect: None,
        acted: None,
        proof: None,
        reason: None,
    };
    Record::new(t_ms * MS, Body::Fault(fault))
}

/// The places of the steps that are due, from 0; each ends at once.
fn due(scheduler: &mut Scheduler, t_ms: u64) -> Vec<usize> {
    let mut all = Vec::new();
    loop {
        let due: Vec<_> = scheduler.due(t_ms * MS).iter().map(|due| due.index).collect();
        due.iter().for_each(|index| scheduler.ended(*index, None));
        if due.is_empty() {
            return all;
        }
        all.extend(due);
    }
}

/// Shows the records one by one, and says at which of them (from 0) the one step came.
#[track_caller]
fn comes_at(on: &str, records: &[Record]) -> Option<usize> {
    let mut s = scheduler(&format!("[[steps]]\ndo = 'wait'\non = {on}"));
    for (index, record) in records.iter().enumerate() {
        s.observe(record);
        if !due(&mut s, record.t / MS).is_empty() {
            return Some(index);
        }
    }
    None
}

#[test]
fn fields_are_compared_by_signs_lists_and_parts() {
    let votes = [cast(1, 1, 3, 2), cast(2, 2, 3, 3), cast(3, 3, 1, 9)];
    assert_eq!(comes_at("{ event = 'vote-cast', in-term = '>= 3' }", &votes), Some(1));
    assert_eq!(comes_at("{ event = 'vote-cast', in-term = '>3' }", &votes), Some(2));
    assert_eq!(comes_at("{ event = 'vote-cast', in-term = '< 2' }", &votes), None);
    assert_eq!(comes_at("{ event = 'vote-cast', candidate = '!= n3' }", &votes), Some(2));
    assert_eq!(comes_at("{ event = 'vote-cast', node = ['n2', 'n3'] }", &votes), Some(1));
    assert_eq!(comes_at("{ event = 'vote-cast', node = 'not-n1' }", &votes), Some(1));
    let won = [elected(1, 1, 1), elected(2, 3, 2)];
    assert_eq!(comes_at("{ event = 'leader-elected', votes = 'n3' }", &won), Some(1), "holds");
    assert_eq!(comes_at("{ event = 'leader-elected', votes = ['n3', 'n2'] }", &won), Some(1));
    let zxid = Some(usurper_history::Zxid { epoch: 1, counter: 5 });
    let vote = Event::VoteCast { candidate: NodeId(1), in_term: 1, prevote: false, zxid };
    let vote = [node(1, 1, vote)];
    assert_eq!(comes_at("{ event = 'vote-cast', 'zxid.counter' = '>= 5' }", &vote), Some(0));
    assert_eq!(comes_at("{ event = 'vote-cast', 'zxid.counter' = '> 5' }", &vote), None);
}

#[test]
fn a_clients_operation_can_be_waited_for() {
    let ops = [operation(1, OpType::Invoke, 1), operation(2, OpType::Ok, 1)];
    assert_eq!(comes_at("{ op = 'write', type = 'ok', value = 7 }", &ops), Some(1));
    assert_eq!(comes_at("{ op = 'write', server = 'n2' }", &ops), None);
    assert_eq!(comes_at("{ op = 'read' }", &ops), None);
}

#[test]
fn all_of_waits_for_each_and_any_of_for_one() {
    let all = "{ all-of = [{ event = 'vote-cast', node = 'n2' }, { op = 'write', type = 'ok' }] }";
    let any = all.replace("all-of", "any-of");
    let records =
        [operation(1, OpType::Ok, 1), cast(2, 1, 3, 1), cast(3, 2, 3, 1), cast(4, 2, 3, 1)];
    assert_eq!(comes_at(all, &records), Some(2));
    assert_eq!(comes_at(&any, &records), Some(0));
}

#[test]
fn what_a_pattern_captures_can_be_compared_and_aimed_at() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "wait"
        on = { event = "vote-cast", in-term = "$t", candidate = "$who" }
        [[steps]]
        do = "pause"
        target = "$who"
        on = { event = "leader-elected", in-term = "> $t", node = "!= $who" }
        [[steps]]
        do = "wait"
        on = { event = "vote-cast", in-term = "$t" }
        "#,
    );
    s.observe(&cast(1, 1, 3, 4));
    assert_eq!(due(&mut s, 1), [0]);
    s.observe(&elected(2, 1, 4));
    s.observe(&elected(3, 3, 5));
    assert!(due(&mut s, 3).is_empty(), "the same term, and then the captured node");
    s.observe(&elected(4, 2, 5));
    let pause = s.due(4 * MS);
    assert_eq!(pause[0].resolved.as_ref().unwrap().nodes, [NodeId(3)]);
    s.ended(1, None);
    s.observe(&cast(5, 1, 3, 5));
    assert!(due(&mut s, 5).is_empty(), "what is captured stays");
    s.observe(&cast(6, 1, 2, 4));
    assert_eq!(due(&mut s, 6), [2]);
}

#[test]
fn patterns_of_one_trigger_share_what_they_capture() {
    let both = "{ all-of = [{ event = 'vote-cast', node = 'n1', in-term = '$t' }, \
                { event = 'vote-cast', node = 'n2', in-term = '$t' }] }";
    let votes = [cast(1, 1, 3, 4), cast(2, 2, 3, 5), cast(3, 2, 3, 4)];
    assert_eq!(comes_at(both, &votes), Some(2));
}

#[test]
fn a_steps_outcome_counts_whenever_it_came() {
    let mut s = scheduler(
        r#"
        [[steps]]
        name = "first"
        do = "cut"
        links = ["n1->n2"]
        [[steps]]
        do = "wait"
        after = "5ms"
        [[steps]]
        do = "kill"
        target = "n1"
        on = { step = "first", outcome = "installed" }
        [[steps]]
        do = "wait"
        on = { fault = "cut", outcome = "skipped" }
        "#,
    );
    assert_eq!(due(&mut s, 1), [0]);
    s.observe(&done(1, 1, "first", None));
    s.observe(&done(2, 1, "first", Some(Outcome::Installed)));
    assert!(due(&mut s, 3).is_empty());
    assert_eq!(due(&mut s, 8), [1, 2], "it came before its turn");
    s.observe(&done(9, 2, "", None));
    assert!(due(&mut s, 9).is_empty(), "a begin is no end");
    s.observe(&done(10, 2, "", Some(Outcome::Skipped)));
    let last = s.due(10 * MS);
    assert_eq!(last[0].trigger, Some(Trigger::Step(2)));
}

#[test]
fn a_step_that_waits_too_long_is_missed_and_the_next_one_goes_on() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "wait"
        after = "10ms"
        [[steps]]
        name = "late"
        do = "kill"
        target = "leader"
        within = "20ms"
        on = { event = "leader-elected" }
        [[steps]]
        do = "wait"
        "#,
    );
    assert!(due(&mut s, 0).is_empty());
    assert_eq!(due(&mut s, 10), [0]);
    assert_eq!(s.next_due_ns(), Some(30 * MS + 1), "counted from the step before it");
    s.observe(&elected(31, 1, 1));
    assert!(due(&mut s, 30).is_empty());
    assert_eq!(due(&mut s, 31), [2]);
    assert!(s.all_ended());
    let missed = s.missed();
    assert_eq!(missed[0].step, "step 2: kill leader");
    assert_eq!(missed[0].waits_for, "{\"event\":\"leader-elected\"} within 20ms");
}

#[test]
fn a_step_can_run_all_the_same_when_its_event_is_late() {
    let mut s = scheduler(
        "[[steps]]\ndo = 'wait'\nwithin = '20ms'\nanyway = true\non = { event = 'vote-cast' }",
    );
    assert!(due(&mut s, 20).is_empty());
    assert_eq!(due(&mut s, 21), [0]);
    assert!(s.missed().is_empty() && s.all_ended());
    refused("[[steps]]\ndo = 'wait'\nanyway = true", "step 1: `anyway` needs a `within`");
}

#[test]
fn an_event_in_time_is_not_missed() {
    let mut s = scheduler(
        "[[steps]]\ndo = 'wait'\nwithin = '20ms'\nafter = '50ms'\non = { event = 'vote-cast' }",
    );
    s.observe(&cast(20, 1, 2, 1));
    assert!(due(&mut s, 60).is_empty());
    assert_eq!(due(&mut s, 70), [0]);
    assert!(s.missed().is_empty());
}

#[test]
fn a_step_repeats_by_the_clock() {
    let mut s = scheduler(
        "[[steps]]\ndo = 'wait'\nafter = '5ms'\nevery = '10ms'\ntimes = 3\n[[steps]]\ndo = 'wait'",
    );
    let times: Vec<_> = (0..60).filter(|t| due(&mut s, *t).contains(&0)).collect();
    assert_eq!(times, [5, 15, 25]);
    assert!(s.all_ended(), "the next step came after the last repetition");
}

#[test]
fn a_step_repeats_on_each_event() {
    let mut s = scheduler(
        "[[steps]]\ndo = 'pause'\ntarget = 'trigger'\ntimes = 2\non = { event = 'vote-cast' }",
    );
    s.observe(&cast(1, 1, 2, 1));
    assert_eq!(due(&mut s, 1), [0]);
    assert!(due(&mut s, 2).is_empty());
    assert_eq!(s.missed()[0].step, "step 1: pause trigger for time 2");
    s.observe(&cast(3, 2, 2, 1));
    let second = s.due(3 * MS);
    assert_eq!(second[0].resolved.as_ref().unwrap().nodes, [NodeId(2)]);
    s.ended(0, None);
    s.observe(&cast(4, 2, 2, 1));
    assert!(due(&mut s, 4).is_empty() && s.all_ended());
}

#[test]
fn tracks_run_side_by_side_and_can_wait_for_each_other() {
    let mut s = scheduler(
        r#"
        [[steps]]
        do = "wait"
        after = "100ms"
        [[steps]]
        track = "other"
        name = "x"
        do = "cut"
        links = ["n1->n2"]
        after = "10ms"
        [[steps]]
        track = "other"
        do = "wait"
        after = "10ms"
        [[steps]]
        do = "heal"
        on = { step = "x" }
        "#,
    );
    due(&mut s, 0);
    assert_eq!(due(&mut s, 10), [1]);
    s.observe(&done(10, 1, "x", None));
    s.observe(&done(11, 1, "x", Some(Outcome::Installed)));
    due(&mut s, 11);
    assert_eq!(due(&mut s, 21), [2]);
    assert_eq!(due(&mut s, 100), [0, 3]);
    assert!(s.all_ended());
}

/// Says why a schedule is refused: the sentence, and the hint behind it.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let nodes: Vec<_> = NodeId::all(3).collect();
    let error = Step::validate_all(&steps(text), &nodes).expect_err("must be refused");
    let hint = error.hint.as_ref().map(|hint| format!(" / {hint}")).unwrap_or_default();
    assert_eq!(format!("{error}{hint}"), expected);
}

#[test]
fn what_cannot_be_is_refused_with_a_hint() {
    let wait = |on: &str| format!("[[steps]]\ndo = 'wait'\non = {on}");
    refused(
        &wait("{ event = 'leader-electd' }"),
        "step 1: unknown event `leader-electd` / did you mean `leader-elected`?",
    );
    refused(
        &wait("{ event = 'vote-cast', in-trem = 1 }"),
        "step 1: event `vote-cast` has no field `in-trem` / did you mean `in-term`?",
    );
    refused(
        &wait("{ op = 'write', typ = 'ok' }"),
        "step 1: operation `write` has no field `typ` / did you mean `type`?",
    );
    refused(
        &wait("{ op = 'write', type = 'okay' }"),
        "step 1: `type` is never `okay`, only `invoke`, `ok`, `fail`, `info`",
    );
    refused(&wait("{ step = 'x' }"), "step 1: unknown step `x`");
    refused(&wait("{ fault = 'kil' }"), "step 1: unknown fault `kil` / did you mean `kill`?");
    refused(&wait("{ event = 'exit', count = 0 }"), "step 1: `count` starts at 1");
    refused(&wait("{ any-of = [] }"), "step 1: an empty list of patterns never comes");
    refused(
        &wait("{ event = 'vote-cast', in-term = '> n1' }"),
        "step 1: `in-term`: \"n1\" is no number to compare with",
    );
    refused(
        &wait("{ event = 'vote-cast', node = 'minority' }"),
        "step 1: `minority` is a choice, which an event cannot be compared with",
    );
    let capture = "capture it in the pattern of an earlier step, for example `in-term = \"$t\"`";
    refused(
        &wait("{ event = 'vote-cast', in-term = '> $t' }"),
        &format!("step 1: nothing captures `$t` / {capture}"),
    );
    refused(
        "[[steps]]\ndo = 'kill'\ntarget = '$t'",
        &format!("step 1: nothing captures `$t` / {capture}"),
    );
    refused(
        "[[steps]]\ndo = 'kill'\ntarget = '$t'\non = { event = 'vote-cast', in-term = '$t' }",
        "step 1: `$t` is captured from a field that holds no node",
    );
}

#[test]
fn what_means_nobody_whoever_leads_is_refused() {
    let cut = |links: &str| format!("[[steps]]\ndo = 'cut'\nlinks = ['{links}']");
    refused(&cut("n1->not-all"), "step 1: `not-all` is nobody");
    refused("[[steps]]\ndo = 'kill'\ntarget = 'not-all'", "step 1: `not-all` is nobody");
    for links in ["n1->n2", "leader->leader", "n1->not-n1"] {
        scheduler(&cut(links));
    }
}

#[test]
fn what_was_not_done_cannot_be_undone() {
    refused(
        "[[steps]]\ndo = 'resume'\ntarget = 'n1'",
        "step 1: `resume` undoes nothing: no step before it does `pause`",
    );
    refused(
        "[[steps]]\ndo = 'pause'\ntarget = 'n2'\n[[steps]]\ndo = 'resume'\ntarget = 'n1'",
        "step 2: no step before it does `pause` to n1",
    );
    refused(
        "[[steps]]\ndo = 'pause'\ntarget = 'n2'\n[[steps]]\nname = 'k'\ndo = 'kill'\n\
         target = 'n1'\n[[steps]]\ndo = 'resume'\ntarget = 'step:k'",
        "step 3: `resume` does not undo `kill` of step `k`",
    );
    refused(
        "[[steps]]\ndo = 'pause'\nat = '2s'\ntarget = 'n2'\n\
         [[steps]]\ndo = 'resume'\nat = '1s'\ntarget = 'n2'",
        "step 2: `resume` undoes nothing: no step before it does `pause`",
    );
    scheduler(
        "[[steps]]\ndo = 'pause'\ntarget = 'leader'\n[[steps]]\ndo = 'resume'\ntarget = 'n1'",
    );
    scheduler("[[steps]]\ndo = 'restart'\ntarget = 'n1'\non = { event = 'exit', node = 'n1' }");
}

#[test]
fn what_cannot_end_is_refused() {
    refused(
        "[[steps]]\ndo = 'wait'\nevery = '1s'",
        "step 1: `every` without `times` would never end / say how often, for example `times = 5`",
    );
    refused(
        "[[steps]]\ndo = 'wait'\ntimes = 2",
        "step 1: `times` needs an `every`, an `after` or an `on` / for example `every = \"500ms\"`",
    );
    scheduler("[[steps]]\ndo = 'wait'\nafter = '1s'\ntimes = 2");
    refused("[[steps]]\ndo = 'wait'\nwithin = '1s'", "step 1: `within` needs an `on`");
    let hint = "put the steps in tracks of their own (`track = \"…\"`), or wait for an earlier one";
    refused(
        "[[steps]]\ndo = 'wait'\non = { step = 'x' }\n[[steps]]\nname = 'x'\ndo = 'wait'",
        &format!("step 1: it can never run: it waits for step `x`, which waits for it / {hint}"),
    );
    refused(
        "[[steps]]\nname = 'a'\ntrack = '1'\ndo = 'wait'\non = { step = 'b' }\n\
         [[steps]]\nname = 'b'\ntrack = '2'\ndo = 'wait'\non = { step = 'a' }",
        &format!(
            "step 1 (`a`): it can never run: it waits for step `b`, which waits for it / {hint}"
        ),
    );
    scheduler(
        "[[steps]]\ntrack = '1'\ndo = 'wait'\non = { step = 'b' }\n\
         [[steps]]\nname = 'b'\ntrack = '2'\ndo = 'wait'",
    );
}

#[test]
fn what_nothing_undoes_has_no_time_to_last_and_a_turn_needs_somebody() {
    refused(
        "[[steps]]\ndo = 'wait'\nfor = '1s'",
        "step 1: `wait` takes no `for`: nothing undoes it",
    );
    let hint = "for example `target = \"all\"`, `times = 3` and `every = \"1s\"`";
    for step in ["target = 'n1'", "times = 3\nevery = '1s'\nlinks = ['n1->n2']"] {
        let fault = if step.starts_with('t') && step.contains("links") { "cut" } else { "kill" };
        refused(
            &format!("[[steps]]\ndo = '{fault}'\nin-turn = true\n{step}"),
            &format!("step 1: `in-turn` needs a `target` and `times` / {hint}"),
        );
    }
}

#[test]
fn a_step_that_begins_after_the_run_is_refused() {
    let late = |text: &str| {
        Step::validate_time(&steps(text), std::time::Duration::from_secs(3))
            .map_err(|error| error.to_string())
    };
    let error = "step 1: it begins after 4s at the earliest, and the run has 3s".to_owned();
    assert_eq!(late("[[steps]]\ndo = 'wait'\nat = '4s'"), Err(error.clone()));
    assert_eq!(late("[[steps]]\ndo = 'wait'\nat = '2s'\nevery = '1s'\ntimes = 3"), Err(error));
    let two = "[[steps]]\ndo = 'wait'\nafter = '2s'\n[[steps]]\ndo = 'wait'\nafter = '2s'";
    assert!(late(two).unwrap_err().starts_with("step 2: it begins after 4s"));
    assert_eq!(late(&format!("{two}\ntrack = 'b'")), Ok(()));
    assert_eq!(late(&format!("{two}\noptional = true")), Ok(()));
}

#[test]
fn a_pattern_that_cannot_be_read_says_why() {
    let read = |on: &str| {
        let text = format!("[[steps]]\ndo = 'wait'\non = {on}");
        toml::from_str::<File>(&text).err().unwrap().to_string()
    };
    assert!(read("{ node = 'n1' }").contains("a pattern names an `event`, an `op`"));
    assert!(read("{ all-of = [], event = 'exit' }").contains("`all-of` stands alone"));
    assert!(read("{ event = 'exit', count = 'x' }").contains("`count` is a number"));
}
