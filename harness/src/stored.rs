//! A run that is in a store, read back: what it was, what it did, and what was wrong.
//!
//! Only its plan, its history and its schedule are read, so that a run of another checkout will do.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use usurper_checks::{Judgement, Verdict};
use usurper_history::{Body, Event, HarnessEvent, Reader, Record, sort_file};
use usurper_nemesis::{
    Form, Schedule, TimeSpan, cut_short, tells_what_was_done, what_was_done, what_was_done_as,
};

use crate::{execute::judge, failure::Failure, plan::Plan, ready::Ready, scenario::Source};

/// The version of `schedule.toml`.
const SCHEDULE_VERSION: u32 = 1;
/// What a replay may take beyond the time of the first run: its events may come later.
const TIME_SPARE: TimeSpan = TimeSpan::millis(5_000);

/// The file `schedule.toml` of a run: what was really done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ScheduleFile {
    #[serde(rename = "usurper-schedule")]
    version: u32,
    #[serde(default)]
    steps: Schedule,
}

/// A run read back.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    /// The plan that does again what was done.
    pub(crate) plan: Plan,
    pub(crate) verdict: Verdict,
    /// The steps that the run was to do.
    planned: Schedule,
}

impl Stored {
    /// Reads a run directory.
    ///
    /// # Errors
    /// When it lacks its plan or its history, or they cannot be read.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let file = path.join(name);
            std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read `{}`", file.display()))
        };
        let not_a_run = |error: anyhow::Error| {
            Failure::usage(error)
                .with_hint("name the directory of a run, for example `store/latest`")
        };
        let text = read("plan.toml").map_err(not_a_run)?;
        let mut plan: Plan = toml::from_str(&text)
            .with_context(|| format!("cannot read the plan of `{}`", path.display()))
            .map_err(Failure::usage)?;
        let history = path.join("history.jsonl");
        if !history.is_file() {
            return Err(not_a_run(anyhow!("there is no history `{}`", history.display())));
        }
        // A harness that was killed did not get to bring its last records into order.
        sort_file(&history).map_err(Failure::usage)?;
        let verdict = judge(&history)?;
        let planned = plan.steps.clone();
        plan.steps = match read("schedule.toml") {
            Ok(text) => parse(&text)
                .with_context(|| format!("cannot read the schedule of `{}`", path.display()))
                .map_err(Failure::usage)?,
            Err(_) => derive(&plan, &history)?,
        };
        plan.time = TimeSpan(plan.time.0 * 2 + TIME_SPARE.0);
        plan.validate(&Source::default())?;
        Ok(Self { path: path.to_owned(), plan, verdict, planned })
    }

    /// The plan, ready to be run here; with another program, if one is given.
    ///
    /// # Errors
    /// When this machine cannot do what the run did.
    pub(crate) fn plan_here(&self, bin: Option<PathBuf>) -> Result<Plan, Failure> {
        let mut plan = self.plan.clone();
        plan.bin = bin.or(plan.bin);
        Ready::probe(&[]).make(&mut plan, false)?;
        Ok(plan)
    }

    /// The checks that the run failed, or the one of them that is asked for.
    ///
    /// # Errors
    /// When the run did not fail the check that is asked for.
    pub(crate) fn failed_checks(&self, asked: Option<&str>) -> Result<BTreeSet<String>, Failure> {
        let failed = invalid_checks(&self.verdict);
        let Some(asked) = asked else { return Ok(failed) };
        if failed.contains(asked) {
            return Ok(BTreeSet::from([asked.to_owned()]));
        }
        let run = self.path.display();
        let list: Vec<_> = failed.into_iter().collect();
        let error = anyhow!("the run `{run}` did not fail the check `{asked}`");
        Err(Failure::usage(error).with_hint(match list.is_empty() {
            true => "it failed none".to_owned(),
            false => format!("it failed {}", list.join(", ")),
        }))
    }

    /// The ways to do again what the run did until it failed one of some checks for the first time, the
    /// shortest first, and last all that it did.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub(crate) fn ways(&self, checks: &BTreeSet<String>) -> Result<Vec<Way>, Failure> {
        let records = told(&self.path.join("history.jsonl"))?;
        let healed_ns = records.iter().find(|record| is_heal(record)).map(|record| record.t);
        let findings = self.verdict.checks.iter().filter(|check| checks.contains(&check.check));
        let findings: Vec<_> = findings.filter_map(|check| check.findings.first()).collect();
        let began = findings.iter().map(|finding| finding.from_ns).min();
        let found = findings.iter().map(|finding| finding.to_ns).min();
        // When it began, all of it may have been done; that it had ended is only a part of the proof.
        let ends = [(began, &[Form::AsPlanned][..]), (found, &Form::ALL[..])];
        let mut ways: Vec<Way> = Vec::new();
        for (end_ns, forms) in ends.into_iter().filter_map(|(end, forms)| Some((end?, forms))) {
            let until = cut_short(&records, end_ns);
            for form in forms {
                let steps = what_was_done_as(&until, &self.planned, *form);
                let cut = healed_ns.is_none_or(|healed| end_ns < healed);
                ways.push(Way { form: *form, steps, cut });
            }
        }
        let steps = self.plan.steps.clone();
        ways.push(Way { form: Form::AsPlanned, steps, cut: false });
        Ok(ways)
    }
}

