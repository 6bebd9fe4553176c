//! From what a history tells to a scenario, with what it does not tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::anyhow;
use usurper_history::{Body, HarnessEvent, NodeId, Phase, Record};
use usurper_nemesis::{
    Fault, Reproduction, Schedule, Step, Target, Tempo, TimeSpan, Wire, from_field_logs,
    leave_out_what_undoes_nothing, what_was_done,
};

use super::given::Given;
use crate::{
    cli::ReproduceArgs,
    failure::Failure,
    plan::{Plan, Wishes, settle_of},
    ready::Ready,
    scenario::{Scenario, Source},
    system::System,
    workload::Workload,
};

/// What the steps of a history may take beyond their waits: each leader takes its time.
const TIME_PER_TRIGGER: Duration = Duration::from_secs(3);
/// How long a step waits at most for a leader that had come in the logs.
const PATIENCE_MAX: Duration = Duration::from_secs(15);

/// The scenario, after how much calm a run of it may end, and what it could not take from the logs.
pub(super) fn scenario_of(
    given: &Given,
    failed: &BTreeSet<String>,
    args: &ReproduceArgs,
) -> Result<(Scenario, Option<TimeSpan>, Vec<String>), Failure> {
    let leaders = given.leaders();
    if leaders.is_empty() {
        let error = anyhow!("`{}` does not tell of any leader that was established", given.names);
        return Err(Failure::usage(error).with_hint(
            "give the logs of the servers themselves, of a time in which somebody led",
        ));
    }
    let system = given.system(args)?;
    let same = system.name() == given.of && given.recorded;
    let told = u8::try_from(given.nodes.len()).unwrap_or(u8::MAX);
    let nodes = args.nodes.unwrap_or(told);
    if nodes < told {
        let error = anyhow!("the logs tell of {told} nodes, which are more than {nodes}");
        return Err(Failure::usage(error).with_hint(format!("leave out `--nodes`, or give {told}")));
    }
    let mut untold = Vec::new();
    if let Some(import) = &given.verdict.imported {
        untold
            .extend(import.notes.iter().filter(|note| note.contains("ordered to within")).cloned());
        untold.extend(import.doubts.iter().cloned());
    }
    let Options { defects, params, node_params } =
        options_of(given, system, same, args, &mut untold);
    let workload = workload_of(given, same, &mut untold);
    let checks = checks_of(given, failed, system, &mut untold);
    let expect = match defects.is_empty() {
        true => Vec::new(),
        false => checks.keys().cloned().collect(),
    };
    let mut scenario = Scenario {
        summary: format!("what {} tells, for {}", given.names, system.name()),
        story: String::new(),
        system: system.name().to_owned(),
        nodes,
        time: TimeSpan::millis(1),
        settle: TimeSpan::millis(1),
        expect,
        defects,
        limitations: BTreeMap::new(),
        params,
        node_params,
        checks,
        workload,
        steps: Schedule::new(),
        source: Source::default(),
    };
    let timing = system.timing(&resolve(&scenario, args)?)?;
    let tempo = Tempo {
        election_timeout: Duration::from_nanos(timing.election_timeout_ns),
        patience: Duration::from_nanos(timing.leader_bound_ns).min(PATIENCE_MAX),
    };
    let story = story_of(given, same, tempo)?;
    untold.extend(story.untold);
    let steps = supported(story.steps, system, &mut untold);
    if steps.iter().all(|step| step.fault == Fault::Wait) {
        untold.push("nothing shows that anything was done to a node: there is no fault".to_owned());
    }
    if given.plan.is_none() && !given.recorded {
        let longest = tempo.election_timeout * 2;
        untold.push(format!(
            "the field's timeouts: waits between steps are cut to {} at most",
            TimeSpan(longest)
        ));
    }
    scenario.steps = steps;
    scenario.time = time_for(&scenario.steps);
    let (longest, calm) = settle_of(&timing);
    let watched = watched_for(given).filter(|_| same);
    scenario.settle = watched.unwrap_or(longest);
    let calm = watched.is_none().then_some(calm);
    scenario.story = written(given, &leaders, &story.seen, &untold);
    Ok((scenario, calm, untold))
}

/// What the nodes are started with.
struct Options {
    defects: Vec<String>,
    params: BTreeMap<String, String>,
    node_params: BTreeMap<NodeId, BTreeMap<String, String>>,
}

