//! `usurper validate`: the same runs before and after a fix, side by side, and what they show.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use serde_json::json;
use tokio::sync::watch;

use crate::{
    again::{Seen, see},
    cli::{Output, ValidateArgs},
    comparison::{Comparison, Conclusion, Side},
    failure::{Failure, Status},
    output::{self, Paint, paint},
    plan::{Plan, Wishes},
    ready::Ready,
    scenario::{Scenario, Source},
    side_by_side::{Next, Work, default_jobs, side_by_side},
    statistics::Rate,
    stored::Stored,
    suite::seconds,
};

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Before,
    After,
}

/// What is run, and what counts as its failure.
struct Subject {
    name: String,
    before: Plan,
    after: Plan,
    checks: BTreeSet<String>,
}

pub(crate) fn validate(args: &ValidateArgs) -> Result<Status, Failure> {
    let mut subject = subject(args)?;
    let mut ready = Ready::probe(&[]);
    for plan in [&mut subject.before, &mut subject.after] {
        plan.validate(&Source::default())?;
        ready.make(plan, false)?;
    }
    if subject.before == subject.after {
        return Err(Failure::usage(anyhow!("before and after are the same")).with_hint(
            "say what differs with `--before`, `--after`, `--before-bin`, `--after-bin`",
        ));
    }
    let list: Vec<_> = subject.checks.iter().map(String::as_str).collect();
    output::talk(&format!(
        "{}: before with {}, after with {}; failing is {}",
        subject.name,
        shown(&subject.before),
        shown(&subject.after),
        if list.is_empty() { "any check".to_owned() } else { list.join(" or ") }
    ));
    let jobs = args.jobs.unwrap_or_else(|| default_jobs(4));
    let work = Pairs {
        checks: &subject.checks,
        runs: args.runs,
        begun: 0,
        taken: 0,
        ahead: VecDeque::new(),
        waiting: BTreeMap::new(),
        comparison: Comparison::default(),
        conclusion: Conclusion::Inconclusive { more: None },
        broken: Vec::new(),
        interrupted: false,
    };
    let pairs = side_by_side(jobs, work, |job| run(job, &subject, args));
    show(&pairs, args, &subject)?;
    Ok(if pairs.interrupted {
        Status::Interrupted
    } else if !pairs.broken.is_empty() {
        Status::Harness
    } else {
        match pairs.conclusion {
            Conclusion::Fixed => Status::Valid,
            Conclusion::NotFixed => Status::Invalid,
            Conclusion::Inconclusive { .. } => Status::Unknown,
        }
    })
}

/// What is compared: a scenario, or a run of a store.
fn subject(args: &ValidateArgs) -> Result<Subject, Failure> {
    let path = Path::new(&args.what);
    let (name, base, defects, mut checks) = if path.is_dir() {
        let stored = Stored::load(path)?;
        let checks = stored.failed_checks(None)?;
        let defects = stored.plan.defects.clone();
        (args.what.clone(), stored.plan, defects, checks)
    } else {
        let (name, scenario) = Scenario::load(&args.what)?;
        let (defects, checks) = (scenario.defects.clone(), scenario.expect.clone());
        let plan = Plan::resolve(Some((name.clone(), scenario)), &Wishes::default(), args.seed)?;
        (name, plan, defects, checks.into_iter().collect())
    };
    if !args.check.is_empty() {
        checks = args.check.iter().cloned().collect();
    }
    let base = Plan { defects: Vec::new(), expect: Vec::new(), ..base };
    let before = args.before.clone().unwrap_or(defects);
    let before = with(&base, &before, args.before_bin.as_ref());
    let after = with(&base, &args.after, args.after_bin.as_ref());
    Ok(Subject { name, before, after, checks })
}

/// The plan with what makes one side of it: defects by their names, options as `key=value`.
fn with(base: &Plan, words: &[String], bin: Option<&PathBuf>) -> Plan {
    let mut plan = base.clone();
    for word in words.iter().filter(|word| *word != "none") {
        match word.split_once('=') {
            Some((key, value)) => {
                plan.params.insert(key.to_owned(), value.to_owned());
            }
            None => plan.defects.push(word.clone()),
        }
    }
    plan.bin = bin.cloned().or(plan.bin);
    plan
}

fn shown(plan: &Plan) -> String {
    let defects = match plan.defects.is_empty() {
        true => "no defect".to_owned(),
        false => plan.defects.join(", "),
    };
    let params: String = plan.params.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let bin = plan.bin.as_ref().map(|bin| format!(" {}", bin.display())).unwrap_or_default();
    format!("{defects}{params}{bin}")
}

/// What was seen of one run, if it was not interrupted, or why it could not be done.
type Done = Result<Option<Seen>, String>;

fn run((pair, which): &(u32, Which), subject: &Subject, args: &ValidateArgs) -> Done {
    let plan = match which {
        Which::Before => &subject.before,
        Which::After => &subject.after,
    };
    // Both sides of a pair have the same seed.
    let plan = Plan { seed: plan.seed.wrapping_add(u64::from(*pair)), ..plan.clone() };
    let (_never, cancel) = watch::channel(false);
    see(&plan, &args.common.store, cancel, |_| args.keep)
        .map_err(|failure| format!("seed {}: {}", plan.seed, failure.in_a_line()))
}

