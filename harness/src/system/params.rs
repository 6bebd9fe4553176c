//! The parameters of a system that is started by flags: what a plan asks for, or the default.

use anyhow::anyhow;
use usurper_nemesis::TimeSpan;
use usurper_node::ParamInfo;

use crate::{failure::Failure, plan::Plan};

pub(super) fn param<'a>(plan: &'a Plan, params: &'static [ParamInfo], name: &str) -> &'a str {
    let default = params.iter().find(|param| param.name == name).map_or("", |param| param.default);
    plan.params.get(name).map_or(default, String::as_str)
}

pub(super) fn time(
    plan: &Plan,
    params: &'static [ParamInfo],
    name: &str,
) -> Result<TimeSpan, Failure> {
    let text = param(plan, params, name);
    text.parse().map_err(|error| Failure::usage(anyhow!("`{name}` is wrong: `{text}`: {error}")))
}
