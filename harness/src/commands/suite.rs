//! `usurper suite`: many runs side by side, night after night.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, anyhow};
use usurper_history::monotonic_ns;

use super::shrink::shrink;
use crate::{
    cli::{Output, ShrinkArgs, SuiteArgs, new_seed},
    execute::Started,
    failure::{Failure, Status},
    index::Index,
    output,
    ready::Ready,
    result::{Outcome, find_runs},
    side_by_side::side_by_side,
    suite::{
        Cell, Lateness, Lock, Pace, Progress, Queue, Runner, Shard, SuiteDir, SuiteFile,
        SuiteReport, SuiteState, SuiteWork, WorkEnd, jobs_for, junit,
    },
};

/// The failures of so many earlier suites are run first.
const SUITES_BACK: u32 = 10;

pub(crate) fn suite(args: &SuiteArgs) -> Result<Status, Failure> {
    if args.budget.is_some_and(|budget| budget.0.is_zero()) {
        return Err(Failure::usage(anyhow!("a budget of 0 allows no run"))
            .with_hint("leave it out to do each run once"));
    }
    if args.shard.is_some() && args.seed.is_none() && !args.resume {
        return Err(Failure::usage(anyhow!("`--shard` needs `--seed`"))
            .with_hint("all shards take the same one, for example the number of the CI run"));
    }
    let (file, text, cells) = SuiteFile::load(&args.file)?;
    let mut ready = Ready::probe(&[]);
    let Clusters { timeout_ns, nodes } = check_systems(&cells, &mut ready)?;
    let lock = Lock::take(&args.common.store)?;
    let mut index = Index::open(&args.common.store)?;
    let mut dir = open(args, lock, &index, &text)?;
    let suite = dir.state.id();

    let found = find_runs(&dir.runs())?;
    let key = |result: &crate::result::RunResult| (result.cell.clone(), result.seed);
    let finished: BTreeSet<_> = found.finished.iter().map(|(_, result)| key(result)).collect();
    // A suite that was killed may have finished runs that the index does not know.
    for (path, result) in &found.finished {
        index.add(path, result)?;
    }
    let SuiteState { seed, shard, again, .. } = dir.state.clone();
    let queue = Queue::new(&cells, seed, args.budget.is_some(), shard, &again, &finished);
    let now = monotonic_ns();
    let deadline_ns = args.budget.map_or(u64::MAX, |budget| now.saturating_add(budget.as_nanos()));
    let jobs = args.jobs.unwrap_or_else(|| jobs_for(nodes, timeout_ns));
    say_begin(args, &dir, &queue, &cells, jobs, finished.len());

    let lateness = Lateness::watch().context("cannot start a thread").map_err(Failure::harness)?;
    let progress = Progress::new(queue.left(), deadline_ns);
    let runs = dir.runs();
    let runner = Runner {
        suite: &suite,
        cells: &cells,
        runs: &runs,
        keep: args.keep,
        lateness: &lateness,
        ready: &ready,
    };
    let work = SuiteWork {
        cells: &cells,
        queue,
        index: &mut index,
        pace: Pace::new(jobs, timeout_ns, now),
        lateness: &lateness,
        progress,
        deadline_ns,
        fail_fast: args.fail_fast,
        under_way: 0,
        end: WorkEnd::Through,
    };
    let end = side_by_side(jobs, work, |job| runner.run(job)).end;
    if matches!(end, WorkEnd::Through | WorkEnd::Budget) {
        dir.finish()?;
    }
    let report = SuiteReport::of(&index, &suite, &file.summary, dir.path.clone())?;
    write_reports(args, &dir, &report)?;
    show(args, &report)?;
    if args.shrink && !matches!(end, WorkEnd::Interrupted | WorkEnd::Lost(_)) {
        shrink_findings(args, &report)?;
    }
    match end {
        WorkEnd::Lost(failure) => Err(failure),
        WorkEnd::Interrupted => {
            let file = args.file.display();
            output::talk(&format!("stopped; `usurper suite {file} --resume` goes on"));
            Ok(Status::Interrupted)
        }
        WorkEnd::Through | WorkEnd::Budget | WorkEnd::FailFast => Ok(report.status()),
    }
}

