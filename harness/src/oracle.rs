//! Whether smaller schedules still fail, by running them side by side.

use std::collections::BTreeSet;

use tokio::sync::watch;
use usurper_nemesis::{Candidate, Proposal, Stopped, Trial};

use crate::{
    again::{Again, Outcome},
    answers::{Answers, Known},
    failure::Failure,
    output,
    plan::Plan,
    side_by_side::{Next, Work, side_by_side},
    statistics::Rate,
};

/// Answers by running.
pub(crate) struct Runs {
    pub(crate) plan: Plan,
    pub(crate) again: Again,
    pub(crate) jobs: usize,
    /// On the host's monotonic clock.
    pub(crate) deadline_ns: u64,
    pub(crate) answers: Answers,
    /// Why nothing is run any more.
    pub(crate) stop: Option<Stop>,
    /// Runs that were carried through.
    pub(crate) done: u32,
}

/// Why a search ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Budget,
    Interrupted,
    Failed(String),
}

impl Runs {
    /// How often a candidate fails of so many runs, and what every failure failed; of fewer runs, if
    /// it is stopped.
    ///
    /// # Errors
    /// When the answer cannot be written down.
    pub(crate) fn count(
        &mut self,
        candidate: &Candidate,
        runs: u32,
    ) -> Result<(Rate, BTreeSet<String>), Failure> {
        let known = self.answers.find(candidate, Some(runs));
        let known = match known {
            Some(known) => known.clone(),
            None => {
                let known = self.run_batch(vec![candidate], Trial::new(runs, runs), true).remove(0);
                if known.trial.failed + known.trial.passed == runs {
                    self.answers.remember(candidate, Some(runs), known.clone())?;
                }
                known
            }
        };
        let Known { trial, checks } = known;
        Ok((Rate { hits: trial.failed, runs: trial.failed + trial.passed }, checks))
    }

    /// What becomes of a candidate without the run's defects.
    pub(crate) fn without_defects(&self, candidate: &Candidate) -> Outcome {
        let plan = Plan {
            defects: Vec::new(),
            settle: candidate.settle,
            steps: candidate.steps.clone(),
            ..self.plan.clone()
        };
        let (_never, cancel) = watch::channel(false);
        Again { checks: BTreeSet::new(), ..self.again.clone() }.run(&plan, cancel)
    }

    /// The first of some proposals that fails often enough, with its trial; `trial` says how often
    /// that is.
    ///
    /// # Errors
    /// When it was stopped, see [`Runs::stop`].
    pub(crate) fn first_failing(
        &mut self,
        proposals: &[Proposal],
        trial: Trial,
    ) -> Result<Option<(usize, Trial)>, Stopped> {
        let known = |runs: &Self, index: usize| -> Option<Trial> {
            let found = runs.answers.find(&proposals[index].candidate, None)?.trial;
            let trial = Trial { failed: found.failed, passed: found.passed, ..trial };
            trial.answer().map(|_| trial)
        };
        let fails = |runs: &Self| {
            let all = (0..proposals.len()).filter_map(|i| Some((i, known(runs, i)?)));
            all.into_iter().find(|(_, trial)| trial.answer() == Some(true))
        };
        if let Some(found) = fails(self) {
            return Ok(Some(found));
        }
        let open: Vec<_> = (0..proposals.len()).filter(|i| known(self, *i).is_none()).collect();
        let candidates: Vec<_> = open.iter().map(|i| &proposals[*i].candidate).collect();
        let found = self.run_batch(candidates.clone(), trial, false);
        for (candidate, known) in candidates.into_iter().zip(found) {
            if known.trial.answer().is_some()
                && let Err(failure) = self.answers.remember(candidate, None, known)
            {
                self.stop = Some(Stop::Failed(format!("{:#}", failure.error)));
            }
        }
        match (fails(self), &self.stop) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(_)) => Err(Stopped),
            (None, None) => Ok(None),
        }
    }

    fn run_batch(
        &mut self,
        candidates: Vec<&Candidate>,
        trial: Trial,
        to_the_end: bool,
    ) -> Vec<Known> {
        let trials = candidates
            .iter()
            .map(|_| Tried { trial, failed: Vec::new(), open: Vec::new() })
            .collect();
        let batch = Batch {
            trials,
            to_the_end,
            deadline_ns: self.deadline_ns,
            stop: self.stop.clone(),
            done: 0,
            begun: 0,
        };
        let (plan, again) = (&self.plan, &self.again);
        let batch = side_by_side(self.jobs, batch, |job: &Job| {
            let candidate = candidates[job.index];
            let (settle, steps) = (candidate.settle, candidate.steps.clone());
            again.run(&Plan { settle, steps, ..plan.clone() }, job.cancel.clone())
        });
        self.stop = batch.stop;
        self.done += batch.done;
        batch.trials.into_iter().map(Tried::known).collect()
    }
}