fn options_of(
    given: &Given,
    system: &'static dyn System,
    same: bool,
    args: &ReproduceArgs,
    untold: &mut Vec<String>,
) -> Options {
    let (mut params, mut node_params) = (BTreeMap::new(), BTreeMap::new());
    let mut defects = Vec::new();
    if same {
        defects.clone_from(&given.defects);
        match &given.plan {
            Some(plan) => {
                (params, node_params) = (plan.params.clone(), plan.node_params.clone());
            }
            None => node_params = given.params(system),
        }
    } else if given.recorded && !given.defects.is_empty() {
        let list = given.defects.join(", ");
        untold.push(format!("the defects of `{}` are not switched on: {list}", given.of));
    }
    defects.extend(args.defect.iter().cloned());
    let mut seen = BTreeSet::new();
    defects.retain(|defect| seen.insert(defect.clone()));
    params.extend(args.param.iter().cloned());
    Options { defects, params, node_params }
}

/// What clients ask meanwhile: the same kind of things, if that is known.
fn workload_of(given: &Given, same: bool, untold: &mut Vec<String>) -> Option<Workload> {
    let workload = given.plan.as_ref().filter(|_| same).and_then(|plan| plan.workload.clone());
    let operations = given.records.iter().filter(|record| matches!(record.body, Body::Op(_)));
    match (operations.count(), &workload) {
        (0, _) => {}
        (count, Some(_)) => untold.push(format!(
            "{count} steps of clients' operations are not repeated one by one: clients of the same \
             kind ask meanwhile"
        )),
        (count, None) => untold
            .push(format!("{count} steps of clients' operations are left out: no client asks")),
    }
    workload
}

/// The checks that failed, with the options by which they did; what the system cannot be judged by
/// is said.
fn checks_of(
    given: &Given,
    failed: &BTreeSet<String>,
    system: &dyn System,
    untold: &mut Vec<String>,
) -> BTreeMap<String, BTreeMap<String, toml::Value>> {
    let mut checks = BTreeMap::new();
    let events: Vec<String> = system.events().iter().map(|event| (*event).to_owned()).collect();
    for check in failed {
        let Some(info) = usurper_checks::CHECKS.iter().find(|info| info.name == check) else {
            continue;
        };
        let missing = info.missing(&events);
        let missing: Vec<_> =
            missing.into_iter().filter(|event| event != usurper_history::OPERATIONS).collect();
        if !missing.is_empty() {
            let list = missing.join(", ");
            untold.push(format!("`{}` cannot be judged by {check}: no {list}", system.name()));
            continue;
        }
        let options = given.check_options.get(check).cloned().unwrap_or_default();
        let options = serde_json::from_value(options).unwrap_or_default();
        checks.insert(check.clone(), options);
    }
    checks
}

/// What was done, from the records of faults where there are some, else from what the logs show.
fn story_of(given: &Given, same: bool, tempo: Tempo) -> Result<Reproduction, Failure> {
    let begun = given.records.iter().filter_map(|record| match &record.body {
        Body::Fault(fault) if fault.phase == Phase::Begin => Some((record.t, fault)),
        _ => None,
    });
    if !given.recorded {
        return Ok(from_field_logs(&given.records, &given.nodes, tempo));
    }
    let expected: Vec<_> = NodeId::all(u8::try_from(given.nodes.len()).unwrap_or(0)).collect();
    if given.nodes != expected {
        let list: Vec<_> = given.nodes.iter().map(ToString::to_string).collect();
        let error = anyhow!("the nodes of the history are {}", list.join(", "));
        return Err(Failure::usage(error).with_hint("those of a run are n1, n2, and so on"));
    }
    let planned = given.plan.as_ref().filter(|_| same).map(|plan| plan.steps.as_slice());
    let seen = begun
        .map(|(t, fault)| {
            let nodes: Vec<_> = fault.nodes.iter().map(ToString::to_string).collect();
            (t, format!("{} {}", fault.fault, nodes.join(", ")).trim_end().to_owned())
        })
        .collect();
    let steps = what_was_done(&given.records, planned.unwrap_or_default());
    let mut untold = exits_of(&given.records);
    if planned.is_none() {
        untold.push(
            "what the steps waited for: each follows the leader that was established before it"
                .to_owned(),
        );
    }
    if steps.iter().any(|step| matches!(step.target, Some(Target::Node(_)))) {
        untold.push(
            "the part of a node that was hit by its number: it is hit by its number here, whoever leads"
                .to_owned(),
        );
    }
    Ok(Reproduction { steps, seen, untold })
}

