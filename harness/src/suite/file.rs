//! What a suite asks for, as TOML, and the cells of its matrix.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use usurper_nemesis::{Majority, TimeSpan};

use crate::{
    failure::Failure,
    plan::{Plan, Wishes},
    scenario::Scenario,
    workload::Workload,
};

/// More cells than this are a mistake.
const CELLS_MAX: usize = 10_000;

/// A suite file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct SuiteFile {
    /// One sentence.
    pub(crate) summary: String,
    #[serde(default)]
    runs: Vec<Group>,
}

/// A matrix of runs: each list is an axis, and every combination is a cell.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Group {
    /// What its cells are called, where the axes alone do not tell.
    #[serde(default)]
    name: Option<String>,
    /// Shipped scenarios, `*` for any part of a name, or TOML files beside the suite; random faults
    /// if there is none.
    #[serde(default)]
    scenarios: Vec<String>,
    /// Whether to switch the scenarios' own defects on.
    #[serde(default)]
    with_defect: Vec<bool>,
    #[serde(default)]
    systems: Vec<String>,
    #[serde(default)]
    nodes: Vec<u8>,
    /// Lists of families of random faults.
    #[serde(default)]
    faults: Vec<Vec<String>>,
    /// Random faults that may overlap, as expected faults per minute and family.
    #[serde(default)]
    rates: Vec<BTreeMap<String, f64>>,
    #[serde(default)]
    majority: MajorityName,
    /// What clients do meanwhile, as a scenario's `[workload]` has it.
    #[serde(default)]
    workloads: Vec<Workload>,
    /// Lists of defects.
    #[serde(default)]
    defects: Vec<Vec<String>>,
    #[serde(default)]
    interval: Option<TimeSpan>,
    #[serde(default)]
    time: Option<TimeSpan>,
    #[serde(default)]
    settle: Option<TimeSpan>,
    /// Options of the system, the same for each run.
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// Options of the system that are axes: each with its values.
    #[serde(default)]
    vary: BTreeMap<String, Vec<String>>,
    /// Judge by these checks only.
    #[serde(default)]
    checks: Vec<String>,
    /// How many new seeds each cell is run with.
    #[serde(default = "one")]
    seeds: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MajorityName {
    #[default]
    Any,
    Keep,
    Break,
}

fn one() -> u32 {
    1
}

/// One combination of a matrix: runs of it differ by their seed only.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Its name within the suite, which no other cell has.
    pub(crate) name: String,
    /// How many new seeds a round of the suite has for it.
    pub(crate) seeds: u32,
    scenario: Option<(String, Scenario)>,
    wishes: Wishes,
}

impl Cell {
    /// The plan of its run with this seed.
    ///
    /// # Errors
    /// When the combination is impossible.
    pub(crate) fn plan(&self, seed: u64) -> Result<Plan, Failure> {
        Plan::resolve(self.scenario.clone(), &self.wishes, seed)
    }
}

#[cfg(test)]
impl Cell {
    /// One that is never run.
    pub(crate) fn for_test(name: &str, seeds: u32) -> Self {
        Self { name: name.to_owned(), seeds, scenario: None, wishes: Wishes::default() }
    }
}

impl SuiteFile {
    /// Reads a suite and spreads its matrices into cells, each of which can run. With its text.
    ///
    /// # Errors
    /// When it cannot be read, has no run, or has a combination that cannot run.
    pub(crate) fn load(path: &Path) -> Result<(Self, String, Vec<Cell>), Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read suite `{shown}`"))
            .map_err(Failure::usage)?;
        let file: Self = toml::from_str(&text).map_err(|error| {
            let what = error.to_string();
            Failure::usage(anyhow!("cannot read suite `{shown}`: {}", what.trim_end()))
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let cells = file.cells(folder).map_err(|failure| Failure {
            error: failure.error.context(format!("suite `{shown}`")),
            ..failure
        })?;
        Ok((file, text, cells))
    }

    fn cells(&self, folder: &Path) -> Result<Vec<Cell>, Failure> {
        let mut cells: Vec<Cell> = Vec::new();
        for (index, group) in self.runs.iter().enumerate() {
            let what = || match &group.name {
                Some(name) => format!("runs `{name}`"),
                None => format!("runs number {}", index + 1),
            };
            group
                .spread(folder, &mut cells)
                .map_err(|failure| Failure { error: failure.error.context(what()), ..failure })?;
        }
        if cells.iter().all(|cell| cell.seeds == 0) {
            return Err(Failure::usage(anyhow!("it has no run"))
                .with_hint("add a `[[runs]]` table, for example with `systems = [\"fle\"]`"));
        }
        let mut names: Vec<_> = cells.iter().map(|cell| &cell.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Failure::usage(anyhow!("two cells are called `{}`", pair[0]))
                .with_hint("give one of the `[[runs]]` a `name`"));
        }
        for cell in &cells {
            cell.plan(1).map_err(|failure| Failure {
                error: failure.error.context(format!("the cell `{}` is impossible", cell.name)),
                ..failure
            })?;
        }
        Ok(cells)
    }
}

