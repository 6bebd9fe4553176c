//! `usurper prove`: each scenario without and with its defects.
//!
//! Without, every check must be valid; with, the expected checks must be invalid *and* the defects
//! must have been hit. Both ways or it proves nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::anyhow;
use serde::Serialize;
use usurper_checks::{CheckVerdict, Judgement};

use crate::{
    cli::{Output, ProveArgs},
    controller::RunEnd,
    execute::{Judged, execute},
    failure::{Failure, Status},
    output::{self, Paint, paint},
    plan::{Plan, Wishes},
    ready::Ready,
    reporter::Silent,
    scenario::Scenario,
    side_by_side::{Next, Work, default_jobs, side_by_side},
    stored::defects_hit,
    system,
};

/// How many runs that are not as they should be are named.
const NAMED_MAX: usize = 5;

/// What one run was for, and how it went.
#[derive(Debug)]
struct Outcome {
    with: bool,
    took: Duration,
    end: End,
}

#[derive(Debug)]
enum End {
    /// As it should be.
    Good,
    /// Not as it should be: what was seen instead, and where it is.
    Wrong(String),
    /// The harness failed.
    Failed(String),
    Interrupted,
}

/// One scenario's line in the table.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    scenario: String,
    expect: Vec<String>,
    without: Tally,
    /// Absent when the scenario has no defect.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<Tally>,
    median_ms: u64,
    /// What was not as it should be: the first ones.
    wrong: Vec<String>,
    failed: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Tally {
    runs: u32,
    good: u32,
}

pub(crate) fn prove(args: &ProveArgs) -> Result<Status, Failure> {
    let mut rows = Vec::new();
    let mut queue = VecDeque::new();
    let mut ready = Ready::probe(&[]);
    for (name, scenario) in chosen(args)? {
        let row = rows.len();
        let with = if scenario.defects.is_empty() { None } else { Some(Tally::default()) };
        for repeat in 0..u64::from(args.repeat) {
            let seed = args.seed.wrapping_add(repeat);
            for with_defect in [false, true].into_iter().take(1 + usize::from(with.is_some())) {
                let wishes = Wishes { with_defect, ..Wishes::default() };
                let mut plan =
                    Plan::resolve(Some((name.clone(), scenario.clone())), &wishes, seed)?;
                ready.make(&mut plan, false)?;
                queue.push_back((row, plan));
            }
        }
        let expect = scenario.expect.clone();
        rows.push(Row { scenario: name, expect, with, ..Row::default() });
    }
    let jobs = args.jobs.unwrap_or_else(|| default_jobs(2));
    let total = queue.len();
    let proofs = Proofs { queue, total, ended: 0, outcomes: BTreeMap::new() };
    let outcomes = side_by_side(jobs, proofs, |(_, plan)| run_one(plan, args)).outcomes;
    let interrupted =
        outcomes.values().flatten().any(|outcome| matches!(outcome.end, End::Interrupted));
    for (index, outcomes) in outcomes {
        rows[index].fill(outcomes);
    }
    show(&rows, args.common.output)?;
    Ok(if interrupted {
        Status::Interrupted
    } else if rows.iter().any(|row| !row.failed.is_empty()) {
        Status::Harness
    } else if rows.iter().all(Row::holds) {
        Status::Valid
    } else {
        Status::Invalid
    })
}

/// The scenarios asked for. With `--all`, those of a system that is not installed are named and left
/// out.
fn chosen(args: &ProveArgs) -> Result<Vec<(String, Scenario)>, Failure> {
    let names: Vec<String> = if args.scenarios.is_empty() {
        Scenario::names().map(str::to_owned).collect()
    } else {
        args.scenarios.clone()
    };
    if let Some(system) = &args.system {
        system::find(system)?;
    }
    let mut chosen = Vec::new();
    for name in names {
        let (name, scenario) = Scenario::load(&name)?;
        if args.system.as_ref().is_some_and(|system| *system != scenario.system) {
            continue;
        }
        let wishes = Wishes::default();
        let plan = Plan::resolve(Some((name.clone(), scenario.clone())), &wishes, args.seed)?;
        match system::find(&scenario.system)?.check_installed(&plan) {
            Ok(()) => chosen.push((name, scenario)),
            Err(failure) if args.all => {
                output::talk(&format!("skipped: {name}: {:#}", failure.error));
            }
            Err(failure) => return Err(failure),
        }
    }
    if chosen.is_empty() {
        return Err(Failure::usage(anyhow!("there is no scenario to prove")));
    }
    Ok(chosen)
}

/// The runs that are left, and how the others went, by row.
struct Proofs {
    queue: VecDeque<(usize, Plan)>,
    total: usize,
    ended: usize,
    outcomes: BTreeMap<usize, Vec<Outcome>>,
}

impl Work for Proofs {
    type Job = (usize, Plan);
    type Done = Outcome;

    fn next(&mut self) -> Next<Self::Job> {
        self.queue.pop_front().map_or(Next::Finished, Next::Job)
    }

    fn done(&mut self, (row, plan): Self::Job, outcome: Outcome) {
        if matches!(outcome.end, End::Interrupted) {
            self.queue.clear();
        }
        self.ended += 1;
        tell(self.ended, self.total, &plan, &outcome);
        self.outcomes.entry(row).or_default().push(outcome);
    }
}

