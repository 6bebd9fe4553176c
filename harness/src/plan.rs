//! A plan: a scenario and the command line resolved into everything that a run needs. Pure data,
//! printed by `usurper plan` and stored with each run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use usurper_checks::{CHECKS, CheckInfo};
use usurper_history::{NodeId, OPERATIONS, Timing};
use usurper_nemesis::{
    Block, Fault, GeneratorOptions, Majority, MessageKind, Mix, RateOptions, Schedule, Step,
    TimeSpan, Wire, generate, generate_rates,
};

use crate::{
    failure::Failure,
    scenario::{Scenario, Source},
    system::{self, System},
    workload::{Workload, WorkloadArgs},
};

/// A run before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Plan {
    /// What the run is called in the store: the scenario, or `<system>/random`.
    pub(crate) name: String,
    pub(crate) system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<String>,
    pub(crate) nodes: u8,
    /// Everything that is random in the run derives from this.
    pub(crate) seed: u64,
    pub(crate) time: TimeSpan,
    pub(crate) settle: TimeSpan,
    /// The healed cluster need not be watched longer than it takes a leader to last for so long,
    /// followed by every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calm: Option<TimeSpan>,
    /// The program of the system under test, where it is not usurper itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bin: Option<PathBuf>,
    pub(crate) defects: Vec<String>,
    /// The checks that must be invalid because of the defects.
    pub(crate) expect: Vec<String>,
    /// The checks that may be invalid all the same, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) limitations: BTreeMap<String, String>,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) node_params: BTreeMap<NodeId, BTreeMap<String, String>>,
    pub(crate) checks: Map<String, Value>,
    /// The faults that the machine could not do and that may be left out, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) skip: BTreeMap<Fault, String>,
    /// The run ends once one of these checks is known to be invalid: nothing else is of interest.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) until: BTreeSet<String>,
    /// What clients do meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workload: Option<Workload>,
    pub(crate) steps: Schedule,
}

/// What the command line asks for beyond the scenario; absent fields leave the scenario's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) system: Option<String>,
    pub(crate) bin: Option<PathBuf>,
    pub(crate) nodes: Option<u8>,
    pub(crate) defects: Vec<String>,
    pub(crate) with_defect: bool,
    pub(crate) faults: Option<Vec<String>>,
    pub(crate) interval: Option<TimeSpan>,
    /// Families of random faults that may overlap, with their faults per minute.
    pub(crate) rates: Vec<(String, String)>,
    pub(crate) majority: Majority,
    pub(crate) time: Option<TimeSpan>,
    pub(crate) settle: Option<TimeSpan>,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) checks: Vec<String>,
    /// A workload instead of the scenario's, before what the command line changes of it.
    pub(crate) load: Option<Workload>,
    pub(crate) workload: WorkloadArgs,
}

/// For how long random faults go on, at least.
const DEFAULT_TIME: TimeSpan = TimeSpan::millis(12_000);
const DEFAULT_INTERVAL: TimeSpan = TimeSpan::millis(2_000);
/// Faults per minute and family, at most.
const RATE_MAX: f64 = 600.0;
/// The healed cluster is watched for so long at least.
const CALM_MIN: TimeSpan = TimeSpan::millis(2_000);

impl Plan {
    /// Resolves a scenario, or random faults where there is none.
    pub(crate) fn resolve(
        scenario: Option<(String, Scenario)>,
        wishes: &Wishes,
        seed: u64,
    ) -> Result<Self, Failure> {
        let source =
            scenario.as_ref().map(|(_, scenario)| scenario.source.clone()).unwrap_or_default();
        let plan = match scenario {
            Some((name, scenario)) => Self::of_scenario(name, scenario, wishes, seed)?,
            None => Self::of_random(wishes, seed)?,
        };
        plan.validate(&source)?;
        Ok(plan)
    }

    /// The nodes of the cluster.
    pub(crate) fn node_ids(&self) -> Vec<NodeId> {
        NodeId::all(self.nodes).collect()
    }

    /// Whether a step does this fault.
    pub(crate) fn does(&self, fault: Fault) -> bool {
        self.steps.iter().any(|step| step.fault == fault)
    }

