//! `usurper replay`: a stored run again, and how often it fails the same way.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::sync::watch;

use crate::{
    again::{Again, Outcome},
    cli::{Output, ReplayArgs},
    failure::{Failure, Status},
    output,
    side_by_side::{Next, Work, default_jobs, side_by_side},
    statistics::Rate,
    stored::Stored,
};

/// The replays that are left, and how the others went.
struct Replays {
    total: u32,
    begun: u32,
    ended: u32,
    failed: u32,
    unknown: u32,
    by_check: BTreeMap<String, u32>,
    broken: Vec<String>,
    interrupted: bool,
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<Status, Failure> {
    let stored = Stored::load(&args.run)?;
    let plan = stored.plan_here(args.bin.clone())?;
    let checks = stored.failed_checks(args.check.as_deref())?;
    let list: Vec<_> = checks.iter().map(String::as_str).collect();
    let what = if list.is_empty() { "no check".to_owned() } else { list.join(", ") };
    output::talk(&format!(
        "{} with {} nodes, {} steps, seed {}: the run failed {what}",
        plan.name,
        plan.nodes,
        plan.steps.len(),
        plan.seed
    ));
    let again =
        Again { store: args.common.store.clone(), keep: args.keep, until_failed: false, checks };
    let (_never, cancel) = watch::channel(false);
    let jobs = args.jobs.unwrap_or_else(|| default_jobs(2));
    let replays =
        side_by_side(jobs, Replays::new(args.repeat), |_| again.run(&plan, cancel.clone()));
    show(&replays, args)?;
    Ok(if replays.interrupted {
        Status::Interrupted
    } else if replays.failed > 0 {
        Status::Invalid
    } else if !replays.broken.is_empty() {
        Status::Harness
    } else if replays.unknown > 0 {
        Status::Unknown
    } else {
        Status::Valid
    })
}

impl Replays {
    fn new(total: u32) -> Self {
        Self {
            total,
            begun: 0,
            ended: 0,
            failed: 0,
            unknown: 0,
            by_check: BTreeMap::new(),
            broken: Vec::new(),
            interrupted: false,
        }
    }

    /// Those that were judged.
    fn rate(&self, hits: u32) -> Rate {
        let broken = u32::try_from(self.broken.len()).unwrap_or(u32::MAX);
        Rate { hits, runs: self.ended.saturating_sub(broken) }
    }
}

impl Work for Replays {
    type Job = u32;
    type Done = Outcome;

    fn next(&mut self) -> Next<u32> {
        if self.interrupted || self.begun == self.total {
            return Next::Finished;
        }
        self.begun += 1;
        Next::Job(self.begun)
    }

    fn done(&mut self, number: u32, outcome: Outcome) {
        let what = match outcome {
            Outcome::Interrupted => {
                self.interrupted = true;
                return;
            }
            Outcome::Failed { checks, .. } => {
                self.failed += 1;
                let list: Vec<_> = checks.iter().cloned().collect();
                for check in checks {
                    *self.by_check.entry(check).or_default() += 1;
                }
                format!("failed {}", list.join(", "))
            }
            Outcome::Passed => "did not fail".to_owned(),
            Outcome::Unknown => {
                self.unknown += 1;
                "did not fail, and not everything could be judged".to_owned()
            }
            Outcome::Broken(error) => {
                self.broken.push(error.clone());
                format!("could not be done: {error}")
            }
        };
        self.ended += 1;
        output::talk(&format!("{:>4}/{} replay {number} {what}", self.ended, self.total));
    }
}

fn show(replays: &Replays, args: &ReplayArgs) -> Result<(), Failure> {
    let rate = replays.rate(replays.failed);
    if args.common.output == Output::Json {
        let interval = rate.interval_95();
        let json = json!({
            "failed": rate.hits,
            "runs": rate.runs,
            "low-95": interval.low,
            "high-95": interval.high,
            "unknown": replays.unknown,
            "broken": replays.broken,
            "checks": replays.by_check,
        });
        return output::json(&json);
    }
    output::data(&format!("failed     {rate}"));
    for (check, hits) in &replays.by_check {
        output::data(&format!("  {check}: {}", replays.rate(*hits)));
    }
    if replays.unknown > 0 {
        output::data(&format!("unknown    {}", replays.unknown));
    }
    for error in &replays.broken {
        output::data(&format!("not done   {error}"));
    }
    Ok(())
}