/// Processes that ended though nobody had ended them: the same steps may end them again, or not.
fn exits_of(records: &[Record]) -> Vec<String> {
    let exit = |record: &Record| match &record.body {
        Body::Harness(HarnessEvent::Exit { node, expected: false, .. }) => {
            Some(format!("{node} ended by itself: that is left to the system"))
        }
        _ => None,
    };
    records.iter().filter_map(exit).collect()
}

/// Leaves out what the system cannot do, with the undo of it.
fn supported(steps: Schedule, system: &dyn System, untold: &mut Vec<String>) -> Schedule {
    let possible = |step: &Step| {
        let known = |point: &String| system.failpoints().iter().any(|known| known.name == point);
        system.supports(step.fault)
            && step.point.as_ref().is_none_or(known)
            && !(step.needs_frames() && system.wire() == Wire::Bytes)
    };
    let number = |(place, step): (usize, Step)| {
        if possible(&step) {
            return step;
        }
        let (fault, system) = (step.fault, system.name());
        let number = place + 1;
        untold.push(format!("step {number}, `{fault}`, which `{system}` cannot do: it only waits"));
        Step {
            name: step.name.clone(),
            track: step.track.clone(),
            after: step.after,
            within: step.within,
            anyway: step.anyway,
            on: step.on.clone(),
            ..Step::new(Fault::Wait, None)
        }
    };
    let mut steps: Schedule = steps.into_iter().enumerate().map(number).collect();
    let before = steps.clone();
    leave_out_what_undoes_nothing(&mut steps);
    for (number, (was, is)) in (1..).zip(before.iter().zip(&steps)) {
        if was.fault != is.fault {
            let fault = was.fault;
            untold.push(format!("step {number}, `{fault}`, which undoes nothing: it only waits"));
        }
    }
    steps
}

/// How long the steps may take: each event may take its time; a run ends with its last step.
fn time_for(steps: &[Step]) -> TimeSpan {
    let waits: Duration = steps.iter().filter_map(|step| step.after).map(|after| after.0).sum();
    let within: Duration = steps.iter().filter_map(|step| step.within).map(|it| it.0).sum();
    let triggers = u32::try_from(steps.iter().filter(|step| step.on.is_some()).count() + 2);
    let time = waits * 2 + within + TIME_PER_TRIGGER * triggers.unwrap_or(u32::MAX);
    TimeSpan(Duration::from_secs(time.as_secs() + 1))
}

/// How long the healed cluster was watched in the run that was given.
fn watched_for(given: &Given) -> Option<TimeSpan> {
    let healed = given.records.iter().find_map(|record| match &record.body {
        Body::Harness(HarnessEvent::Phase { phase }) if phase == "heal" => Some(record.t),
        _ => None,
    })?;
    let end = given.records.last()?.t;
    Some(TimeSpan::millis((end.saturating_sub(healed) / 1_000_000).max(500)))
}

/// The scenario's story: what the logs tell, and what they do not.
fn written(
    given: &Given,
    leaders: &[(u64, NodeId, u64)],
    seen: &[(u64, String)],
    untold: &[String],
) -> String {
    let mut told: Vec<(u64, String)> = leaders
        .iter()
        .map(|(t, node, term)| (*t, format!("{node} is established as leader of {term}")))
        .chain(seen.iter().cloned())
        .collect();
    told.sort();
    let mut text = format!("Made from {}.\n\nWhat it tells:\n", given.names);
    for (t, what) in told {
        text.push_str(&format!("{:>11}  {what}\n", crate::suite::seconds(t)));
    }
    if !untold.is_empty() {
        text.push_str("\nWhat it does not tell:\n");
    }
    for line in untold {
        text.push_str(&format!("- {line}\n"));
    }
    text
}

/// The plan of a run of the scenario, ready to be run here.
pub(super) fn resolve(scenario: &Scenario, args: &ReproduceArgs) -> Result<Plan, Failure> {
    let wishes = Wishes {
        bin: args.bin.clone(),
        with_defect: !scenario.defects.is_empty(),
        ..Wishes::default()
    };
    let name = format!("{}/reproduced", scenario.system);
    let mut plan = Plan::resolve(Some((name, scenario.clone())), &wishes, args.seed)?;
    Ready::probe(&[]).make(&mut plan, false)?;
    Ok(plan)
}