    fn of_scenario(
        name: String,
        scenario: Scenario,
        wishes: &Wishes,
        seed: u64,
    ) -> Result<Self, Failure> {
        if wishes.faults.is_some() || wishes.interval.is_some() || !wishes.rates.is_empty() {
            return Err(Failure::usage(anyhow!("`{name}` has its own steps"))
                .with_hint("leave out the scenario to run random faults"));
        }
        if let Some(other) = wishes.system.as_ref().filter(|other| **other != scenario.system) {
            let system = &scenario.system;
            let error = anyhow!("`{name}` is a scenario of system `{system}`, not of `{other}`");
            return Err(Failure::usage(error));
        }
        if wishes.with_defect && scenario.defects.is_empty() {
            return Err(Failure::usage(anyhow!("scenario `{name}` has no defect to switch on")));
        }
        let system = system::find(&scenario.system)?;
        let mut defects = wishes.defects.clone();
        let mut expect = Vec::new();
        if wishes.with_defect {
            defects.extend(scenario.defects);
            expect = scenario.expect;
        }
        let mut params = scenario.params;
        params.extend(wishes.params.clone());
        let nodes = wishes.nodes.unwrap_or(scenario.nodes);
        let load = wishes.load.clone().or(scenario.workload);
        let workload = Workload::resolve(load, &wishes.workload)?;
        let mut checks = checks_of(
            &events_of(system, nodes, workload.as_ref()),
            workload.as_ref(),
            &wishes.checks,
        )?;
        for (check, options) in scenario.checks {
            let options = serde_json::to_value(options).expect("TOML is a subset of JSON here");
            checks.insert(check, options);
        }
        Ok(Self {
            scenario: Some(name.clone()),
            name,
            system: scenario.system,
            nodes,
            seed,
            time: wishes.time.unwrap_or(scenario.time),
            settle: wishes.settle.unwrap_or(scenario.settle),
            calm: None,
            bin: wishes.bin.clone(),
            defects,
            expect,
            limitations: scenario.limitations,
            params,
            node_params: scenario.node_params,
            checks,
            skip: BTreeMap::new(),
            until: BTreeSet::new(),
            workload,
            steps: scenario.steps,
        })
    }

    fn of_random(wishes: &Wishes, seed: u64) -> Result<Self, Failure> {
        if wishes.with_defect {
            return Err(Failure::usage(anyhow!("`--with-defect` needs a scenario"))
                .with_hint("switch one on by its name with `--defect`"));
        }
        let system = system::find(wishes.system.as_deref().unwrap_or("fle"))?;
        let nodes = wishes.nodes.unwrap_or(3);
        let node_ids: Vec<_> = NodeId::all(nodes).collect();
        let workload = Workload::resolve(wishes.load.clone(), &wishes.workload)?;
        // Where clients write, nodes differ without that.
        let advance = system.supports(Fault::Advance) && workload.is_none();
        // Of one node there is no link to cut.
        let possible = |family: &Mix| nodes > 1 || !family.needs_peers();
        let points: Vec<_> =
            system.failpoints().iter().map(|point| point.name.to_owned()).collect();
        let kinds: Vec<_> = system.messages().iter().copied().map(MessageKind).collect();
        let mut plan = Self {
            name: format!("{}/random", system.name()),
            system: system.name().to_owned(),
            scenario: None,
            nodes,
            seed,
            time: DEFAULT_TIME,
            settle: TimeSpan::default(),
            calm: None,
            bin: wishes.bin.clone(),
            defects: wishes.defects.clone(),
            expect: Vec::new(),
            limitations: BTreeMap::new(),
            params: wishes.params.clone(),
            node_params: BTreeMap::new(),
            checks: checks_of(
                &events_of(system, nodes, workload.as_ref()),
                workload.as_ref(),
                &wishes.checks,
            )?,
            skip: BTreeMap::new(),
            until: BTreeSet::new(),
            workload,
            steps: Vec::new(),
        };
        let timing = system.timing(&plan)?;
        let time = wishes.time.unwrap_or_else(|| time_of(&timing));
        plan.time = time;
        let mut steps = if wishes.rates.is_empty() {
            let mut mix = mix_of(system, wishes.faults.as_deref())?;
            mix.retain(possible);
            let interval = wishes.interval.unwrap_or(DEFAULT_INTERVAL);
            let events = system.events().iter().map(ToString::to_string).collect();
            let options =
                GeneratorOptions { mix, interval, time, timing, advance, points, kinds, events };
            generate(&node_ids, &options, seed)
        } else {
            let mut rates = rates_of(system, &wishes.rates)?;
            rates.retain(|family, _| possible(family));
            let majority = wishes.majority;
            if majority == Majority::Break && !rates.keys().any(|family| family.takes_away()) {
                let error = anyhow!("none of these faults can leave no majority");
                let hint = "add one that takes nodes away, for example `--rate kill=5`";
                return Err(Failure::usage(error).with_hint(hint));
            }
            let options = RateOptions { rates, majority, time, advance, points, kinds };
            generate_rates(&node_ids, &options, seed)
        };
        // A scenario ends with its steps; random faults, or none, go on for the time asked for.
        steps.push(Step { at: Some(time), ..Step::new(Fault::Wait, None) });
        plan.steps = steps;
        match wishes.settle {
            Some(settle) => plan.settle = settle,
            None => {
                let (settle, calm) = settle_of(&timing);
                (plan.settle, plan.calm) = (settle, Some(calm));
            }
        }
        Ok(plan)
    }

