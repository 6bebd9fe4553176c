//! The runs of a suite: handed out, done, kept, counted.

use std::{fs, path::Path};

use clap::ValueEnum;
use tokio::sync::watch;
use usurper_history::monotonic_ns;

use super::{
    file::Cell,
    lateness::Lateness,
    pace::{Change, Pace},
    progress::Progress,
    queue::{Job, Queue},
};
use crate::{
    controller::RunEnd,
    execute::{Judged, Started, execute_in},
    failure::Failure,
    index::Index,
    plan::Plan,
    ready::Ready,
    report,
    reporter::Silent,
    result::{Outcome, RunResult},
    side_by_side::{Next, Work},
    store::RunDir,
};

/// How far back a look at the machine's lateness goes.
const LOOK_BACK_NS: u64 = 2_000_000_000;

/// Which runs keep everything; the others keep their plan and how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    All,
    /// Those that are not valid.
    #[default]
    Failed,
    None,
}

/// What came of one run.
#[derive(Debug)]
pub(crate) enum Done {
    Finished {
        dir: RunDir,
        result: Box<RunResult>,
    },
    Interrupted,
    /// Nothing can be stored any more.
    Lost(Failure),
}

/// Does runs of a suite.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) suite: &'a str,
    pub(crate) cells: &'a [Cell],
    /// Where its runs are kept.
    pub(crate) runs: &'a Path,
    pub(crate) keep: Keep,
    pub(crate) lateness: &'a Lateness,
    pub(crate) ready: &'a Ready,
}

impl Runner<'_> {
    /// Does one run on this thread.
    pub(crate) fn run(&self, job: &Job) -> Done {
        self.try_run(job).unwrap_or_else(Done::Lost)
    }

    fn try_run(&self, job: &Job) -> Result<Done, Failure> {
        let cell = &self.cells[job.cell];
        let mut plan = cell.plan(job.seed)?;
        let started = Started::now();
        let name = cell.name.replace(' ', "_");
        let dir = RunDir::create(self.runs, &name, &started.stamp, plan.seed)?;
        let fits = self.ready.fit(&mut plan, false);
        // Nobody else stops it.
        let (_never, cancel) = watch::channel(false);
        let run = || execute_in(&plan, dir.clone(), &started, &mut Silent, cancel);
        let mut result = match fits.and_then(|_| run()) {
            Ok(judged) if judged.end == RunEnd::Interrupted => {
                dir.remove()?;
                return Ok(Done::Interrupted);
            }
            Ok(judged) => {
                if self.keeps(&judged.result) {
                    judged.keep(&plan)?;
                    self.page(&judged)?;
                }
                judged.result
            }
            Err(failure) => RunResult::of_failure(&plan, &started, &failure),
        };
        result.suite = Some(self.suite.to_owned());
        result.cell.clone_from(&cell.name);
        result.late_ms = self.lateness.worst_since(started.ns) / 1_000_000;
        result.write(dir.path())?;
        self.trim(&dir, &plan, &result);
        Ok(Done::Finished { dir, result: Box::new(result) })
    }

    /// Whether a run keeps everything.
    fn keeps(&self, result: &RunResult) -> bool {
        match self.keep {
            Keep::All => true,
            Keep::Failed => result.outcome != Outcome::Valid,
            Keep::None => false,
        }
    }

    /// The page to look at, where there is something to look at.
    fn page(&self, judged: &Judged) -> Result<(), Failure> {
        if judged.result.outcome == Outcome::Valid {
            return Ok(());
        }
        let page = report::page(&judged.dir.history(), &judged.verdict)?;
        judged.dir.write("report.html", &page)
    }

    /// Removes what is not worth its place. What cannot be removed stays.
    fn trim(&self, dir: &RunDir, plan: &Plan, result: &RunResult) {
        if self.keeps(result) {
            return;
        }
        let _ = fs::remove_dir_all(dir.path().join("nodes"));
        for file in ["history.jsonl", "verdict.json"] {
            let _ = fs::remove_file(dir.path().join(file));
        }
        if plan.scenario.is_some() {
            // The steps are the scenario's.
            let _ = fs::remove_file(dir.path().join("plan.toml"));
        }
    }
}

/// What is left of a suite, and how the rest went.
pub(crate) struct SuiteWork<'a> {
    pub(crate) cells: &'a [Cell],
    pub(crate) queue: Queue,
    pub(crate) index: &'a mut Index,
    pub(crate) pace: Pace,
    pub(crate) lateness: &'a Lateness,
    pub(crate) progress: Progress,
    /// No run is begun after this.
    pub(crate) deadline_ns: u64,
    pub(crate) fail_fast: bool,
    pub(crate) under_way: usize,
    pub(crate) end: WorkEnd,
}

/// Why no more runs are begun.
#[derive(Debug)]
pub(crate) enum WorkEnd {
    /// None is left.
    Through,
    Budget,
    FailFast,
    Interrupted,
    Lost(Failure),
}

impl SuiteWork<'_> {
    fn ends(&self) -> bool {
        !matches!(self.end, WorkEnd::Through)
    }

    fn look(&mut self) {
        let now = monotonic_ns();
        let late = self.lateness.usual_since(now.saturating_sub(LOOK_BACK_NS));
        if let Some(change) = self.pace.look(now, late) {
            let ms = |ns: u64| ns / 1_000_000;
            self.progress.say(&match change {
                Change::Slower { jobs, late_ns, allowed_ns } => format!(
                    "this machine wakes its sleepers {} ms late, the clusters' timeouts allow {} \
                     ms: {jobs} runs at a time from now on",
                    ms(late_ns),
                    ms(allowed_ns)
                ),
                Change::Faster { jobs } => {
                    format!("this machine is on time again: {jobs} runs at a time")
                }
            });
        }
    }
}

impl Work for SuiteWork<'_> {
    type Job = Job;
    type Done = Done;

    fn next(&mut self) -> Next<Job> {
        if self.ends() {
            return Next::Finished;
        }
        self.look();
        if self.under_way >= self.pace.jobs() {
            return Next::Wait;
        }
        if monotonic_ns() >= self.deadline_ns {
            self.end = WorkEnd::Budget;
            return Next::Finished;
        }
        let Some(job) = self.queue.next() else { return Next::Finished };
        self.under_way += 1;
        self.progress.begun(&self.cells[job.cell].name, job.seed);
        Next::Job(job)
    }

    fn done(&mut self, job: Job, done: Done) {
        self.under_way -= 1;
        let cell = &self.cells[job.cell].name;
        match done {
            Done::Finished { dir, result } => {
                let bad = matches!(result.outcome, Outcome::Invalid | Outcome::Harness);
                self.progress.ended(&job, &result, dir.path());
                if let Err(failure) = self.index.add(dir.path(), &result) {
                    self.end = WorkEnd::Lost(failure);
                } else if bad && self.fail_fast && !self.ends() {
                    self.end = WorkEnd::FailFast;
                }
            }
            Done::Interrupted => {
                self.progress.dropped(cell, job.seed);
                if !matches!(self.end, WorkEnd::Lost(_)) {
                    self.end = WorkEnd::Interrupted;
                }
            }
            Done::Lost(failure) => {
                self.progress.dropped(cell, job.seed);
                self.end = WorkEnd::Lost(failure);
            }
        }
    }
}
