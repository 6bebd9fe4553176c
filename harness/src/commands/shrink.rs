//! `usurper shrink`: the fewest steps with which a stored run still fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, anyhow};
use usurper_nemesis::{
    Candidate, Effort, Failing, Form, Proposal, SETTLE_CUT, Shrunk, Step, Stopped, TimeSpan, Trial,
    shrink as search,
};

use crate::{
    again::{Again, Outcome},
    answers::{Answers, Seeds},
    cli::ShrinkArgs,
    failure::{Failure, Status},
    oracle::{Runs, Stop},
    output,
    pace::Pace,
    plan::Plan,
    scenario::Scenario,
    statistics::Rate,
    stored::{Stored, Way},
};

/// How often the run must fail again without a miss to be taken for sure.
const START_SURE: u32 = 4;
/// How often the smallest schedule is run at the end, and as often again with little beside it.
const CONFIRM_RUNS: u32 = 10;
/// How often it must fail to be run again.
const CONFIRM_ENOUGH: u32 = 9;
/// How often it is run again where that was quick: more than half of the budget is left.
const CONFIRM_MORE: u32 = 3;
/// Of so many of both together, one may not fail for the search to be content.
const CONFIRM_MISSES: u32 = 20;
/// How much more often a larger one must fail to be worth its steps.
const CONFIRM_MARGIN: u32 = 2;
/// How long a step waits for what may never come without the defects.
const CLOCKED_WITHIN: TimeSpan = TimeSpan::millis(5_000);
/// What the story says of a scenario that nothing but the defects carries on.
const NEEDS_DEFECTS: &str =
    "Without the defects it is unknown: a step waits for what only they bring about.\n";
/// How many steps back the search goes where it fails less often than that.
const CONFIRM_BACK: usize = 12;
/// The part of the budget that is for the search, in percent; the rest is for the confirmation.
const SEARCH_PERCENT: u64 = 85;
/// How long a confirmation takes in all, in percent of a run that fails: some side by side, some alone, and
/// with longer waits.
const CONFIRM_PERCENT: u64 = 400;

pub(crate) fn shrink(args: &ShrinkArgs) -> Result<Status, Failure> {
    let began_ns = usurper_history::monotonic_ns();
    let stored = Stored::load(&args.run)?;
    let plan = stored.plan_here(args.bin.clone())?;
    let checks = stored.failed_checks(args.check.as_deref())?;
    if checks.is_empty() {
        let run = args.run.display();
        return Err(Failure::usage(anyhow!("the run `{run}` failed no check"))
            .with_hint("only a run that failed can be shrunk"));
    }
    let list: Vec<_> = checks.iter().cloned().collect();
    let before = plan.steps.len();
    output::talk(&format!(
        "{} with {} nodes, {before} steps, failed {}",
        plan.name,
        plan.nodes,
        list.join(", ")
    ));
    let store = tempfile::tempdir().context("cannot make a store").map_err(Failure::harness)?;
    let text = toml::to_string(&plan).context("cannot write the plan").map_err(Failure::harness)?;
    let answers = Answers::open(&args.run.join("shrink.jsonl"), text, list)?;
    if answers.count() > 0 {
        output::talk(&format!("going on from {} answers of an earlier search", answers.count()));
    }
    let starts = starts_of(&stored, &plan, &checks)?;
    let budget_ns = args.budget.as_nanos();
    let mut runs = Runs {
        again: Again { store: store.path().to_owned(), keep: false, until_failed: true, checks },
        plan,
        seeds: Seeds::Each,
        pace: Pace::new(args.jobs),
        deadline_ns: began_ns.saturating_add(budget_ns / 100 * SEARCH_PERCENT),
        answers,
        stop: None,
        done: 0,
        failed_ns: 0,
    };
    let Some((start, first)) = begin(&mut runs, starts, args.repeat, began_ns)? else {
        if runs.stop.is_some() {
            return ended_early(&runs);
        }
        output::talk("error: the run does not fail again, so nothing can be left out");
        output::talk("hint: `usurper replay RUN --repeat 20` says how rare it is");
        return Ok(Status::Unknown);
    };
    // As often as before, so that a failure that is rare to begin with may stay so.
    let trial = Trial::new(first.hits.clamp(1, surest(args.repeat)), args.repeat);
    output::talk(&format!(
        "a change is kept if {} of {} runs fail; {} runs side by side",
        trial.need,
        trial.of,
        runs.pace.jobs()
    ));
    let end_ns = began_ns.saturating_add(budget_ns);
    let shrunk = run_search(&mut runs, start, trial, began_ns, end_ns);
    if let Some(Stop::Failed(error)) = &runs.stop {
        return Err(Failure::harness(anyhow!("{error}")));
    }
    let stopped = runs.stop.clone();
    // The seed draws the nodes' timers, too, and a scenario should not lean on them.
    runs.seeds = Seeds::Each;
    // The confirmation has the rest of the budget, and at least once through.
    runs.deadline_ns = u64::MAX;
    if runs.stop == Some(Stop::Budget) {
        runs.stop = None;
    }
    let confirmed = confirm(&mut runs, &shrunk, began_ns, end_ns)?;
    let confirmed = provable(&mut runs, confirmed, began_ns)?;
    let path = args.output.clone().unwrap_or_else(|| args.run.join("shrunk.toml"));
    let text = scenario_text(&runs, args, &confirmed)?;
    std::fs::write(&path, &text)
        .with_context(|| format!("cannot write `{}`", path.display()))
        .map_err(Failure::harness)?;
    show(&runs, before, &shrunk, &confirmed, &path);
    Ok(match stopped.or(runs.stop) {
        Some(Stop::Interrupted) => Status::Interrupted,
        _ => Status::Valid,
    })
}