/// One way to do again what a run did.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) form: Form,
    pub(crate) steps: Schedule,
    /// It ends before the run was healed, where something had been found by then.
    pub(crate) cut: bool,
}

/// The checks that are invalid.
pub(crate) fn invalid_checks(verdict: &Verdict) -> BTreeSet<String> {
    let invalid = verdict.checks.iter().filter(|check| check.judgement == Judgement::Invalid);
    invalid.map(|check| check.check.clone()).collect()
}

/// The defects that changed what a node did, by the nodes' own word.
pub(crate) fn defects_hit(history: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut hit = BTreeSet::new();
    let reader = Reader::open(history).context("cannot read the history");
    for record in reader.map_err(Failure::harness)? {
        let (_, record) = record.map_err(Failure::harness)?;
        if let Body::Node(node) = record.body
            && let Event::DefectHit { name, .. } = node.event
        {
            hit.insert(name);
        }
    }
    Ok(hit)
}

/// The text of `schedule.toml`: what a run did, from its history.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn schedule_text(plan: &Plan, history: &Path) -> Result<String, Failure> {
    let file = ScheduleFile { version: SCHEDULE_VERSION, steps: derive(plan, history)? };
    let text = toml::to_string_pretty(&file).context("cannot write the schedule");
    let text = text.map_err(Failure::harness)?;
    Ok(format!("# What this run did, for `usurper replay`.\n{text}"))
}

fn parse(text: &str) -> anyhow::Result<Schedule> {
    let file: ScheduleFile = toml::from_str(text)?;
    if file.version > SCHEDULE_VERSION {
        let version = file.version;
        return Err(anyhow!(
            "it has version {version}, this usurper reads up to {SCHEDULE_VERSION}"
        ));
    }
    Ok(file.steps)
}

fn derive(plan: &Plan, history: &Path) -> Result<Schedule, Failure> {
    Ok(what_was_done(&told(history)?, &plan.steps))
}

/// The records of a history that tell what was done.
fn told(history: &Path) -> Result<Vec<Record>, Failure> {
    let read = || -> anyhow::Result<Vec<Record>> {
        let (mut told, mut last) = (Vec::new(), None);
        for record in Reader::open(history)? {
            let (_, record) = record?;
            match tells_what_was_done(&record) {
                true => told.push(record),
                false => last = Some(record),
            }
        }
        let end = told.last().map(|record: &Record| record.t);
        told.extend(last.filter(|last| end.is_none_or(|end| last.t > end)));
        Ok(told)
    };
    let records = read().with_context(|| format!("cannot read `{}`", history.display()));
    records.map_err(Failure::usage)
}

fn is_heal(record: &Record) -> bool {
    matches!(&record.body, Body::Harness(HarnessEvent::Phase { phase }) if phase == "heal")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_schedule_of_a_newer_version_is_refused_by_name() {
        assert!(parse("usurper-schedule = 1\n[[steps]]\ndo = 'wait'").is_ok());
        let error = parse("usurper-schedule = 2").unwrap_err().to_string();
        assert_eq!(error, "it has version 2, this usurper reads up to 1");
    }
}