fn tell(done: usize, total: usize, plan: &Plan, outcome: &Outcome) {
    let (name, seed) = (&plan.name, plan.seed);
    let with = if outcome.with { "with" } else { "without" };
    let end = match &outcome.end {
        End::Good => "as it should be".to_owned(),
        End::Wrong(what) => format!("WRONG: {what}"),
        End::Failed(what) => format!("FAILED: {what}"),
        End::Interrupted => "interrupted".to_owned(),
    };
    let seconds = outcome.took.as_secs_f64();
    output::talk(&format!("{done:>4}/{total} {name} {with}, seed {seed}, {seconds:.1} s: {end}"));
}

fn run_one(plan: &Plan, args: &ProveArgs) -> Outcome {
    let began_ns = usurper_history::monotonic_ns();
    let end = match execute(plan, &args.common.store, &mut Silent) {
        Err(failure) => End::Failed(failure.in_a_line()),
        Ok(judged) if judged.end == RunEnd::Interrupted => End::Interrupted,
        Ok(judged) => judge(plan, judged, args.keep),
    };
    let took = Duration::from_nanos(usurper_history::monotonic_ns() - began_ns);
    Outcome { with: !plan.expect.is_empty(), took, end }
}

/// Whether a run is as it should be. One that is is not kept, unless asked for.
fn judge(plan: &Plan, judged: Judged, keep: bool) -> End {
    let seen = match what_is_wrong(plan, &judged) {
        Ok(seen) => seen,
        Err(failure) => return End::Failed(format!("{:#}", failure.error)),
    };
    let path = judged.dir.path().to_owned();
    match (judged.keep_if(keep || seen.is_some(), plan), seen) {
        (Err(failure), _) => End::Failed(format!("{:#}", failure.error)),
        (Ok(()), Some(seen)) => End::Wrong(format!("{seen}, see {}", path.display())),
        (Ok(()), None) => End::Good,
    }
}

fn what_is_wrong(plan: &Plan, judged: &Judged) -> Result<Option<String>, Failure> {
    if plan.expect.is_empty() {
        // What the scenario states as a limitation of the protocol is not asked for.
        let asked = |check: &&CheckVerdict| !plan.limitations.contains_key(&check.check);
        let bad: Vec<_> = (judged.verdict.checks.iter().filter(asked))
            .filter(|check| check.judgement != Judgement::Valid)
            .map(|check| format!("{} is {}", check.check, check.judgement.name()))
            .collect();
        return Ok((!bad.is_empty()).then(|| bad.join(", ")));
    }
    let silent = plan.expect.iter().filter(|check| !judged.is_invalid(check));
    let mut wrong: Vec<_> = silent.map(|check| format!("{check} did not fire")).collect();
    let hit = defects_hit(&judged.dir.history())?;
    let unhit = plan.defects.iter().filter(|defect| !hit.contains(*defect));
    wrong.extend(unhit.map(|defect| format!("{defect} was not hit")));
    Ok((!wrong.is_empty()).then(|| wrong.join(", ")))
}

impl Row {
    fn fill(&mut self, outcomes: Vec<Outcome>) {
        let mut took: Vec<_> = outcomes.iter().map(|outcome| outcome.took).collect();
        took.sort_unstable();
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        self.median_ms = u64::try_from(median.as_millis()).unwrap_or(u64::MAX);
        for outcome in outcomes {
            let tally = match (&mut self.with, outcome.with) {
                (Some(with), true) => with,
                _ => &mut self.without,
            };
            tally.runs += 1;
            match outcome.end {
                End::Good => tally.good += 1,
                End::Wrong(what) => self.wrong.push(what),
                End::Failed(what) => self.failed.push(what),
                End::Interrupted => {}
            }
        }
    }

    fn holds(&self) -> bool {
        let full = |tally: &Tally| tally.runs > 0 && tally.good == tally.runs;
        full(&self.without) && self.with.as_ref().is_none_or(full)
    }
}

fn show(rows: &[Row], form: Output) -> Result<(), Failure> {
    if form == Output::Json {
        return output::json(rows);
    }
    let colour = output::wants_colour();
    let width = rows.iter().map(|row| row.scenario.len()).max().unwrap_or(0).max(8);
    output::data(&format!(
        "{:<width$}  {:>15}  {:>15}  {:>7}  with the defect",
        "scenario", "without: valid", "with: invalid", "median"
    ));
    for row in rows {
        let rate = |tally: &Tally| format!("{} of {}", tally.good, tally.runs);
        let with = row.with.as_ref().map_or_else(|| "-".to_owned(), rate);
        let expect =
            if row.expect.is_empty() { "no defect".to_owned() } else { row.expect.join(", ") };
        let median = Duration::from_millis(row.median_ms).as_secs_f64();
        let line = format!(
            "{:<width$}  {:>15}  {with:>15}  {median:>5.1} s  {expect}",
            row.scenario,
            rate(&row.without),
        );
        let mark = if row.holds() { Paint::Good } else { Paint::Bad };
        output::data(&paint(&line, mark, colour));
        for what in row.failed.iter().chain(&row.wrong).take(NAMED_MAX) {
            output::data(&format!("{:<width$}  {what}", ""));
        }
    }
    Ok(())
}