/// The ways to do the run again, the shortest first.
fn starts_of(
    stored: &Stored,
    plan: &Plan,
    checks: &BTreeSet<String>,
) -> Result<Vec<Proposal>, Failure> {
    let nodes = plan.node_ids();
    let mut starts: Vec<Proposal> = Vec::new();
    for Way { form, steps, cut } in stored.ways(checks)? {
        // Found by then, it need not be watched afterwards.
        let settle = if cut { plan.settle.min(SETTLE_CUT) } else { plan.settle };
        let what = format!("{}{}", form.name(), if cut { ", until it was found" } else { "" });
        let candidate = Candidate { settle, steps };
        // All runs to come are the shorter for it.
        let hurried = (form == Form::AsPlanned).then(|| Proposal {
            what: format!("{what}, a quarter of every wait"),
            // That nobody leads shows without it: a leader is waited for at the end in any case.
            candidate: Candidate { settle: settle.min(SETTLE_CUT), ..candidate.hurried(1) },
        });
        for start in hurried.into_iter().chain([Proposal { what, candidate }]) {
            let fits = Step::validate_all(&start.candidate.steps, &nodes).is_ok();
            if fits && !starts.iter().any(|other| other.candidate == start.candidate) {
                starts.push(start);
            }
        }
    }
    Ok(starts)
}