impl Group {
    fn spread(&self, folder: &Path, cells: &mut Vec<Cell>) -> Result<(), Failure> {
        if !self.scenarios.is_empty() && !self.systems.is_empty() {
            return Err(Failure::usage(anyhow!("`scenarios` and `systems` exclude each other"))
                .with_hint("a scenario has its system; leave `systems` out"));
        }
        if let Some((name, _)) = self.vary.iter().find(|(_, values)| values.is_empty()) {
            return Err(Failure::usage(anyhow!("`vary.{name}` has no value")));
        }
        let sources = match self.scenarios.is_empty() {
            true => self.systems.iter().map(|system| Source::Random(system.clone())).collect(),
            false => self.scenarios_of(folder)?,
        };
        if sources.is_empty() {
            return Err(Failure::usage(anyhow!("neither `scenarios` nor `systems` is given"))
                .with_hint("`systems = [\"fle\"]` runs random faults"));
        }
        let combinations = self.combinations();
        for source in sources {
            for Partial { words, mut wishes } in combinations.clone() {
                if cells.len() == CELLS_MAX {
                    return Err(Failure::usage(anyhow!("more than {CELLS_MAX} cells")));
                }
                wishes.interval = self.interval;
                wishes.time = self.time;
                wishes.settle = self.settle;
                wishes.checks.clone_from(&self.checks);
                wishes.majority = match self.majority {
                    MajorityName::Any => Majority::Any,
                    MajorityName::Keep => Majority::Keep,
                    MajorityName::Break => Majority::Break,
                };
                for (name, value) in &self.params {
                    wishes.params.entry(name.clone()).or_insert_with(|| value.clone());
                }
                let (first, scenario) = match &source {
                    Source::Random(system) => {
                        wishes.system = Some(system.clone());
                        (format!("{system}/random"), None)
                    }
                    Source::Scenario(name, scenario) => {
                        (name.clone(), Some((name.clone(), (**scenario).clone())))
                    }
                };
                let words = self.name.clone().into_iter().chain([first]).chain(words);
                let name = words.collect::<Vec<_>>().join(" ");
                cells.push(Cell { name, seeds: self.seeds, scenario, wishes });
            }
        }
        Ok(())
    }

    /// Every combination of the axes.
    fn combinations(&self) -> Vec<Partial> {
        let mut axes = vec![Partial::default()];
        axes = times(axes, &optional(&self.with_defect), |it, with| {
            it.wishes.with_defect = with.unwrap_or_default();
            with.filter(|with| *with).map(|_| "with-defect".to_owned())
        });
        axes = times(axes, &optional(&self.nodes), |it, nodes| {
            it.wishes.nodes = *nodes;
            nodes.map(|nodes| format!("{nodes}-nodes"))
        });
        axes = times(axes, &optional(&self.faults), |it, faults| {
            it.wishes.faults.clone_from(faults);
            faults.as_ref().map(|faults| faults.join("+"))
        });
        axes = times(axes, &optional(&self.rates), |it, rates| {
            let rates = rates.iter().flatten();
            it.wishes.rates = rates.map(|(name, rate)| (name.clone(), rate.to_string())).collect();
            let words = it.wishes.rates.iter().map(|(name, rate)| format!("{name}={rate}"));
            let words: Vec<_> = words.collect();
            (!words.is_empty()).then(|| words.join("+"))
        });
        axes = times(axes, &optional(&self.workloads), |it, workload| {
            it.wishes.load.clone_from(workload);
            workload.as_ref().map(|workload| workload.kind.to_string())
        });
        axes = times(axes, &optional(&self.defects), |it, defects| {
            it.wishes.defects = defects.clone().unwrap_or_default();
            defects.as_ref().filter(|defects| !defects.is_empty()).map(|it| it.join("+"))
        });
        for (param, values) in &self.vary {
            axes = times(axes, values, |it, value| {
                it.wishes.params.insert(param.clone(), value.clone());
                Some(format!("{param}={value}"))
            });
        }
        axes
    }

    /// The scenarios that the names and patterns mean.
    fn scenarios_of(&self, folder: &Path) -> Result<Vec<Source>, Failure> {
        let defect_only = !self.with_defect.is_empty() && self.with_defect.iter().all(|with| *with);
        let mut found = Vec::new();
        for asked in &self.scenarios {
            if !asked.contains('*') {
                let file = folder.join(asked);
                let name = match asked.ends_with(".toml") {
                    true => file.to_string_lossy(),
                    false => asked.into(),
                };
                let (name, scenario) = Scenario::load(&name)?;
                found.push(Source::Scenario(name, Box::new(scenario)));
                continue;
            }
            let before = found.len();
            for name in Scenario::names().filter(|name| matches(asked, name)) {
                let (name, scenario) = Scenario::load(name)?;
                // A pattern means those that it can.
                if !defect_only || !scenario.defects.is_empty() {
                    found.push(Source::Scenario(name, Box::new(scenario)));
                }
            }
            if found.len() == before {
                return Err(Failure::usage(anyhow!("no shipped scenario is like `{asked}`"))
                    .with_hint("`usurper list scenarios` shows them all"));
            }
        }
        Ok(found)
    }
}

