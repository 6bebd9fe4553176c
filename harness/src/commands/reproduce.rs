//! `usurper reproduce`: what logs from the field tell, as a scenario, and whether it fails the same way.
//!
//! The story is made by `nemesis`; `scenario.rs` makes it a scenario for some system, which is run here.

mod given;
mod scenario;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::Context;
use tokio::sync::watch;

use self::{
    given::Given,
    scenario::{resolve, scenario_of},
};
use crate::{
    again::{Seen, see},
    cli::ReproduceArgs,
    failure::{Failure, Status},
    output,
    plan::{Plan, find_check},
    side_by_side::{Next, Work, default_jobs, side_by_side},
    statistics::Rate,
    stored::invalid_checks,
};

pub(crate) fn reproduce(args: &ReproduceArgs) -> Result<Status, Failure> {
    let given = Given::read(args)?;
    let mut failed = invalid_checks(&given.verdict);
    if let Some(check) = &args.check {
        find_check(check)?;
        failed = BTreeSet::from([check.clone()]);
    }
    let (scenario, calm, untold) = scenario_of(&given, &failed, args)?;
    let list: Vec<_> = failed.iter().map(String::as_str).collect();
    output::data(&format!("given      {}", given.names));
    output::data(&format!(
        "judged     {}",
        match list.is_empty() {
            true => format!("{:?}, fails no check", given.verdict.judgement).to_lowercase(),
            false => format!("fails {}", list.join(", ")),
        }
    ));
    output::data(&format!(
        "scenario   {} with {} nodes, {} steps",
        scenario.system,
        scenario.nodes,
        scenario.steps.len()
    ));
    for line in &untold {
        output::data(&format!("not told   {line}"));
    }
    let text = toml::to_string_pretty(&scenario).context("cannot write the scenario");
    let text = text.map_err(Failure::harness)?;
    let plan = Plan { calm, ..resolve(&scenario, args)? };
    std::fs::write(&args.output, &text)
        .with_context(|| format!("cannot write `{}`", args.output.display()))
        .map_err(Failure::usage)?;
    output::data(&format!("written to {}", args.output.display()));
    let (_never, cancel) = watch::channel(false);
    let work = Runs::new(args.repeat, failed.clone());
    let jobs = args.jobs.unwrap_or_else(|| default_jobs(2));
    let runs = side_by_side(jobs, work, |number| {
        let seed = plan.seed.wrapping_add(u64::from(*number) - 1);
        let plan = Plan { seed, ..plan.clone() };
        see(&plan, &args.store, cancel.clone(), |seen| !seen.failed.is_empty())
            .map_err(|failure| format!("seed {seed}: {}", failure.in_a_line()))
    });
    Ok(show(&runs, args))
}

/// What was seen of one run, if it was not interrupted, or why it could not be done.
type Done = Result<Option<Seen>, String>;

/// The runs that are left, and how the others went.
struct Runs {
    total: u32,
    begun: u32,
    ended: u32,
    /// What counts; anything, if there are none.
    asked: BTreeSet<String>,
    same: Rate,
    by_check: BTreeMap<String, u32>,
    unknown: u32,
    /// A run that failed the same way.
    kept: Option<PathBuf>,
    broken: Vec<String>,
    interrupted: bool,
}

impl Runs {
    fn new(total: u32, asked: BTreeSet<String>) -> Self {
        Self {
            total,
            begun: 0,
            ended: 0,
            asked,
            same: Rate::default(),
            by_check: BTreeMap::new(),
            unknown: 0,
            kept: None,
            broken: Vec::new(),
            interrupted: false,
        }
    }

    fn counts(&self, check: &str) -> bool {
        self.asked.is_empty() || self.asked.contains(check)
    }
}

impl Work for Runs {
    type Job = u32;
    type Done = Done;

    fn next(&mut self) -> Next<u32> {
        if self.interrupted || self.begun == self.total {
            return Next::Finished;
        }
        self.begun += 1;
        Next::Job(self.begun)
    }

    fn done(&mut self, _number: u32, done: Done) {
        self.ended += 1;
        let what = match done {
            Ok(None) => {
                self.interrupted = true;
                return;
            }
            Err(error) => {
                self.broken.push(error.clone());
                format!("could not be done: {error}")
            }
            Ok(Some(Seen { failed, unknown, kept, .. })) => {
                let same = failed.iter().any(|check| self.counts(check));
                self.same.runs += 1;
                self.same.hits += u32::from(same);
                self.unknown += u32::from(unknown && !same);
                if same {
                    self.kept = self.kept.take().or(kept);
                }
                let list: Vec<_> = failed.iter().cloned().collect();
                for check in failed {
                    *self.by_check.entry(check).or_default() += 1;
                }
                match (list.is_empty(), unknown) {
                    (false, _) => format!("failed {}", list.join(", ")),
                    (true, false) => "did not fail".to_owned(),
                    (true, true) => "did not fail, and not everything could be judged".to_owned(),
                }
            }
        };
        output::talk(&format!("{:>4}/{} {what}", self.ended, self.total));
    }
}

fn show(runs: &Runs, args: &ReproduceArgs) -> Status {
    output::data(&format!("fails      {}", runs.same));
    for (check, hits) in &runs.by_check {
        let rate = Rate { hits: *hits, runs: runs.same.runs };
        let also = if runs.counts(check) { "" } else { ", which the given one does not fail" };
        output::data(&format!("  {check}: {rate}{also}"));
    }
    if runs.unknown > 0 {
        output::data(&format!("unknown    {}", runs.unknown));
    }
    for error in &runs.broken {
        output::data(&format!("not done   {error}"));
    }
    if let Some(kept) = &runs.kept {
        output::data(&format!("next       usurper shrink {}", kept.display()));
    } else if runs.broken.is_empty() && !runs.interrupted {
        let file = args.output.display();
        output::data(&format!(
            "next       mend {file} by what you know, or switch a suspected bug on with `--defect`"
        ));
    }
    if runs.interrupted {
        Status::Interrupted
    } else if runs.same.hits > 0 {
        Status::Invalid
    } else if !runs.broken.is_empty() {
        Status::Harness
    } else if runs.unknown > 0 {
        Status::Unknown
    } else {
        Status::Valid
    }
}
