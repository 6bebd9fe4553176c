//! `usurper plan`: what `run` would do.

use anyhow::Context;

use crate::{
    cli::PlanArgs,
    failure::{Failure, Status},
    output,
};

pub(crate) fn plan(args: &PlanArgs) -> Result<Status, Failure> {
    let plan = args.resolve(args.seed_or_new())?;
    let text = toml::to_string_pretty(&plan).context("cannot write the plan");
    output::data(text.map_err(Failure::harness)?.trim_end());
    Ok(Status::Valid)
}