/// The pairs of runs that are left, and how the others went.
///
/// Pairs are taken in by their number, whichever ends first, so that runs that end early count no
/// more than others.
struct Pairs<'a> {
    checks: &'a BTreeSet<String>,
    runs: u32,
    begun: u32,
    taken: u32,
    /// The other half of a pair that was begun.
    ahead: VecDeque<(u32, Which)>,
    waiting: BTreeMap<u32, (Option<Seen>, Option<Seen>)>,
    comparison: Comparison,
    conclusion: Conclusion,
    broken: Vec<String>,
    interrupted: bool,
}

impl Pairs<'_> {
    fn decided(&self) -> bool {
        !matches!(self.conclusion, Conclusion::Inconclusive { .. })
    }

    fn take_in(&mut self) {
        while !self.decided()
            && let Some((Some(_), Some(_))) = self.waiting.get(&self.taken)
            && let Some((Some(before), Some(after))) = self.waiting.remove(&self.taken)
        {
            self.taken += 1;
            self.comparison.before.add(&before, self.checks);
            self.comparison.after.add(&after, self.checks);
            self.conclusion = self.comparison.conclusion();
            let rates = (self.comparison.before.rate, self.comparison.after.rate);
            output::talk(&format!(
                "{:>4}/{} before {} of {}, after {} of {}",
                self.taken, self.runs, rates.0.hits, rates.0.runs, rates.1.hits, rates.1.runs
            ));
        }
    }
}

impl Work for Pairs<'_> {
    type Job = (u32, Which);
    type Done = Done;

    fn next(&mut self) -> Next<Self::Job> {
        if self.interrupted || self.decided() || !self.broken.is_empty() {
            return Next::Finished;
        }
        if let Some(job) = self.ahead.pop_front() {
            return Next::Job(job);
        }
        if self.begun == self.runs {
            return Next::Finished;
        }
        let pair = self.begun;
        self.begun += 1;
        self.ahead.push_back((pair, Which::After));
        Next::Job((pair, Which::Before))
    }

    fn done(&mut self, (pair, which): Self::Job, done: Done) {
        match done {
            Ok(None) => self.interrupted = true,
            Err(error) => self.broken.push(error),
            Ok(Some(seen)) => {
                let sides = self.waiting.entry(pair).or_default();
                match which {
                    Which::Before => sides.0 = Some(seen),
                    Which::After => sides.1 = Some(seen),
                }
                self.take_in();
            }
        }
    }
}

fn show(pairs: &Pairs<'_>, args: &ValidateArgs, subject: &Subject) -> Result<(), Failure> {
    let Pairs { comparison, conclusion, .. } = pairs;
    if args.common.output == Output::Json {
        let side = |side: &Side, plan: &Plan| {
            let interval = side.rate.interval_95();
            json!({
                "with": shown(plan),
                "failed": side.rate.hits,
                "runs": side.rate.runs,
                "unknown": side.unknown,
                "low-95": interval.low,
                "high-95": interval.high,
            })
        };
        let json = json!({
            "subject": subject.name,
            "conclusion": conclusion,
            "before": side(&comparison.before, &subject.before),
            "after": side(&comparison.after, &subject.after),
            "p": comparison.p(),
            "other-checks": comparison.others(),
            "failover": comparison.failover(),
            "broken": pairs.broken,
        });
        return output::json(&json);
    }
    output::data(&format!("before     fails {}", rate_text(&comparison.before)));
    output::data(&format!("after      fails {}", rate_text(&comparison.after)));
    output::data(&format!("by chance  {}, Fisher's exact test", p_text(comparison.p())));
    for other in comparison.others() {
        let how = if other.worse { "more often than chance explains" } else { "perhaps by chance" };
        let (check, before, after) = (&other.check, other.before, other.after);
        output::data(&format!("worse      {check}: {before} before, {after} after, {how}"));
    }
    if let Some(failover) = comparison.failover() {
        let (before, after) = (seconds(failover.before_ns), seconds(failover.after_ns));
        let how = if failover.changed { "changed" } else { "no difference shown" };
        let p = p_text(failover.p);
        output::data(&format!("failover   {before} before, {after} after, {how} ({p})"));
    }
    for error in &pairs.broken {
        output::data(&format!("not done   {error}"));
    }
    let mark = match conclusion {
        Conclusion::Fixed => Paint::Good,
        Conclusion::NotFixed => Paint::Bad,
        Conclusion::Inconclusive { .. } => Paint::Unclear,
    };
    let text = paint(&conclusion.to_string(), mark, output::wants_colour());
    output::data(&format!("verdict    {text}"));
    Ok(())
}

fn rate_text(side: &Side) -> String {
    let Rate { hits, runs } = side.rate;
    let rate = match hits {
        0 => {
            let most = Rate::at_most_if_none(runs) * 100.0;
            format!("0 of {runs}, so at most {most:.1} % with 95 % confidence")
        }
        _ => side.rate.to_string(),
    };
    match side.unknown {
        0 => rate,
        unknown => format!("{rate}; {unknown} more could not be judged"),
    }
}

fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}
