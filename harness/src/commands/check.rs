//! `usurper check`: judge a history again, from the history alone.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    cli::{CheckArgs, Output},
    execute::judge,
    failure::{Failure, Status},
    output, summary,
};

pub(crate) fn check(args: &CheckArgs) -> Result<Status, Failure> {
    let mut worst = Status::Valid;
    for path in &args.histories {
        let history = history_of(path);
        let verdict = judge(&history)?;
        match args.output {
            Output::Text => {
                let stored = history.parent().unwrap_or(path).display().to_string();
                output::data(&summary::text(&verdict, &stored, output::wants_colour()));
            }
            Output::Json => {
                let json = serde_json::to_string_pretty(&verdict).context("cannot print JSON");
                output::data(&json.map_err(Failure::harness)?);
            }
        }
        worst = super::run::worse(worst, verdict.judgement.into());
    }
    Ok(worst)
}

/// The history in a run's directory, or the file itself.
pub(super) fn history_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("history.jsonl") } else { path.to_owned() }
}
