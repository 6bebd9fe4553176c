//! Doing a run again and saying whether it failed the same checks.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use tokio::sync::watch;
use usurper_checks::Judgement;
use usurper_nemesis::Done;

use crate::{
    controller::RunEnd, execute::execute_until, failure::Failure, plan::Plan, reporter::Silent,
    stored::invalid_checks,
};

/// How to do runs again.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    pub(crate) store: PathBuf,
    /// Keep every run; otherwise only those in which the harness failed.
    pub(crate) keep: bool,
    /// End a run once it has failed.
    pub(crate) until_failed: bool,
    /// What counts as failing: any of these invalid; any check at all if there are none.
    pub(crate) checks: BTreeSet<String>,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It failed these of the checks; when it had come so far, if it was not carried through.
    Failed {
        checks: BTreeSet<String>,
        done: Option<Done>,
    },
    /// It failed none of them, and every one had enough to judge.
    Passed,
    /// It failed none of them, but not every one could be judged: a step never ran, say.
    Unknown,
    /// The harness failed.
    Broken(String),
    Interrupted,
}

impl Again {
    /// Runs a plan on this thread.
    pub(crate) fn run(&self, plan: &Plan, cancel: watch::Receiver<bool>) -> Outcome {
        match self.try_run(plan, cancel) {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Broken(failure.in_a_line()),
        }
    }

    fn try_run(&self, plan: &Plan, cancel: watch::Receiver<bool>) -> Result<Outcome, Failure> {
        let until = if self.until_failed { self.checks.clone() } else { BTreeSet::new() };
        let plan = &Plan { until, ..plan.clone() };
        let Some(seen) = see(plan, &self.store, cancel, |_| self.keep)? else {
            return Ok(Outcome::Interrupted);
        };
        let same: BTreeSet<_> = match self.checks.is_empty() {
            true => seen.failed,
            false => seen.failed.intersection(&self.checks).cloned().collect(),
        };
        Ok(match seen.unknown {
            _ if !same.is_empty() => Outcome::Failed { checks: same, done: seen.done },
            true => Outcome::Unknown,
            false => Outcome::Passed,
        })
    }
}

/// How a run went that is one of many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Every check that is invalid.
    pub(crate) failed: BTreeSet<String>,
    /// Not every check had enough to judge.
    pub(crate) unknown: bool,
    /// How long it took to get the next leader, in the middle, in nanoseconds.
    pub(crate) failover_ns: Option<u64>,
    /// How far it had come, if it was ended because of what had been found.
    pub(crate) done: Option<Done>,
    /// Where it is, if it was kept.
    pub(crate) kept: Option<PathBuf>,
}

/// Runs a plan on this thread, watched by nobody, and keeps the run if `keep` says so. Of a run that
/// was interrupted, nothing is seen.
///
/// # Errors
/// When the harness fails.
pub(crate) fn see(
    plan: &Plan,
    store: &Path,
    cancel: watch::Receiver<bool>,
    keep: impl FnOnce(&Seen) -> bool,
) -> Result<Option<Seen>, Failure> {
    let judged = execute_until(plan, store, &mut Silent, cancel)?;
    let mut seen = Seen {
        failed: invalid_checks(&judged.verdict),
        unknown: judged.verdict.judgement == Judgement::Unknown,
        failover_ns: judged.result.figures.as_ref().and_then(|figures| figures.failover_ns),
        done: match &judged.end {
            RunEnd::Found(done) => Some(done.clone()),
            RunEnd::Complete | RunEnd::Interrupted => None,
        },
        kept: None,
    };
    let keep = keep(&seen);
    seen.kept = keep.then(|| judged.dir.path().to_owned());
    let interrupted = judged.end == RunEnd::Interrupted;
    judged.keep_if(keep, plan)?;
    Ok((!interrupted).then_some(seen))
}