    /// Refuses what cannot run, before anything starts.
    pub(crate) fn validate(&self, source: &Source) -> Result<(), Failure> {
        if self.nodes == 0 {
            return Err(Failure::usage(anyhow!("a cluster of 0 nodes has nothing to break"))
                .with_hint("1 works, 3 is usual"));
        }
        if self.nodes > Block::NODES_MAX {
            let (nodes, max) = (self.nodes, Block::NODES_MAX);
            return Err(Failure::usage(anyhow!("{nodes} nodes, at most {max} are possible")));
        }
        let system = system::find(&self.system)?;
        for defect in &self.defects {
            if !system.defects().iter().any(|known| known.name == defect) {
                let known = system.defects().iter().map(|defect| defect.name);
                let list = format!("usurper list defects --system {}", self.system);
                return Err(Failure::unknown("defect", defect, known, &list));
            }
        }
        for name in self.params.keys().chain(self.node_params.values().flat_map(|p| p.keys())) {
            if !system.params().iter().any(|known| known.name == name) {
                let known = system.params().iter().map(|param| param.name);
                let what = format!("option of `{}`", self.system);
                return Err(Failure::unknown(&what, name, known, "usurper list systems"));
            }
        }
        for check in self.checks.keys().chain(&self.expect).chain(self.limitations.keys()) {
            find_check(check)?;
        }
        for (check, options) in &self.checks {
            CheckInfo::find(check).and_then(|it| it.validate(options)).map_err(Failure::usage)?;
        }
        let nodes = self.node_ids();
        if let Some(node) = self.node_params.keys().find(|node| !nodes.contains(node)) {
            return Err(Failure::usage(anyhow!("there is no node `{node}` to give options to")));
        }
        Step::validate_all(&self.steps, &nodes)
            .and_then(|()| Step::validate_time(&self.steps, self.time.0))
            .map_err(|error| source.failure(error))?;
        for step in &self.steps {
            if !system.supports(step.fault) {
                let (fault, system) = (step.fault, &self.system);
                return Err(Failure::usage(anyhow!("system `{system}` cannot do `{fault}` yet")));
            }
            if let Some(point) = &step.point {
                let known = || system.failpoints().iter().map(|known| known.name);
                if !known().any(|known| known == point) {
                    let list = format!("usurper list systems --system {}", self.system);
                    return Err(Failure::unknown("failpoint", point, known(), &list));
                }
            }
            if step.needs_frames() && system.wire() == Wire::Bytes {
                let (fault, system) = (step.fault, &self.system);
                let error = anyhow!("`{fault}` cannot tell the messages of `{system}` apart");
                return Err(Failure::usage(error).with_hint("leave out `kinds`"));
            }
        }
        if let Some(workload) = &self.workload {
            workload.validate(system)?;
        }
        system.timing(self)?;
        Ok(())
    }
}

/// How long the cluster is watched once random faults are healed, and after how much calm no longer.
///
/// What goes wrong for good is wrong within the longest bound of a check of liveness: 3 election timeouts
/// of grace and a window of 20 for `election-loop`, the leader bound for `cannot-rejoin`. A leader that
/// lasts for 5 ends an election loop.
pub(crate) fn settle_of(timing: &Timing) -> (TimeSpan, TimeSpan) {
    let spans = |count: u64| timing.election_timeout_ns.saturating_mul(count);
    let longest = spans(3 + 20).max(timing.leader_bound_ns.saturating_add(spans(3)));
    let whole = |ns: u64| TimeSpan::millis(ns.div_ceil(1_000_000));
    (whole(longest), whole(spans(5)).max(CALM_MIN))
}

/// For how long random faults go on: what stays broken from soon after the begin on is to be broken
/// for longer than a leader may take to come.
fn time_of(timing: &Timing) -> TimeSpan {
    let longest = timing.leader_bound_ns.saturating_add(timing.election_timeout_ns * 2);
    TimeSpan::millis(longest.div_ceil(1_000_000)).max(DEFAULT_TIME)
}