/// The way in which the run fails again the most surely, with how often it does; of those that fail each
/// time, the shortest. None if it does not fail again.
fn begin(
    runs: &mut Runs,
    starts: Vec<Proposal>,
    repeat: u32,
    began_ns: u64,
) -> Result<Option<(Candidate, Rate)>, Failure> {
    let sure = Trial::new(START_SURE.min(repeat), START_SURE.min(repeat));
    let told = |start: &Proposal, rate: Rate| {
        let steps = start.candidate.steps.len();
        tell(began_ns, &format!("{}: fails {rate}, {steps} steps", start.what));
    };
    // What fails with any seed can be searched with any, and what is found then leans on none.
    let mut found = runs.first_failing(&starts, sure, Effort::Sure);
    if matches!(found, Ok(None)) {
        tell(began_ns, "does not fail each time with other seeds: searched with its own");
        runs.seeds = Seeds::Same;
        found = runs.first_failing(&starts, sure, Effort::Sure);
    }
    match found {
        Ok(Some((Failing { index, done }, tried))) => {
            told(&starts[index], Rate { hits: tried.failed, runs: tried.failed + tried.passed });
            // Each of these runs failed.
            let rate = Rate { hits: repeat, runs: repeat };
            let start = &starts[index].candidate;
            let nodes = runs.plan.node_ids();
            let until = done.and_then(|done| start.until(&done, &nodes));
            return Ok(Some((until.unwrap_or_else(|| start.clone()), rate)));
        }
        Ok(None) => {}
        Err(Stopped) => return Ok(None),
    }
    let candidates: Vec<_> = starts.iter().map(|start| &start.candidate).collect();
    let mut most = None;
    for each in [repeat.div_ceil(2), repeat, 2 * repeat] {
        let counted = runs.count_all(&candidates, each)?;
        let best = counted.iter().enumerate().rev().max_by_key(|(_, (rate, _))| rate.hits);
        most = best.filter(|(_, (rate, _))| rate.hits > 0).map(|(index, _)| index);
        tell(began_ns, &format!("fails {} of {each} runs at most", best.map_or(0, |b| b.1.0.hits)));
        if most.is_some() || runs.stop.is_some() {
            break;
        }
    }
    let Some(index) = most else { return Ok(None) };
    let (rate, checks) = runs.count(&starts[index].candidate, repeat)?;
    told(&starts[index], rate);
    // Of several checks, those count that fail the most often: the others come and go.
    if let Some(often) = checks.values().max() {
        let surest = checks.iter().filter(|(_, hits)| *hits == often);
        runs.again.checks = surest.map(|(check, _)| check.clone()).collect();
    }
    Ok(Some((starts[index].candidate.clone(), rate)))
}

/// What is written in the end.
struct Confirmed {
    smallest: Candidate,
    rate: Rate,
    /// What every failure failed.
    checks: BTreeSet<String>,
    /// Without the defects it waits in vain, and is unknown.
    needs_defects: bool,
}

fn run_search(
    runs: &mut Runs,
    start: Candidate,
    trial: Trial,
    began_ns: u64,
    end_ns: u64,
) -> Shrunk {
    let search_ns = runs.deadline_ns;
    let nodes = runs.plan.node_ids();
    let mut trial = trial;
    let mut steps = start.steps.len();
    search(start, &nodes, &mut |proposals: &[Proposal], effort: Effort| {
        let confirm_ns = runs.failed_ns / 100 * CONFIRM_PERCENT;
        runs.deadline_ns = search_ns.min(end_ns.saturating_sub(confirm_ns));
        // What only saves time shall not cost anything of how surely it fails.
        let fewer = proposals.iter().any(|proposal| proposal.candidate.steps.len() < steps);
        let need = if fewer { trial.need } else { trial.need + 1 };
        let found = runs.first_failing(proposals, Trial::new(need, trial.of), effort)?;
        let Some((failing, tried)) = found else {
            let count = proposals.len();
            tell(began_ns, &format!("kept as it is: none of {count} changes still fails"));
            return Ok(None);
        };
        let Proposal { what, candidate } = &proposals[failing.index];
        let mut rate = Rate { hits: tried.failed, runs: tried.failed + tried.passed };
        if trial.need < surest(trial.of) {
            // What fails more often than it did shall not become rare again.
            rate = runs.count(candidate, trial.of).map_or(rate, |(rate, _)| rate);
            trial.need = trial.need.max(rate.hits.min(surest(trial.of)));
        }
        steps = candidate.steps.len();
        let waits = waits_of(candidate);
        tell(began_ns, &format!("{what}: fails {rate}, {steps} steps and {waits} of waits left"));
        Ok(Some(failing))
    })
}

/// How often something must fail of so many runs that fails nearly always.
fn surest(runs: u32) -> u32 {
    runs - runs / 6
}