/// Where a run's steps come from.
enum Source {
    Random(String),
    Scenario(String, Box<Scenario>),
}

/// A combination of the axes so far.
#[derive(Clone, Debug, Default)]
struct Partial {
    words: Vec<String>,
    wishes: Wishes,
}

/// One more axis: every combination so far with every value. `set` puts a value into a combination,
/// and says how it is called there.
fn times<T>(
    axes: Vec<Partial>,
    values: &[T],
    set: impl Fn(&mut Partial, &T) -> Option<String>,
) -> Vec<Partial> {
    let mut spread = Vec::new();
    for partial in axes {
        for value in values {
            let mut partial = partial.clone();
            let word = set(&mut partial, value);
            partial.words.extend(word);
            spread.push(partial);
            if spread.len() > CELLS_MAX {
                return spread;
            }
        }
    }
    spread
}

/// An axis that may be left out.
fn optional<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
}

/// Whether a name is like a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(before) else { return false };
    (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| matches(after, rest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Cell, SuiteFile, matches};

    fn cells(text: &str) -> Result<Vec<Cell>, String> {
        let file: SuiteFile = toml::from_str(text).map_err(|error| error.to_string())?;
        file.cells(Path::new(".")).map_err(|failure| format!("{:#}", failure.error))
    }

    #[test]
    fn the_suites_of_the_documentation_can_run() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/studies/fle-knobs.toml");
        assert_eq!(SuiteFile::load(&docs).unwrap().2.len(), 30);
    }

    #[test]
    fn every_combination_is_a_cell_with_a_name_of_its_own() {
        let text = r#"
            summary = "x"
            [[runs]]
            systems = ["fle", "raft"]
            nodes = [3, 5]
            faults = [["kill"], ["kill", "pause"]]
            params = { heartbeat = "40ms" }
            vary = { election-timeout = ["300ms", "600ms"] }
            workloads = [{ kind = "register", rate = 100.0 }]
            [[runs]]
            scenarios = ["raft/*-node-with*"]
            seeds = 4
        "#;
        let text = text.replace("\"fle\", ", "");
        let cells = cells(&text).unwrap();
        let names: Vec<_> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), 2 * 2 * 2 + 2, "{names:?}");
        assert_eq!(names[0], "raft/random 3-nodes kill register election-timeout=300ms");
        assert_eq!(names[7], "raft/random 5-nodes kill+pause register election-timeout=600ms");
        assert_eq!(names[8], "raft/partitioned-node-with-prevote");
        let plan = cells[7].plan(9).unwrap_or_else(|failure| panic!("{:#}", failure.error));
        assert_eq!((plan.nodes, plan.seed), (5, 9));
        assert_eq!(plan.params["heartbeat"], "40ms");
        assert_eq!(plan.params["election-timeout"], "600ms");
        assert_eq!(plan.workload.and_then(|workload| workload.rate), Some(100.0));
        assert_eq!(cells[8].seeds, 4);
    }

    #[test]
    fn what_cannot_run_is_named() {
        for (text, expected) in [
            ("", "it has no run"),
            ("[[runs]]\nsystems = ['fle']\nseeds = 0", "it has no run"),
            ("[[runs]]\nnodes = [3]", "runs number 1: neither `scenarios` nor `systems`"),
            ("[[runs]]\nsystems = ['fel']", "`fel/random` is impossible: unknown system `fel`"),
            (
                "[[runs]]\nname = 'a'\nsystems = ['fle']\nnodes = [3, 0]",
                "`a fle/random 0-nodes` is impossible: a cluster of 0 nodes",
            ),
            (
                "[[runs]]\nsystems = ['fle']\nworkloads = [{ kind = 'list' }]",
                "`fle/random list` is impossible: system `fle` serves no data",
            ),
            (
                "[[runs]]\nsystems = ['fle']\n[[runs]]\nsystems = ['fle']",
                "two cells are called `fle/random`",
            ),
            ("[[runs]]\nscenarios = ['fle/no*thing']", "no shipped scenario is like"),
            ("[[runs]]\nsystems = ['fle']\nvary = { a = [] }", "`vary.a` has no value"),
            (
                "[[runs]]\nscenarios = ['fle/two-nodes']\nsystems = ['fle']",
                "`scenarios` and `systems` exclude each other",
            ),
            ("[[run]]\nsystems = ['fle']", "unknown field `run`"),
        ] {
            let error = cells(&format!("summary = ''\n{text}")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("fle/*", "fle/two-nodes") && matches("*", "") && matches("a*b*c", "a-b-c"));
        assert!(!matches("fle/*", "raft/two") && !matches("a*b", "ab-") && !matches("a", "ab"));
    }
}
