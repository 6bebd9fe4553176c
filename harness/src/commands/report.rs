//! `usurper report`: a run as a page to look at.

use std::fs;

use anyhow::Context;

use super::check::history_of;
use crate::{
    cli::ReportArgs,
    execute::judge,
    failure::{Failure, Status},
    output,
    report::page,
};

pub(crate) fn report(args: &ReportArgs) -> Result<Status, Failure> {
    let history = history_of(&args.run);
    let verdict = judge(&history)?;
    let page = page(&history, &verdict)?;
    let file = args.file.clone().unwrap_or_else(|| history.with_file_name("report.html"));
    fs::write(&file, page)
        .with_context(|| format!("cannot write `{}`", file.display()))
        .map_err(Failure::harness)?;
    output::data(&file.display().to_string());
    Ok(Status::Valid)
}