/// Some candidates that are run at the same time.
struct Batch {
    trials: Vec<Tried>,
    /// Run each as often as it may be, although the answer is known before.
    to_the_end: bool,
    deadline_ns: u64,
    stop: Option<Stop>,
    done: u32,
    begun: u64,
}

struct Tried {
    trial: Trial,
    /// What each failure failed.
    failed: Vec<BTreeSet<String>>,
    /// The runs under way, each with the way to end it.
    open: Vec<(u64, watch::Sender<bool>)>,
}

struct Job {
    number: u64,
    index: usize,
    cancel: watch::Receiver<bool>,
}

impl Tried {
    fn known(self) -> Known {
        let all = self.failed.into_iter().reduce(|one, other| &one & &other);
        Known { trial: self.trial, checks: all.unwrap_or_default() }
    }

    fn begun(&self) -> u32 {
        let open = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        self.trial.failed + self.trial.passed + open
    }

    /// So far, every run of it has failed.
    fn is_promising(&self) -> bool {
        self.trial.answer().is_none() && self.trial.failed > 0 && self.trial.passed == 0
    }

    fn cancel(&self) {
        self.open.iter().for_each(|(_, cancel)| {
            cancel.send_replace(true);
        });
    }
}

impl Batch {
    /// Whether a candidate needs no more runs.
    fn decided(&self, index: usize) -> bool {
        let Tried { trial, .. } = self.trials[index];
        if self.to_the_end {
            trial.failed + trial.passed >= trial.of
        } else {
            trial.answer().is_some()
        }
    }

    /// The first candidate that fails, if those before it are not as likely to.
    fn found(&self) -> bool {
        let found = self.trials.iter().position(|tried| tried.trial.answer() == Some(true));
        !self.to_the_end
            && found.is_some_and(|found| !self.trials[..found].iter().any(Tried::is_promising))
    }

    fn end(&mut self, stop: Stop) {
        self.stop.get_or_insert(stop);
        self.trials.iter().for_each(Tried::cancel);
    }
}

impl Work for Batch {
    type Job = Job;
    type Done = Outcome;

    fn next(&mut self) -> Next<Job> {
        if usurper_history::monotonic_ns() >= self.deadline_ns {
            self.end(Stop::Budget);
        }
        if self.stop.is_some() || self.found() {
            return Next::Finished;
        }
        let found = self.trials.iter().position(|tried| tried.trial.answer() == Some(true));
        let wanted = self.trials[..found.unwrap_or(self.trials.len())].iter().enumerate();
        let wanted =
            wanted.filter(|(index, tried)| !self.decided(*index) && tried.begun() < tried.trial.of);
        // What has failed so far is followed up; of the rest, each is tried once before any twice.
        let best = wanted.min_by_key(|(index, tried)| {
            (!tried.is_promising(), if tried.is_promising() { 0 } else { tried.begun() }, *index)
        });
        let Some((index, _)) = best else {
            let all = (0..self.trials.len()).all(|index| self.decided(index));
            return if all { Next::Finished } else { Next::Wait };
        };
        self.begun += 1;
        let (sender, cancel) = watch::channel(false);
        self.trials[index].open.push((self.begun, sender));
        Next::Job(Job { number: self.begun, index, cancel })
    }

    fn done(&mut self, job: Job, outcome: Outcome) {
        let cancelled = *job.cancel.borrow();
        let tried = &mut self.trials[job.index];
        tried.open.retain(|(number, _)| *number != job.number);
        if cancelled {
            return;
        }
        match outcome {
            Outcome::Interrupted => return self.end(Stop::Interrupted),
            Outcome::Failed(checks) => {
                tried.trial.failed += 1;
                tried.failed.push(checks);
            }
            // A run that says nothing is no failure: to delete a step wrongly is worse than to keep it.
            Outcome::Passed | Outcome::Unknown => tried.trial.passed += 1,
            Outcome::Broken(error) => {
                output::talk(&format!("a run could not be done: {error}"));
                tried.trial.passed += 1;
            }
        }
        self.done += 1;
        if self.decided(job.index) {
            self.trials[job.index].cancel();
        }
        if self.found() {
            self.trials.iter().for_each(Tried::cancel);
        }
    }
}
