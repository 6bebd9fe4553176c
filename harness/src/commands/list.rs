//! `usurper list`: what there is, from the code itself.

use anyhow::Context;
use serde_json::{Value, json};
use usurper_checks::CHECKS;
use usurper_history::{Event, HarnessEvent};
use usurper_nemesis::Fault;

use crate::{
    cli::{ListArgs, Output, What},
    failure::{Failure, Status},
    output,
    scenario::Scenario,
    system,
};

pub(crate) fn list(args: &ListArgs) -> Result<Status, Failure> {
    if let Some(system) = &args.system {
        system::find(system)?;
    }
    let rows = match args.what {
        What::Systems => systems(args),
        What::Scenarios => scenarios(args)?,
        What::Defects => defects(args)?,
        What::Faults => faults(args)?,
        What::Checks => checks(args)?,
        What::Events => events(args)?,
    };
    match args.output {
        Output::Json => {
            let json = serde_json::to_string_pretty(&rows).context("cannot print JSON");
            output::data(&json.map_err(Failure::harness)?);
        }
        Output::Text => rows.iter().for_each(show),
    }
    Ok(Status::Valid)
}

/// The name on a line of its own with its summary; everything else below it.
fn show(row: &Value) {
    let Value::Object(fields) = row else { return };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            texts.join(", ")
        }
        other => other.to_string(),
    };
    output::data(&format!("{}: {}", text(&row["name"]), text(&row["summary"])));
    for (key, value) in fields.iter().filter(|(key, _)| !matches!(key.as_str(), "name" | "summary"))
    {
        match text(value) {
            empty if empty.is_empty() || empty == "null" => {}
            text => output::data(&format!("    {key}: {text}")),
        }
    }
}

fn wanted(args: &ListArgs, system: &str) -> bool {
    args.system.as_ref().is_none_or(|wanted| wanted == system)
}

fn systems(args: &ListArgs) -> Vec<Value> {
    let all = system::all().into_iter().filter(|system| wanted(args, system.name()));
    let option = |param: &usurper_node::ParamInfo| {
        format!("{} (default {}): {}", param.name, param.default, param.summary)
    };
    let failpoint =
        |point: &usurper_node::FailpointInfo| format!("{}: {}", point.name, point.summary);
    all.map(|system| {
        json!({
            "name": system.name(),
            "summary": system.summary(),
            "options": system.params().iter().map(option).collect::<Vec<_>>(),
            "events": system.events(),
            "failpoints": system.failpoints().iter().map(failpoint).collect::<Vec<_>>(),
        })
    })
    .collect()
}

fn scenarios(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for name in Scenario::names() {
        let (_, scenario) = Scenario::load(name)?;
        if wanted(args, &scenario.system) {
            rows.push(json!({
                "name": name,
                "summary": scenario.summary,
                "story": scenario.story.split_whitespace().collect::<Vec<_>>().join(" "),
                "defects": scenario.defects,
                "expect": scenario.expect,
            }));
        }
    }
    Ok(rows)
}

fn defects(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for system in system::all().into_iter().filter(|system| wanted(args, system.name())) {
        for defect in system.defects() {
            rows.push(json!({
                "name": defect.name,
                "summary": defect.summary,
                "system": system.name(),
                "source": defect.source,
                "checks": defect.checks,
                "scenarios": scenarios_with(system.name(), defect.name)?,
            }));
        }
    }
    Ok(rows)
}

/// The shipped scenarios that switch a defect on.
fn scenarios_with(system: &str, defect: &str) -> Result<Vec<&'static str>, Failure> {
    let mut found = Vec::new();
    for name in Scenario::names() {
        let (_, scenario) = Scenario::load(name)?;
        if scenario.system == system && scenario.defects.iter().any(|known| known == defect) {
            found.push(name);
        }
    }
    Ok(found)
}

fn faults(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let system = args.system.as_deref().map(system::find).transpose()?;
    let supported = |fault: Fault| system.is_none_or(|system| system.supports(fault));
    let rows = Fault::ALL.iter().copied().filter(|fault| supported(*fault)).map(|fault| {
        let info = fault.info();
        json!({
            "name": info.name,
            "summary": info.summary,
            "needs": info.needs.name(),
            "options": fault.keys(),
            "undone-by": info.undo.map(Fault::name),
        })
    });
    Ok(rows.collect())
}

fn checks(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let events = args.system.as_deref().map(system::find).transpose()?.map(|s| s.events());
    let applies =
        |needs: &[&str]| events.is_none_or(|events| needs.iter().all(|need| events.contains(need)));
    let rows = CHECKS.iter().filter(|check| applies(check.needs)).map(|check| {
        json!({
            "name": check.name,
            "summary": check.summary,
            "source": check.source,
            "needs": check.needs,
            "options": check.options.iter().map(|(name, what)| format!("{name}: {what}")).collect::<Vec<_>>(),
        })
    });
    Ok(rows.collect())
}

/// The vocabulary of a history: what nodes say, then what the harness says.
fn events(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let told = args.system.as_deref().map(system::find).transpose()?.map(|s| s.events());
    let fields = |summaries: Vec<(&str, &str)>| {
        let text = |(key, summary): &(&str, &str)| match *summary {
            "" => (*key).to_owned(),
            _ => format!("{key} ({})", summary.trim_end_matches('.')),
        };
        summaries.iter().map(text).collect::<Vec<_>>()
    };
    let mut rows = Vec::new();
    for name in Event::NAMES.iter().filter(|name| told.is_none_or(|told| told.contains(name))) {
        let fields = fields(Event::field_summaries_of(name));
        let summary = Event::summary_of(name);
        rows.push(json!({"name": name, "summary": summary, "by": "node", "fields": fields}));
    }
    for name in HarnessEvent::NAMES.iter().filter(|_| told.is_none()) {
        let fields = fields(HarnessEvent::field_summaries_of(name));
        let summary = HarnessEvent::summary_of(name);
        rows.push(json!({"name": name, "summary": summary, "by": "harness", "fields": fields}));
    }
    Ok(rows)
}
