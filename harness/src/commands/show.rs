//! `usurper show`: one run, or the newest that are like it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use usurper_checks::Verdict;

use crate::{
    cli::{Output, ShowArgs},
    failure::{Failure, Status},
    index::Index,
    output,
    result::{Outcome, RunResult},
    summary,
};

/// So many runs are named where several are meant.
const NAMED_MAX: u32 = 20;

pub(crate) fn show(args: &ShowArgs) -> Result<Status, Failure> {
    let dir = find(args)?;
    let result = RunResult::read(&dir)?;
    let verdict = read_verdict(&dir)?;
    if args.common.output == Output::Json {
        let json = serde_json::json!({ "run": dir, "result": result, "verdict": verdict });
        output::json(&json)?;
        return Ok(Status::Valid);
    }
    if let Some(result) = &result {
        let cell = match &result.suite {
            Some(suite) => format!("{} in suite {suite}", result.cell),
            None => result.cell.clone(),
        };
        output::data(&format!("run        {cell}, {} nodes, seed {}", result.nodes, result.seed));
        output::data(&format!("started    {}, took {} ms", result.started, result.took_ms));
        if result.late_ms > 0 {
            output::data(&format!("machine    up to {} ms late", result.late_ms));
        }
    }
    let shown = dir.display().to_string();
    match (&verdict, &result) {
        (Some(verdict), _) => {
            output::data(&summary::text(verdict, &shown, output::wants_colour()));
        }
        (None, Some(result)) => {
            output::data(&format!("verdict    {}", result.outcome.name()));
            if let Some(why) = &result.why {
                output::data(&format!("why        {why}"));
            }
            output::data(&format!("stored in  {shown}, without its history"));
        }
        (None, None) => {
            return Err(Failure::usage(anyhow!("`{shown}` is not a finished run"))
                .with_hint("`usurper check` judges the history of one that was cut short"));
        }
    }
    if result.is_some_and(|result| result.outcome == Outcome::Invalid) {
        output::data(&format!("next       usurper replay {shown} --repeat 20"));
        output::data(&format!("           usurper shrink {shown}"));
        output::data(&format!("           {}", dir.join("report.html").display()));
    }
    Ok(Status::Valid)
}

/// The directory that is meant: a path, or a part of one in the store, or a seed.
fn find(args: &ShowArgs) -> Result<PathBuf, Failure> {
    let path = Path::new(&args.run);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let mut found = Index::open_existing(&args.common.store)?.find(&args.run, NAMED_MAX)?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let error =
                anyhow!("no run in `{}` is like `{}`", args.common.store.display(), args.run);
            Err(Failure::usage(error).with_hint("`usurper history` shows what there is"))
        }
        _ => {
            let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::usage(anyhow!("several runs are like `{}`", args.run))
                .with_hint(format!("name one of\n  {}", names.join("\n  "))))
        }
    }
}

fn read_verdict(dir: &Path) -> Result<Option<Verdict>, Failure> {
    let path = dir.join("verdict.json");
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::usage(error)),
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("cannot read `{}`", path.display()))
            .map_err(Failure::usage),
    }
}