/// Runs the smallest schedule once more, often; where it does not fail nearly each time, also with longer
/// waits, and those before it, and takes the surest.
///
/// Waits come to half as much again as was just enough, if it fails as surely so, and the healed cluster is
/// watched for twice as long, because the next machine may be slower.
fn confirm(
    runs: &mut Runs,
    shrunk: &Shrunk,
    began_ns: u64,
    deadline_ns: u64,
) -> Result<Confirmed, Failure> {
    let longest = runs.plan.settle;
    let with_room = |candidate: &Candidate| Candidate {
        settle: TimeSpan(candidate.settle.0 * 2).min(longest),
        ..candidate.clone()
    };
    let mut best = Confirmed {
        smallest: with_room(shrunk.smallest()),
        rate: Rate::default(),
        checks: runs.again.checks.clone(),
        needs_defects: false,
    };
    if runs.stop.is_some() {
        return Ok(best);
    }
    let mut last: Option<&Candidate> = None;
    for Proposal { candidate, .. } in shrunk.trail.iter().rev().take(CONFIRM_BACK) {
        if last.replace(candidate) == Some(candidate) {
            continue;
        }
        // More time between the steps may make up for a machine that is busier than it was.
        let mut tried: Vec<_> =
            [6, 4, 8].into_iter().map(|quarters| with_room(&candidate.hurried(quarters))).collect();
        tried.dedup();
        let counted = runs.count_all(&tried.iter().collect::<Vec<_>>(), CONFIRM_RUNS)?;
        for (smallest, (mut rate, mut checks)) in tried.into_iter().zip(counted) {
            let crowded = rate.hits >= CONFIRM_ENOUGH;
            let now_ns = usurper_history::monotonic_ns();
            if crowded && now_ns < deadline_ns {
                // What fails on a busy machine shall fail on one that is not.
                let times = if now_ns < began_ns.midpoint(deadline_ns) { CONFIRM_MORE } else { 1 };
                let (alone, by_check) = runs.count_alone(&smallest, CONFIRM_RUNS * times)?;
                rate = Rate { hits: rate.hits + alone.hits, runs: rate.runs + alone.runs };
                by_check
                    .into_iter()
                    .for_each(|(check, hits)| *checks.entry(check).or_default() += hits);
            }
            let (steps, waits) = (smallest.steps.len(), waits_of(&smallest));
            let text = format!("confirmed with {steps} steps and {waits} of waits: fails {rate}");
            tell(began_ns, &text);
            let surely = crowded && (rate.runs - rate.hits) * CONFIRM_MISSES <= rate.runs;
            let markedly = of_ten(rate) > of_ten(best.rate) + CONFIRM_MARGIN;
            if best.rate.runs == 0 || surely || markedly {
                let checks = always(&checks, rate);
                best = Confirmed { smallest, rate, checks, needs_defects: false };
            }
            if surely {
                return Ok(best);
            }
        }
        // More steps would have to be worth it.
        let often = best.rate.runs > CONFIRM_RUNS && of_ten(best.rate) >= CONFIRM_ENOUGH;
        if often || usurper_history::monotonic_ns() >= deadline_ns || runs.stop.is_some() {
            break;
        }
    }
    Ok(best)
}

/// How often something fails of as many runs as a confirmation has.
fn of_ten(rate: Rate) -> u32 {
    rate.hits * CONFIRM_RUNS / rate.runs.max(1)
}

/// The checks that every failure failed; where there is none, those that failed the most often.
fn always(checks: &BTreeMap<String, u32>, rate: Rate) -> BTreeSet<String> {
    let often = checks.values().copied().max().unwrap_or(rate.hits);
    checks.iter().filter(|(_, hits)| **hits == often).map(|(check, _)| check.clone()).collect()
}

/// Sees to it that the schedule can be carried through without the defects, too, so that a build
/// without them is put to the same faults: where a step waits for what only a defect brings about, it
/// goes on by the clock.
fn provable(
    runs: &mut Runs,
    mut confirmed: Confirmed,
    began_ns: u64,
) -> Result<Confirmed, Failure> {
    let waits = confirmed.smallest.steps.iter().any(waits_for_good);
    let unknown =
        |runs: &Runs, candidate: &Candidate| runs.without_defects(candidate) == Outcome::Unknown;
    if runs.stop.is_some()
        || runs.plan.defects.is_empty()
        || !waits
        || !unknown(runs, &confirmed.smallest)
    {
        return Ok(confirmed);
    }
    let mut clocked = confirmed.smallest.clone();
    for step in clocked.steps.iter_mut().filter(|step| waits_for_good(step)) {
        step.within = Some(step.within.unwrap_or(CLOCKED_WITHIN));
        step.anyway = true;
    }
    let (rate, checks) = runs.count(&clocked, CONFIRM_RUNS)?;
    confirmed.needs_defects = rate.hits + 1 < of_ten(confirmed.rate) || unknown(runs, &clocked);
    if !confirmed.needs_defects {
        tell(began_ns, &format!("goes on by the clock without the defects: fails {rate}"));
        let checks = always(&checks, rate);
        (confirmed.smallest, confirmed.rate, confirmed.checks) = (clocked, rate, checks);
    }
    Ok(confirmed)
}

