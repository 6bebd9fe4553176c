//! `usurper list`: what there is, from the code itself.

use serde_json::{Value, json};
use usurper_checks::{CHECKS, CheckInfo};
use usurper_history::{Event, HarnessEvent, OPERATIONS};
use usurper_nemesis::Fault;

use crate::{
    cli::{ListArgs, ListOutput, What},
    failure::{Failure, Status},
    output,
    scenario::Scenario,
    system,
    workload::Kind,
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
        What::Workloads => workloads(args),
    };
    match args.output {
        ListOutput::Json => {
            output::json(&rows)?;
        }
        ListOutput::Text => rows.iter().for_each(show),
        ListOutput::Markdown => output::data(table(&rows).trim_end()),
    }
    Ok(Status::Valid)
}

/// The name on a line of its own with its summary; everything else below it.
fn show(row: &Value) {
    let Value::Object(fields) = row else { return };
    output::data(&format!("{}: {}", text(&row["name"]), text(&row["summary"])));
    for (key, value) in fields.iter().filter(|(key, _)| !matches!(key.as_str(), "name" | "summary"))
    {
        match text(value) {
            empty if empty.is_empty() => {}
            text => output::data(&format!("    {key}: {text}")),
        }
    }
}

/// A value as people read it; nothing for one that is not there.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let texts: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            texts.join(", ")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The rows as a table in Markdown, of which the name and the summary are the first columns.
fn table(rows: &[Value]) -> String {
    let mut columns = vec!["name", "summary"];
    for key in rows.iter().filter_map(Value::as_object).flat_map(|fields| fields.keys()) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut table = line(columns.iter().map(|column| column.replace('-', " ")).collect());
    table.push_str(&line(columns.iter().map(|_| "---".to_owned()).collect()));
    for row in rows {
        let cell = |column: &&str| text(&row[*column]).replace('|', "\\|");
        table.push_str(&line(columns.iter().map(cell).collect()));
    }
    table
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
    Ok(fault_rows(|fault| system.is_none_or(|system| system.supports(fault))))
}

fn fault_rows(supported: impl Fn(Fault) -> bool) -> Vec<Value> {
    let rows = Fault::ALL.iter().copied().filter(|fault| supported(*fault)).map(|fault| {
        let info = fault.info();
        json!({
            "name": info.name,
            "summary": info.summary,
            "needs": info.needs.name(),
            "takes": fault.keys(),
            "on": if fault.needs_frames() { "our own frames only" } else { "" },
            "undone-by": info.undo.map(Fault::name),
        })
    });
    rows.collect()
}

fn checks(args: &ListArgs) -> Result<Vec<Value>, Failure> {
    let system = args.system.as_deref().map(system::find).transpose()?;
    let told = |need: &&str| {
        system.is_none_or(|system| match *need {
            OPERATIONS => !system.workloads().is_empty(),
            event => system.events().contains(&event),
        })
    };
    let applies = |needs: &[&str]| needs.iter().all(told);
    let rows = CHECKS.iter().filter(|check| applies(check.needs)).map(|check| {
        json!({
            "name": check.name,
            "summary": check.summary,
            "source": check.source,
            "needs": check.needs,
            "options": options_of(check),
        })
    });
    Ok(rows.collect())
}

fn workloads(args: &ListArgs) -> Vec<Value> {
    let all = system::all();
    let rows = Kind::ALL.iter().filter_map(|kind| {
        let takes = all.iter().filter(|system| system.workloads().contains(kind));
        let systems: Vec<_> = takes.map(|system| system.name()).collect();
        let shown = args.system.as_deref().is_none_or(|wanted| systems.contains(&wanted));
        let share = |(name, share): &(&str, u32)| match kind {
            Kind::Lock => (*name).to_owned(),
            _ => format!("{name} {share}"),
        };
        shown.then(|| {
            json!({
                "name": kind.name(),
                "summary": kind.summary(),
                "operations": kind.operations().iter().map(share).collect::<Vec<_>>(),
                "systems": systems,
            })
        })
    });
    rows.collect()
}

fn options_of(check: &CheckInfo) -> Vec<String> {
    let numbers = check.options.iter().map(|(name, what)| format!("{name}: {what}"));
    let words = check.choices.iter();
    let words = words.map(|(name, what, words)| format!("{name}: {what}; {}", words.join(" or ")));
    numbers.chain(words).collect()
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

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_bar_does_not_break_the_table() {
        let rows = [serde_json::json!({"name": "a|b", "summary": "s", "list": ["x", "y"]})];
        assert_eq!(
            table(&rows),
            "| name | summary | list |\n| --- | --- | --- |\n| a\\|b | s | x, y |\n"
        );
    }
}
