//! Scenarios: what is run, as TOML. The shipped ones are part of the binary.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};
use usurper_history::NodeId;
use usurper_nemesis::{Schedule, TimeSpan};

use crate::failure::Failure;

macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../../scenarios/", $name, ".toml")))
    };
}

/// Every shipped scenario: its name and its text.
const SHIPPED: &[(&str, &str)] = &[
    shipped!("etcd/leader-paused-and-resumed"),
    shipped!("fle/elected-leader-never-speaks"),
    shipped!("fle/healthy-cold-start"),
    shipped!("fle/initial-leader-returns"),
    shipped!("fle/leader-paused-and-resumed"),
    shipped!("fle/rolling-restart"),
    shipped!("fle/second-death-after-rejoin"),
    shipped!("raft/bridge-node"),
    shipped!("raft/campaigns-out-of-step"),
    shipped!("raft/elected-leader-never-speaks"),
    shipped!("raft/equal-logs"),
    shipped!("raft/healthy-cold-start"),
    shipped!("raft/higher-term-returns"),
    shipped!("raft/leader-in-the-minority"),
    shipped!("raft/leader-paused-and-resumed"),
    shipped!("raft/one-link-down"),
    shipped!("raft/partitioned-node-with-prevote"),
    shipped!("raft/partitioned-node-without-prevote"),
    shipped!("raft/rolling-restart"),
];

/// One scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    /// One sentence.
    pub(crate) summary: String,
    /// What happens, why, and where it was met: for a person.
    #[serde(default)]
    pub(crate) story: String,
    pub(crate) system: String,
    #[serde(default = "three")]
    pub(crate) nodes: u8,
    /// How long the steps may take, at most.
    pub(crate) time: TimeSpan,
    /// How long to watch once all steps are done and everything is healed.
    pub(crate) settle: TimeSpan,
    /// The defects that `--with-defect` switches on.
    #[serde(default)]
    pub(crate) defects: Vec<String>,
    /// The checks that must be invalid then.
    #[serde(default)]
    pub(crate) expect: Vec<String>,
    /// Options of every node of the system.
    #[serde(default)]
    pub(crate) params: BTreeMap<String, String>,
    /// Options of single nodes.
    #[serde(default)]
    pub(crate) node_params: BTreeMap<NodeId, BTreeMap<String, String>>,
    /// Options of checks that differ from the defaults.
    #[serde(default)]
    pub(crate) checks: BTreeMap<String, BTreeMap<String, toml::Value>>,
    #[serde(default)]
    pub(crate) steps: Schedule,
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
        toml::from_str(text).map_err(|error| {
            Failure::usage(anyhow!(
                "cannot read scenario `{name}`: {}",
                error.to_string().trim_end()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use usurper_history::NodeId;
    use usurper_nemesis::Step;

    use super::Scenario;

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
    fn every_scenario_file_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let mut files = BTreeSet::new();
        for folder in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
            for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = file.strip_prefix(&root).unwrap().with_extension("");
                files.insert(name.to_str().unwrap().to_owned());
            }
        }
        assert_eq!(files, Scenario::names().map(str::to_owned).collect());
    }
}