/// What decides how many of a suite's clusters a machine can keep on time.
struct Clusters {
    /// The shortest election timeout, in nanoseconds.
    timeout_ns: u64,
    /// The size of the largest.
    nodes: u8,
}

/// Refuses a suite whose systems are not installed or whose faults this machine cannot do, and says
/// what its clusters are like.
fn check_systems(cells: &[Cell], ready: &mut Ready) -> Result<Clusters, Failure> {
    let mut clusters = Clusters { timeout_ns: u64::MAX, nodes: 0 };
    for cell in cells {
        let mut plan = cell.plan(1)?;
        let system = ready.make(&mut plan, false)?;
        let timeout_ns = system.timing(&plan)?.election_timeout_ns;
        clusters.timeout_ns = clusters.timeout_ns.min(timeout_ns);
        clusters.nodes = clusters.nodes.max(plan.nodes);
    }
    Ok(clusters)
}

/// The directory of the suite: a new one, or that of one to go on with.
fn open(args: &SuiteArgs, lock: Lock, index: &Index, text: &str) -> Result<SuiteDir, Failure> {
    let name = name_of(&args.file);
    if args.resume {
        let dir = SuiteDir::resume(&args.common.store, lock, &name, text)?;
        let (seed, shard) = (dir.state.seed, dir.state.shard);
        let asked = (args.seed.unwrap_or(seed), args.shard.unwrap_or(shard));
        if asked != (seed, shard) {
            let error = anyhow!("the unfinished suite has seed {seed} and shard {shard}");
            return Err(Failure::usage(error).with_hint("leave both out to go on with it"));
        }
        return Ok(dir);
    }
    let seed = args.seed.unwrap_or_else(new_seed);
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let again = index.failed_before(&name, SUITES_BACK)?;
    let state = SuiteState::new(&name, seed, shard, text, &Started::now().text, again);
    SuiteDir::begin(&args.common.store, lock, state)
}

/// What a suite is called: its file, in letters that a directory can have.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn say_begin(
    args: &SuiteArgs,
    dir: &SuiteDir,
    queue: &Queue,
    cells: &[Cell],
    jobs: usize,
    finished: usize,
) {
    let SuiteState { seed, shard, .. } = dir.state;
    let mut words = vec![format!("{} cells, seed {seed}", cells.len())];
    words.extend((shard != Shard::WHOLE).then(|| format!("shard {shard}")));
    words.extend(queue.left().map(|left| format!("{left} runs")));
    words.extend(args.budget.map(|budget| format!("budget {budget}")));
    words.extend((finished > 0).then(|| format!("{finished} done before")));
    let again = queue.again();
    words.extend((again > 0).then(|| format!("{again} that failed in earlier nights first")));
    words.push(format!("up to {jobs} at a time"));
    output::talk(&format!("{}: {}", dir.state.id(), words.join(", ")));
}

fn write_reports(args: &SuiteArgs, dir: &SuiteDir, report: &SuiteReport) -> Result<(), Failure> {
    let write = |path: &Path, text: &str| {
        fs::write(path, text)
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::harness)
    };
    let runs = find_runs(&dir.runs())?.finished;
    let xml = junit(&report.suite, &runs)?;
    write(&dir.path.join("junit.xml"), &xml)?;
    write(&dir.path.join("summary.md"), &report.markdown())?;
    if let Some(path) = &args.junit {
        write(path, &xml)?;
    }
    if let Some(path) = &args.markdown {
        write(path, &report.markdown())?;
    }
    Ok(())
}

fn show(args: &SuiteArgs, report: &SuiteReport) -> Result<(), Failure> {
    match args.common.output {
        Output::Text => output::data(&report.text(output::wants_colour())),
        Output::Json => {
            output::json(report)?;
        }
    }
    Ok(())
}

/// Shrinks the shortest run of each finding.
fn shrink_findings(args: &SuiteArgs, report: &SuiteReport) -> Result<(), Failure> {
    for finding in &report.findings {
        if finding.outcome != Outcome::Invalid.name() {
            continue;
        }
        if !finding.shortest.join("history.jsonl").is_file() {
            output::talk(&format!("not kept, so not shrunk: {}", finding.signature));
            continue;
        }
        output::talk(&format!("shrinking: {}", finding.signature));
        shrink(&ShrinkArgs::of_run(finding.shortest.clone(), args.jobs))?;
    }
    Ok(())
}
