//! The reference systems: usurper itself, started again as a node.

use std::{path::PathBuf, sync::LazyLock};

use anyhow::{Context, anyhow};
use usurper_history::{NodeId, Record, Timing, control::Command, frame};
use usurper_nemesis::{Bending, Fault, Stream, Wire};
use usurper_node::{DefectInfo, FailpointInfo, ParamInfo, SystemInfo, machine, store};

use super::{
    Client, ClientOptions, Launch, LineReader, NodeSpec, Reading, System,
    reference_client::ReferenceClient,
};
use crate::{failure::Failure, plan::Plan, workload::Kind};

/// One of the systems that `usurper node` can be.
pub(super) struct Reference(&'static SystemInfo);

/// All of them.
pub(super) fn all() -> &'static [Reference] {
    static ALL: LazyLock<Vec<Reference>> =
        LazyLock::new(|| usurper_node::systems().iter().map(Reference).collect());
    &ALL
}

/// This program. It may have been replaced since it was started, by a build for example; the nodes are
/// still of the old one, like the harness itself.
fn own_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()
        .context("cannot find the program to start as a node")
        .map_err(Failure::harness)?;
    Ok(match program.is_file() {
        true => program,
        false => PathBuf::from(format!("/proc/{}/exe", std::process::id())),
    })
}

impl System for Reference {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn summary(&self) -> &'static str {
        self.0.summary
    }

    fn events(&self) -> &'static [&'static str] {
        self.0.events
    }

    fn defects(&self) -> &'static [DefectInfo] {
        self.0.defects
    }

    fn params(&self) -> &'static [ParamInfo] {
        self.0.params
    }

    fn supports(&self, fault: Fault) -> bool {
        !matches!(fault, Fault::Transfer | Fault::Reconfigure) || self.0.name == "raft"
    }

    fn failpoints(&self) -> &'static [FailpointInfo] {
        self.0.failpoints
    }

    fn log_file(&self) -> &'static str {
        store::LOG_FILE
    }

    fn control(&self, name: String, command: Command) -> Bending {
        control(name, command)
    }

    fn wire(&self) -> Wire {
        Wire::Frames
    }

    fn workloads(&self) -> &'static [Kind] {
        if self.0.serves_data { &Kind::ALL } else { &[] }
    }

    fn has_sessions(&self) -> bool {
        self.0.serves_data
    }

    fn messages(&self) -> &'static [frame::Kind] {
        self.0.messages
    }

    fn timing(&self, plan: &Plan) -> Result<Timing, Failure> {
        let params: Vec<_> = plan.params.clone().into_iter().collect();
        let timing =
            self.0.timing(&params).with_context(|| format!("wrong options of `{}`", self.0.name));
        timing.map_err(Failure::usage)
    }

    fn check_installed(&self, plan: &Plan) -> Result<(), Failure> {
        match &plan.bin {
            None => Ok(()),
            Some(bin) if bin.is_file() => Ok(()),
            Some(bin) => Err(Failure::usage(anyhow!("there is no program `{}`", bin.display()))),
        }
    }

    fn launch(&self, spec: &NodeSpec<'_>) -> Result<Launch, Failure> {
        let program = match &spec.plan.bin {
            Some(bin) => bin.clone(),
            None => own_program()?,
        };
        launch(program, self.0.name, spec)
    }

    fn reader(&self, _: NodeId, _: u32) -> Box<dyn LineReader + Send> {
        Box::new(EventLines)
    }

    fn client(&self, options: ClientOptions) -> Box<dyn Client> {
        Box::new(ReferenceClient::new(options))
    }
}

/// Tells a node that listens on a control socket about its machine.
pub(super) fn control(name: String, command: Command) -> Bending {
    Box::pin(async move { machine::call(&name, &command).await.map_err(|error| error.to_string()) })
}

/// Starts a program as a node of this system, with the arguments of `usurper_node::NodeArgs`.
pub(super) fn launch(
    program: PathBuf,
    system: &str,
    spec: &NodeSpec<'_>,
) -> Result<Launch, Failure> {
    let plan = spec.plan;
    let mut args = vec!["node".to_owned(), system.to_owned()];
    let mut flag = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    flag("id", spec.node.to_string());
    flag("inc", spec.inc.to_string());
    flag("origin-ns", spec.clock.origin_ns().to_string());
    flag("cluster", spec.run.to_owned());
    flag("listen", spec.network.server(spec.node).to_string());
    for peer in plan.node_ids().into_iter().filter(|peer| *peer != spec.node) {
        flag("peer", format!("{peer}={}", spec.network.door(peer)));
    }
    flag("data", spec.data.display().to_string());
    flag("seed", plan.seed.to_string());
    // A machine that lets nobody listen there does not get any of the faults that need it.
    if !plan.skip.keys().any(|fault| fault.aspect().is_some()) {
        flag("control", spec.control.to_owned());
    }
    for condition in spec.conditions {
        let json = serde_json::to_string(condition).context("cannot write a condition");
        flag("condition", json.map_err(Failure::harness)?);
    }
    for defect in &plan.defects {
        flag("defect", defect.clone());
    }
    // A node's own options come last and win.
    let own = plan.node_params.get(&spec.node);
    for (key, value) in plan.params.iter().chain(own.into_iter().flatten()) {
        flag("param", format!("{key}={value}"));
    }
    if spec.after_power {
        args.push("--after-power".to_owned());
    }
    let args = args.into_iter().map(Into::into).collect();
    Ok(Launch { program, args, events: Stream::Stdout })
}

/// Our nodes write the history's own lines.
pub(super) struct EventLines;

impl LineReader for EventLines {
    fn read(&mut self, line: &[u8], _: u64) -> Reading {
        match Record::parse(line) {
            Ok(record) => Reading::Record(Box::new(record)),
            Err(error) => Reading::Bad(error.to_string()),
        }
    }
}