/// Refuses a check that does not exist.
pub(crate) fn find_check(name: &str) -> Result<(), Failure> {
    let known = || CHECKS.iter().map(|check| check.name);
    if known().any(|known| known == name) {
        Ok(())
    } else {
        Err(Failure::unknown("check", name, known(), "usurper list checks"))
    }
}

/// What the history of a cluster of this size can tell: a node alone has nobody to exchange heartbeats
/// with, and operations need clients.
pub(crate) fn events_of(
    system: &dyn System,
    nodes: u8,
    workload: Option<&Workload>,
) -> Vec<&'static str> {
    let alone = |event: &str| nodes == 1 && event == "heartbeat";
    let told = system.events().iter().copied().filter(|event| !alone(event));
    told.chain(workload.map(|_| OPERATIONS)).collect()
}

/// Whether the clients of a run let a check see anything, and it asks what no other check does; if not,
/// it is judged by when asked for.
fn sees(check: &str, workload: Option<&Workload>) -> bool {
    match check {
        "duplicate-apply" => workload.is_some_and(|workload| workload.sessions),
        // About one family of protocols; or less than `linearizable` asks, and not of every object.
        "agreement"
        | "best-candidate"
        | "lost-acknowledged-write"
        | "sequential"
        | "stale-read" => false,
        _ => true,
    }
}

/// The checks to judge by: those asked for, or all that the events and the workload allow.
fn checks_of(
    events: &[&str],
    workload: Option<&Workload>,
    asked: &[String],
) -> Result<Map<String, Value>, Failure> {
    let mut checks = Map::new();
    for name in asked {
        find_check(name)?;
        checks.insert(name.clone(), Value::Object(Map::new()));
    }
    if asked.is_empty() {
        let fed = |check: &&CheckInfo| check.needs.iter().all(|event| events.contains(event));
        for check in CHECKS.iter().filter(fed).filter(|check| sees(check.name, workload)) {
            checks.insert(check.name.to_owned(), Value::Object(Map::new()));
        }
    }
    Ok(checks)
}

/// Faults per minute, by family; a family that is named twice has the sum.
fn rates_of(
    system: &dyn System,
    asked: &[(String, String)],
) -> Result<BTreeMap<Mix, f64>, Failure> {
    let mut rates = BTreeMap::new();
    for (name, number) in asked {
        let rate = number.parse::<f64>().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate));
        let Some(rate) = rate else {
            let error = anyhow!("`{name}={number}` is no rate, expected 0 to {RATE_MAX} a minute");
            return Err(Failure::usage(error).with_hint("for example `--rate kill=10,pause=5`"));
        };
        let families = mix_of(system, Some(std::slice::from_ref(name)))?;
        // Every kind has the same part of it, and so has every family of a kind.
        let kinds: BTreeSet<_> = families.iter().map(|family| family.kind()).collect();
        for family in &families {
            let alike = families.iter().filter(|other| other.kind() == family.kind()).count();
            *rates.entry(*family).or_insert(0.0) += rate / count(kinds.len()) / count(alike);
        }
    }
    Ok(rates)
}

fn count(length: usize) -> f64 {
    f64::from(u32::try_from(length.max(1)).unwrap_or(u32::MAX))
}

fn mix_of(system: &dyn System, asked: Option<&[String]>) -> Result<Vec<Mix>, Failure> {
    let supported = |mix: &Mix| {
        system.supports(mix.fault()) && (*mix != Mix::Failpoint || !system.failpoints().is_empty())
    };
    // Frames have a checksum. Of bytes, TCP itself would have noticed that one is wrong.
    let expected = |mix: &Mix| {
        mix.beyond().is_none() && (*mix != Mix::Corrupt || system.wire() == Wire::Frames)
    };
    let Some(asked) = asked else {
        let usual = [Mix::Kill, Mix::Pause, Mix::Partition];
        return Ok(usual.into_iter().filter(supported).collect());
    };
    let mut mix = Vec::new();
    for name in asked {
        match name.as_str() {
            "none" => {}
            "all" => {
                mix.extend(Mix::ALL.iter().copied().filter(|mix| supported(mix) && expected(mix)));
            }
            _ => {
                let known = || Mix::ALL.iter().map(|mix| mix.name());
                let Some(found) = Mix::ALL.iter().copied().find(|mix| mix.name() == name) else {
                    let known = known().chain(["all", "none"]);
                    return Err(Failure::unknown("fault", name, known, "usurper list faults"));
                };
                if !supported(&found) {
                    let system = system.name();
                    let error = anyhow!("system `{system}` cannot do `{name}` yet");
                    return Err(Failure::usage(error));
                }
                mix.push(found);
            }
        }
    }
    Ok(mix)
}
