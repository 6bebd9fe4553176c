//! What is given to `usurper reproduce`: a history, judged, and what it tells of its cluster.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use usurper_checks::Verdict;
use usurper_history::{Body, Event, NodeId, Record};

use crate::{
    cli::ReproduceArgs,
    commands::check::{histories, history_of},
    execute::means,
    failure::Failure,
    plan::Plan,
    system::{self, System},
};

/// What was given: a history, judged.
pub(super) struct Given {
    /// The files, for the story.
    pub(super) names: String,
    /// The system that it tells of, as its format or its header says.
    pub(super) of: String,
    /// By its own fault records, what was done is known.
    pub(super) recorded: bool,
    pub(super) nodes: Vec<NodeId>,
    pub(super) records: Vec<Record>,
    pub(super) defects: Vec<String>,
    pub(super) check_options: serde_json::Map<String, serde_json::Value>,
    /// The plan, where a run's directory was given.
    pub(super) plan: Option<Plan>,
    pub(super) verdict: Verdict,
}

impl Given {
    pub(super) fn read(args: &ReproduceArgs) -> Result<Self, Failure> {
        let mut read = histories(&args.histories, args.format)?;
        let (Some(history), true) = (read.pop(), read.is_empty()) else {
            return Err(Failure::usage(anyhow!("these files are more than one history"))
                .with_hint("give one history, or the logs of one cluster's servers"));
        };
        let imported = history.read(false)?;
        let names: Vec<_> = args.histories.iter().map(|it| it.display().to_string()).collect();
        let records: Vec<Record> =
            imported.records.iter().map(|(_, record)| record.clone()).collect();
        let header = imported.header.clone();
        let verdict = imported
            .judge(&means())
            .with_context(|| format!("cannot judge `{}`", names.join(", ")))
            .map_err(Failure::usage)?;
        // Of a run's directory, the plan tells what the history leaves open.
        let plan = match args.histories.as_slice() {
            [path] if path.is_dir() && history_of(path) != *path => {
                let text = std::fs::read_to_string(path.join("plan.toml")).unwrap_or_default();
                toml::from_str::<Plan>(&text).ok()
            }
            _ => None,
        };
        let mut nodes = header.nodes;
        nodes.sort_unstable();
        Ok(Self {
            names: names.join(", "),
            of: header.system,
            recorded: header.run != "imported",
            nodes,
            records,
            defects: header.defects,
            check_options: header.checks,
            plan,
            verdict,
        })
    }

    /// The system that the scenario is for: the nearest one of ours where nobody says.
    pub(super) fn system(&self, args: &ReproduceArgs) -> Result<&'static dyn System, Failure> {
        let nearest = match (self.recorded, self.of.as_str()) {
            (false, "etcd") => "raft",
            (false, "zookeeper") => "fle",
            (_, of) => of,
        };
        system::find(args.system.as_deref().unwrap_or(nearest))
    }

    /// Who was established as leader when, and of which term.
    pub(super) fn leaders(&self) -> Vec<(u64, NodeId, u64)> {
        let leader = |record: &Record| match &record.body {
            Body::Node(node) => match node.event {
                Event::LeaderElected { established: true, in_term, .. } => {
                    Some((record.t, node.node, in_term))
                }
                _ => None,
            },
            _ => None,
        };
        self.records.iter().filter_map(leader).collect()
    }

    /// The options of the nodes that differ from the system's defaults, by their own word.
    pub(super) fn params(&self, system: &dyn System) -> BTreeMap<NodeId, BTreeMap<String, String>> {
        let mut params: BTreeMap<NodeId, BTreeMap<String, String>> = BTreeMap::new();
        for record in &self.records {
            let Body::Node(node) = &record.body else { continue };
            let Event::NodeStart { params: told, .. } = &node.event else { continue };
            for info in system.params() {
                let value = told.get(info.name).and_then(serde_json::Value::as_str);
                if let Some(value) = value.filter(|value| *value != info.default) {
                    let of_node = params.entry(node.node).or_default();
                    of_node.insert(info.name.to_owned(), value.to_owned());
                }
            }
        }
        params
    }
}
