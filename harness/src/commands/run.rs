//! `usurper run`: the main job.

use usurper_checks::Judgement;

use crate::{
    cli::{Output, RunArgs},
    controller::RunEnd,
    execute::{Judged, execute},
    failure::{Failure, Status},
    output,
    ready::Ready,
    report,
    reporter::{self, Reporter, Silent},
    summary,
};

pub(crate) fn run(args: &RunArgs) -> Result<Status, Failure> {
    let seed = args.plan.seed_or_new();
    let mut ready = Ready::probe(&args.without);
    let mut worst = Status::Valid;
    for repeat in 0..u64::from(args.repeat) {
        let mut plan = args.plan.resolve(seed.wrapping_add(repeat))?;
        ready.make(&mut plan, args.allow_skip)?;
        output::talk(&format!(
            "{} with {} nodes, seed {} (again: usurper run {})",
            plan.name,
            plan.nodes,
            plan.seed,
            again(args, plan.seed)
        ));
        let mut reporter: Box<dyn Reporter> = match args.common.output {
            Output::Text => reporter::for_run(&plan),
            Output::Json => Box::new(Silent),
        };
        let judged = execute(&plan, &args.common.store, reporter.as_mut())?;
        drop(reporter);
        judged.keep(&plan)?;
        judged.dir.make_latest()?;
        let page = report::page(&judged.dir.history(), &judged.verdict)?;
        judged.dir.write("report.html", &page)?;
        show(&judged, args.common.output)?;
        for (fault, why) in plan.skip.iter().filter(|(fault, _)| plan.does(**fault)) {
            output::talk(&format!("note: `{fault}` was skipped: {why}"));
        }
        worst = worse(worst, judged.verdict.judgement.into());
        if judged.end == RunEnd::Interrupted {
            return Ok(Status::Interrupted);
        }
    }
    Ok(worst)
}

fn show(judged: &Judged, form: Output) -> Result<(), Failure> {
    match form {
        Output::Text => {
            let stored = judged.dir.path().display().to_string();
            let colour = output::wants_colour();
            output::data(&summary::text(&judged.verdict, &stored, colour));
        }
        Output::Json => {
            output::json(&judged.verdict)?;
        }
    }
    Ok(())
}

/// Invalid is worse than unknown, unknown worse than valid.
pub(super) fn worse(one: Status, other: Status) -> Status {
    let rank = |status| match status {
        Status::Valid => 0,
        Status::Unknown => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// The arguments that give the same run again.
fn again(args: &RunArgs, seed: u64) -> String {
    let mut words: Vec<String> = std::env::args().skip(2).collect();
    if args.plan.seed.is_none() {
        words.push(format!("--seed {seed}"));
    }
    words.join(" ")
}

impl Judged {
    /// Whether one check is invalid.
    pub(crate) fn is_invalid(&self, check: &str) -> bool {
        let checks = self.verdict.checks.iter();
        checks.filter(|c| c.check == check).any(|c| c.judgement == Judgement::Invalid)
    }
}
