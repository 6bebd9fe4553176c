//! Scenarios: what is run, as TOML. The shipped ones are part of the binary.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use usurper_history::NodeId;
use usurper_nemesis::{Schedule, ScheduleError, TimeSpan};

use crate::{failure::Failure, workload::Workload};

/// Every shipped scenario: its name and its text. The build script lists the folder `scenarios`.
const SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// One scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    /// One sentence.
    pub(crate) summary: String,
    /// What happens, why, and where it was met: for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) story: String,
    pub(crate) system: String,
    #[serde(default = "three")]
    pub(crate) nodes: u8,
    /// How long the steps may take, at most.
    pub(crate) time: TimeSpan,
    /// How long to watch once all steps are done and everything is healed.
    pub(crate) settle: TimeSpan,
    /// The defects that `--with-defect` switches on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) defects: Vec<String>,
    /// The checks that must be invalid then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) expect: Vec<String>,
    /// The checks that may be invalid without the defects, each with the reason: what the protocol
    /// cannot do as it is configured here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) limitations: BTreeMap<String, String>,
    /// Options of every node of the system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) params: BTreeMap<String, String>,
    /// Options of single nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) node_params: BTreeMap<NodeId, BTreeMap<String, String>>,
    /// Options of checks that differ from the defaults.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) checks: BTreeMap<String, BTreeMap<String, toml::Value>>,
    /// What clients do meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workload: Option<Workload>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Schedule,
    /// Where it was read, so that a step that cannot run is shown with its line.
    #[serde(skip)]
    pub(crate) source: Source,
}

/// The text of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    /// As it was asked for.
    file: String,
    text: String,
}

impl Source {
    /// The line (from 1) of a step, or of one of its keys.
    pub(crate) fn line(&self, step: usize, key: Option<&str>) -> Option<usize> {
        #[derive(Deserialize)]
        struct Spans {
            steps: Vec<toml::Spanned<BTreeMap<toml::Spanned<String>, toml::Value>>>,
        }
        let spans: Spans = toml::from_str(&self.text).ok()?;
        let step = spans.steps.get(step)?;
        let found = key.and_then(|key| step.get_ref().keys().find(|found| found.get_ref() == key));
        let start = found.map_or(step.span().start, |key| key.span().start);
        Some(self.text.get(..start)?.matches('\n').count() + 1)
    }

    /// Why a schedule cannot run: the file, the line, the step, what is wrong, and a hint.
    pub(crate) fn failure(&self, error: ScheduleError) -> Failure {
        let line = self.line(error.number - 1, error.key).map(|line| format!(", line {line}"));
        let what = if self.file.is_empty() { "the schedule" } else { &format!("`{}`", self.file) };
        let place = format!("cannot run {what}{}", line.unwrap_or_default());
        let hint = error.hint.clone();
        let failure = Failure::usage(anyhow::Error::new(error).context(place));
        match hint {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

fn three() -> u8 {
    3
}

impl Scenario {
    /// The names of the shipped scenarios.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Finds a scenario by its name, or reads it from a file when the name ends in `.toml`.
    pub(crate) fn load(name: &str) -> Result<(String, Self), Failure> {
        if name.ends_with(".toml") {
            let text = std::fs::read_to_string(name)
                .with_context(|| format!("cannot read scenario `{name}`"))
                .map_err(Failure::usage)?;
            let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
            return Ok((stem.into_owned(), Self::parse(name, &text)?));
        }
        match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            Some((_, text)) => Ok((name.to_owned(), Self::parse(name, text)?)),
            None => {
                let list = "usurper list scenarios";
                Err(Failure::unknown("scenario", name, Self::names(), list))
            }
        }
    }

    fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        // The error of the toml crate shows the line with a caret; it ends with a newline.
        let scenario: Self = toml::from_str(text).map_err(|error| {
            Failure::usage(anyhow!(
                "cannot read scenario `{name}`: {}",
                error.to_string().trim_end()
            ))
        })?;
        Ok(Self { source: Source { file: name.to_owned(), text: text.to_owned() }, ..scenario })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use usurper_history::NodeId;
    use usurper_nemesis::Step;
    use usurper_node::DefectInfo;

    use super::Scenario;

    #[test]
    fn a_step_that_cannot_run_is_shown_with_its_line() {
        let text = "summary = ''\nsystem = 'fle'\ntime = '1s'\nsettle = '1s'\n\n[[steps]]\n\
                    do = 'wait'\n\n[[steps]]\nname = 'b'\ndo = 'wait'\n\
                    on = { event = 'leader-electd' }\n";
        let scenario = Scenario::parse("x.toml", text).unwrap_or_else(|f| panic!("{:#}", f.error));
        assert_eq!(scenario.source.line(0, None), Some(6));
        assert_eq!(scenario.source.line(1, Some("name")), Some(10));
        let nodes: Vec<_> = NodeId::all(3).collect();
        let error = Step::validate_all(&scenario.steps, &nodes).unwrap_err();
        let failure = scenario.source.failure(error);
        assert_eq!(
            format!("{:#}", failure.error),
            "cannot run `x.toml`, line 12: step 2 (`b`): unknown event `leader-electd`"
        );
        assert_eq!(failure.hint.as_deref(), Some("did you mean `leader-elected`?"));
    }

    #[test]
    fn every_shipped_scenario_can_run() {
        for name in Scenario::names() {
            let (_, scenario) = Scenario::load(name).unwrap_or_else(|f| panic!("{:#}", f.error));
            let nodes: Vec<_> = NodeId::all(scenario.nodes).collect();
            Step::validate_all(&scenario.steps, &nodes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(scenario.defects.is_empty(), scenario.expect.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_defect_has_a_scenario_that_expects_its_checks() {
        for system in crate::system::all() {
            let mut proven = BTreeSet::new();
            for name in Scenario::names() {
                let (_, scenario) =
                    Scenario::load(name).unwrap_or_else(|f| panic!("{:#}", f.error));
                if scenario.system != system.name() {
                    continue;
                }
                let of = |defect: &&DefectInfo| scenario.defects.iter().any(|it| it == defect.name);
                let checks: Vec<_> =
                    system.defects().iter().filter(of).flat_map(|it| it.checks).collect();
                for expected in &scenario.expect {
                    assert!(checks.iter().any(|check| *check == expected), "{name}: {expected}");
                }
                proven.extend(scenario.defects);
            }
            let names = system.defects().iter().map(|defect| defect.name);
            let unproven: Vec<_> = names.filter(|name| !proven.contains(*name)).collect();
            assert!(unproven.is_empty(), "{}: {unproven:?}", system.name());
        }
    }
}
