//! Whether smaller schedules still fail, by running them side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::watch;
use usurper_nemesis::{Candidate, Done, Effort, Failing, Proposal, Stopped, Trial};

use crate::{
    again::{Again, Outcome},
    answers::{Answers, Asked, Known, Seeds},
    failure::Failure,
    output,
    pace::{Pace, cpu_ns},
    plan::Plan,
    side_by_side::{Next, Work, side_by_side},
    statistics::Rate,
};

/// Of all that go side by side, such a part leaves the machine idle.
const FEW: usize = 6;
/// Runs begin so far apart: in step with each other, all would do the same at the same time, and each find
/// the machine busy just when it does something.
const APART: Duration = Duration::from_millis(15);
/// The same where the machine is to be idle.
const FAR_APART: Duration = Duration::from_millis(150);

/// Answers by running.
pub(crate) struct Runs {
    pub(crate) plan: Plan,
    pub(crate) again: Again,
    pub(crate) pace: Pace,
    pub(crate) seeds: Seeds,
    /// On the host's monotonic clock.
    pub(crate) deadline_ns: u64,
    pub(crate) answers: Answers,
    /// Why nothing is run any more.
    pub(crate) stop: Option<Stop>,
    /// Runs that were carried through.
    pub(crate) done: u32,
    /// How long those that failed took at most, of the latest ones, in nanoseconds.
    pub(crate) failed_ns: u64,
}

/// How often a candidate failed, and how often each check.
pub(crate) type Counted = (Rate, BTreeMap<String, u32>);

/// Why a search ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Budget,
    Interrupted,
    Failed(String),
}

impl Runs {
    /// How often a candidate fails of so many runs, and how often each check; of fewer runs, if it is
    /// stopped.
    ///
    /// # Errors
    /// When the answer cannot be written down.
    pub(crate) fn count(&mut self, candidate: &Candidate, runs: u32) -> Result<Counted, Failure> {
        Ok(self.count_all(&[candidate], runs)?.remove(0))
    }

    /// The same of several candidates, side by side.
    ///
    /// # Errors
    /// When an answer cannot be written down.
    pub(crate) fn count_all(
        &mut self,
        candidates: &[&Candidate],
        runs: u32,
    ) -> Result<Vec<Counted>, Failure> {
        self.count_as(false, candidates, runs)
    }

    /// How often a candidate fails of so many runs, few of which go on at a time, with other seeds.
    ///
    /// # Errors
    /// When the answer cannot be written down.
    pub(crate) fn count_alone(
        &mut self,
        candidate: &Candidate,
        runs: u32,
    ) -> Result<Counted, Failure> {
        let seed = self.plan.seed;
        // Not those that the search has seen.
        self.plan.seed = seed.wrapping_add(runs.into());
        let counted = self.count_as(true, &[candidate], runs);
        self.plan.seed = seed;
        Ok(counted?.remove(0))
    }

    fn count_as(
        &mut self,
        alone: bool,
        candidates: &[&Candidate],
        runs: u32,
    ) -> Result<Vec<Counted>, Failure> {
        let asked = Asked::Count { runs, alone, seeds: self.seeds };
        let is_open = |candidate: &&Candidate| self.answers.find(candidate, asked).is_none();
        let open: Vec<_> = candidates.iter().copied().filter(is_open).collect();
        let crowd = self.crowd();
        let crowd = match alone {
            true => Crowd { jobs: crowd.jobs.div_ceil(FEW), apart: FAR_APART },
            false => crowd,
        };
        let trial = Trial::new(runs, runs);
        let mut ran = self.run_batch(crowd, open, trial, Until::AllHaveRun).into_iter();
        let mut counted = Vec::new();
        for candidate in candidates {
            let known = match self.answers.find(candidate, asked) {
                Some(known) => known.clone(),
                None => {
                    let known = ran.next().expect("what is not known has been run");
                    if known.trial.failed + known.trial.passed == runs {
                        self.answers.remember(candidate, asked, known.clone())?;
                    }
                    known
                }
            };
            let Known { trial, checks, .. } = known;
            counted.push((Rate { hits: trial.failed, runs: trial.failed + trial.passed }, checks));
        }
        Ok(counted)
    }