/// Whether a step that never has its event makes a run unknown.
fn waits_for_good(step: &Step) -> bool {
    step.on.is_some() && !step.anyway && !step.optional
}

fn ended_early(runs: &Runs) -> Result<Status, Failure> {
    match &runs.stop {
        Some(Stop::Failed(error)) => Err(Failure::harness(anyhow!("{error}"))),
        Some(Stop::Interrupted) => Ok(Status::Interrupted),
        _ => {
            output::talk("error: the budget is used up before the run was seen to fail again");
            output::talk("hint: give it more with `--budget 10m`");
            Ok(Status::Unknown)
        }
    }
}

fn tell(began_ns: u64, text: &str) {
    let seconds = crate::reporter::seconds(usurper_history::monotonic_ns() - began_ns);
    output::talk(&format!("{seconds:>6.1} s  {text}"));
}

fn waits_of(candidate: &Candidate) -> TimeSpan {
    let wait = |step: &Step| step.after.unwrap_or_default().0 + step.lasts.unwrap_or_default().0;
    let waits = candidate.steps.iter().map(wait);
    TimeSpan(waits.sum::<std::time::Duration>() + candidate.settle.0)
}

/// The smallest schedule as a scenario: TOML, ready to be kept.
fn scenario_text(runs: &Runs, args: &ShrinkArgs, confirmed: &Confirmed) -> Result<String, Failure> {
    let plan = &runs.plan;
    let Confirmed { smallest, rate, checks, needs_defects } = confirmed;
    let checks: Vec<_> = checks.iter().cloned().collect();
    let options = plan.checks.iter().filter_map(|(check, options)| {
        let options: BTreeMap<String, toml::Value> = serde_json::from_value(options.clone())
            .ok()
            .filter(|o: &BTreeMap<_, _>| !o.is_empty())?;
        Some((check.clone(), options))
    });
    let scenario = Scenario {
        summary: summary_of(plan, &checks, smallest.steps.len()),
        story: format!(
            "Shrunk from the run {} with seed {}.\n{}\n{}",
            args.run.display(),
            plan.seed,
            how_often(*rate),
            if *needs_defects { NEEDS_DEFECTS } else { "" }
        ),
        system: plan.system.clone(),
        nodes: plan.nodes,
        time: smallest.time(),
        settle: smallest.settle,
        defects: plan.defects.clone(),
        expect: if plan.defects.is_empty() { Vec::new() } else { checks },
        limitations: plan.limitations.clone(),
        params: plan.params.clone(),
        node_params: plan.node_params.clone(),
        checks: options.collect(),
        workload: plan.workload.clone(),
        steps: smallest.steps.clone(),
        source: crate::scenario::Source::default(),
    };
    let text = toml::to_string_pretty(&scenario).context("cannot write the scenario");
    text.map_err(Failure::harness)
}

fn how_often(rate: Rate) -> String {
    match rate.runs {
        0 => "It was not confirmed: the search was stopped.".to_owned(),
        _ => format!("It fails {rate}."),
    }
}

fn summary_of(plan: &Plan, checks: &[String], steps: usize) -> String {
    let after = match steps {
        0 => "without any fault".to_owned(),
        1 => "after one step".to_owned(),
        _ => format!("after {steps} steps"),
    };
    format!("{} fails {} {after}.", plan.system, checks.join(", "))
}

fn show(runs: &Runs, before: usize, shrunk: &Shrunk, confirmed: &Confirmed, path: &Path) {
    let Confirmed { smallest, rate, .. } = confirmed;
    output::data(&format!("steps      {} of {before}", smallest.steps.len()));
    output::data(&format!("replays    {}", how_often(*rate)));
    output::data(&format!("runs       {}", runs.done));
    let end = if shrunk.complete {
        "nothing more can be left out"
    } else {
        "stopped before its end; the same command goes on"
    };
    output::data(&format!("search     {end}"));
    output::data(&format!("written to {}", path.display()));
}
