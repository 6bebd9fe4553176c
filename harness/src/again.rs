//! Doing a run again and saying whether it failed the same checks.

use std::{collections::BTreeSet, path::PathBuf};

use tokio::sync::watch;
use usurper_checks::Judgement;

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
    /// What counts as failing: any of these invalid; any check at all if there are none.
    pub(crate) checks: BTreeSet<String>,
}

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It failed these of the checks.
    Failed(BTreeSet<String>),
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
            Err(failure) => Outcome::Broken(match failure.hint {
                Some(hint) => format!("{:#} ({hint})", failure.error),
                None => format!("{:#}", failure.error),
            }),
        }
    }

    fn try_run(&self, plan: &Plan, cancel: watch::Receiver<bool>) -> Result<Outcome, Failure> {
        let judged = execute_until(plan, &self.store, &mut Silent, cancel)?;
        let failed = invalid_checks(&judged.verdict);
        let (end, judgement) = (judged.end, judged.verdict.judgement);
        judged.keep_if(self.keep, plan)?;
        if end == RunEnd::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        let same: BTreeSet<_> = match self.checks.is_empty() {
            true => failed,
            false => failed.intersection(&self.checks).cloned().collect(),
        };
        Ok(match judgement {
            _ if !same.is_empty() => Outcome::Failed(same),
            Judgement::Unknown => Outcome::Unknown,
            _ => Outcome::Passed,
        })
    }
}