    /// What becomes of a candidate without the run's defects.
    pub(crate) fn without_defects(&self, candidate: &Candidate) -> Outcome {
        let plan = Plan { defects: Vec::new(), ..with(&self.plan, candidate) };
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
        effort: Effort,
    ) -> Result<Option<(Failing, Trial)>, Stopped> {
        let until = Until::OneFails(effort);
        let guess = effort == Effort::Guess;
        let (need, of, seeds) = (trial.need, trial.of, self.seeds);
        let asked = Asked::Fails { need, of, guess, seeds };
        let known = |runs: &Self, index: usize| -> Option<(Failing, Trial)> {
            let Known { trial: found, done, .. } =
                runs.answers.find(&proposals[index].candidate, asked)?;
            let trial = Trial { failed: found.failed, passed: found.passed, ..trial };
            until.decided(trial).then(|| (Failing { index, done: done.clone() }, trial))
        };
        let fails = |runs: &Self| {
            let all = (0..proposals.len()).filter_map(|index| known(runs, index));
            all.into_iter().find(|(_, trial)| trial.answer() == Some(true))
        };
        if let Some(found) = fails(self) {
            return Ok(Some(found));
        }
        let open: Vec<_> = (0..proposals.len()).filter(|i| known(self, *i).is_none()).collect();
        let candidates: Vec<_> = open.iter().map(|i| &proposals[*i].candidate).collect();
        let found = self.run_batch(self.crowd(), candidates.clone(), trial, until);
        for (candidate, known) in candidates.into_iter().zip(found) {
            if until.decided(known.trial)
                && let Err(failure) = self.answers.remember(candidate, asked, known)
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

    fn crowd(&self) -> Crowd {
        Crowd { jobs: self.pace.jobs(), apart: APART }
    }

    fn run_batch(
        &mut self,
        crowd: Crowd,
        candidates: Vec<&Candidate>,
        trial: Trial,
        until: Until,
    ) -> Vec<Known> {
        let trials = candidates.iter().map(|_| Tried::new(trial)).collect();
        let batch = Batch {
            trials,
            until,
            deadline_ns: self.deadline_ns,
            stop: self.stop.clone(),
            done: 0,
            begun: 0,
            apart: crowd.apart,
            next_ns: 0,
        };
        let (plan, again, seeds) = (&self.plan, &self.again, self.seeds);
        let (cpu_before_ns, run_ns, failed_ns) = (cpu_ns(), AtomicU64::new(0), AtomicU64::new(0));
        let batch = side_by_side(crowd.jobs, batch, |job: &Job| {
            let began_ns = usurper_history::monotonic_ns();
            let candidate = candidates[job.index];
            let mut plan = with(plan, candidate);
            if seeds == Seeds::Each {
                plan.seed = plan.seed.wrapping_add(job.attempt.into());
            }
            let outcome = again.run(&plan, job.cancel.clone());
            let took_ns = usurper_history::monotonic_ns() - began_ns;
            run_ns.fetch_add(took_ns, Ordering::Relaxed);
            if matches!(outcome, Outcome::Failed { .. }) {
                failed_ns.fetch_max(took_ns, Ordering::Relaxed);
            }
            outcome
        });
        self.pace.learn(cpu_ns().saturating_sub(cpu_before_ns), run_ns.into_inner());
        if let latest_ns @ 1.. = failed_ns.into_inner() {
            self.failed_ns = latest_ns;
        }
        self.stop = batch.stop;
        self.done += batch.done;
        batch.trials.into_iter().map(Tried::known).collect()
    }
}

/// The plan of a candidate. It has no more time than its steps need: what waits in vain does not fail.
fn with(plan: &Plan, candidate: &Candidate) -> Plan {
    Plan {
        time: plan.time.min(candidate.time()),
        settle: candidate.settle,
        steps: candidate.steps.clone(),
        ..plan.clone()
    }
}

/// How runs go side by side.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    jobs: usize,
    /// From the begin of one to that of the next one, at least.
    apart: Duration,
}

/// How long some candidates are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Each as often as it may be, although the answer is known before.
    AllHaveRun,
    /// Until one is known to fail, or none to.
    OneFails(Effort),
}

impl Until {
    /// Whether a candidate needs no more runs.
    fn decided(self, trial: Trial) -> bool {
        match self {
            Self::AllHaveRun => trial.failed + trial.passed >= trial.of,
            Self::OneFails(effort) => {
                let given_up = effort == Effort::Guess && trial.failed == 0 && trial.passed > 0;
                given_up || trial.answer().is_some()
            }
        }
    }
}

/// Some candidates that are run at the same time.
struct Batch {
    trials: Vec<Tried>,
    until: Until,
    deadline_ns: u64,
    stop: Option<Stop>,
    done: u32,
    begun: u64,
    /// From the begin of one run to that of the next one, at least, and when that may be.
    apart: Duration,
    next_ns: u64,
}

struct Tried {
    trial: Trial,
    /// How often each check failed.
    checks: BTreeMap<String, u32>,
    /// How far each failure had come.
    done: Option<Done>,
    /// The runs under way, each with the way to end it.
    open: Vec<(u64, watch::Sender<bool>)>,
}

struct Job {
    number: u64,
    index: usize,
    /// The how manieth run of its candidate it is, from 0.
    attempt: u32,
    cancel: watch::Receiver<bool>,
}

impl Tried {
    fn new(trial: Trial) -> Self {
        Self { trial, checks: BTreeMap::new(), done: None, open: Vec::new() }
    }

    fn known(self) -> Known {
        Known { trial: self.trial, checks: self.checks, done: self.done }
    }

    fn failed(&mut self, checks: BTreeSet<String>, done: Option<Done>) {
        self.done = match (self.done.take(), done) {
            (Some(before), Some(done)) => Some(before.or(&done)),
            (None, done) if self.trial.failed == 0 => done,
            // One was carried through.
            _ => None,
        };
        self.trial.failed += 1;
        for check in checks {
            *self.checks.entry(check).or_default() += 1;
        }
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
    fn decided(&self, index: usize) -> bool {
        self.until.decided(self.trials[index].trial)
    }

    /// The first candidate that fails, if those before it are not as likely to.
    fn found(&self) -> bool {
        let found = self.trials.iter().position(|tried| tried.trial.answer() == Some(true));
        self.until != Until::AllHaveRun
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
        // What has failed so far is followed up; of the rest, each is tried once before any twice. Whoever
        // would have nothing to do does what may be asked next.
        let best = wanted.min_by_key(|(index, tried)| {
            (!tried.is_promising(), if tried.is_promising() { 0 } else { tried.begun() }, *index)
        });
        let Some((index, _)) = best else {
            let all = (0..self.trials.len()).all(|index| self.decided(index));
            return if all { Next::Finished } else { Next::Wait };
        };
        let now_ns = usurper_history::monotonic_ns();
        if now_ns < self.next_ns {
            return Next::Later(Duration::from_nanos(self.next_ns - now_ns));
        }
        self.next_ns =
            now_ns.saturating_add(u64::try_from(self.apart.as_nanos()).unwrap_or(u64::MAX));
        self.begun += 1;
        let (sender, cancel) = watch::channel(false);
        let attempt = self.trials[index].begun();
        self.trials[index].open.push((self.begun, sender));
        Next::Job(Job { number: self.begun, index, attempt, cancel })
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
            Outcome::Failed { checks, done } => tried.failed(checks, done),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usurper_nemesis::{Effort, Trial};

    use super::{Batch, Job, Tried, Until};
    use crate::{
        again::Outcome,
        side_by_side::{Next, Work},
    };

    /// Runs a batch one job at a time, and says how often each candidate was run, and failed.
    fn run(until: Until, trial: Trial, fails: &[&[bool]]) -> Vec<(u32, u32)> {
        let mut batch = Batch {
            trials: fails.iter().map(|_| Tried::new(trial)).collect(),
            until,
            deadline_ns: u64::MAX,
            stop: None,
            done: 0,
            begun: 0,
            apart: Duration::ZERO,
            next_ns: 0,
        };
        let mut runs = vec![0; fails.len()];
        while let Next::Job(job) = batch.next() {
            let Job { index, .. } = job;
            let failed = fails[index][runs[index] % fails[index].len()];
            runs[index] += 1;
            let outcome = match failed {
                true => Outcome::Failed { checks: ["crash".to_owned()].into(), done: None },
                false => Outcome::Passed,
            };
            batch.done(job, outcome);
        }
        let known = batch.trials.into_iter().map(Tried::known);
        known.map(|it| (it.trial.failed + it.trial.passed, it.trial.failed)).collect()
    }

    const NEVER: &[bool] = &[false];
    const ALWAYS: &[bool] = &[true];

    #[test]
    fn a_wrong_guess_costs_one_run_and_what_is_asked_for_sure_as_many_as_it_takes() {
        let trial = Trial::new(5, 6);
        let fails = [NEVER, NEVER, NEVER];
        assert_eq!(run(Until::OneFails(Effort::Guess), trial, &fails), [(1, 0); 3]);
        assert_eq!(run(Until::OneFails(Effort::Sure), trial, &fails), [(2, 0); 3]);
        assert_eq!(run(Until::AllHaveRun, trial, &fails), [(6, 0); 3]);
    }

    #[test]
    fn a_guess_that_fails_at_once_is_followed_up_and_the_rest_is_left() {
        let trial = Trial::new(5, 6);
        let found = run(Until::OneFails(Effort::Guess), trial, &[NEVER, ALWAYS, NEVER]);
        assert_eq!(found, [(1, 0), (5, 5), (0, 0)]);
        // Of those that fail, the first is taken; one that fails only now and then is not.
        let now_and_then: &[bool] = &[true, false, false];
        let found = run(Until::OneFails(Effort::Guess), trial, &[now_and_then, ALWAYS, ALWAYS]);
        assert_eq!((found[0].1, found[1], found[2]), (1, (5, 5), (0, 0)));
        let rare = run(Until::OneFails(Effort::Guess), Trial::new(2, 6), &[now_and_then]);
        assert_eq!(rare, [(4, 2)]);
    }
}
