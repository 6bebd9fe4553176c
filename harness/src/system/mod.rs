//! The one seam between the harness and what is under test.

mod etcd;
mod reference;

use std::{ffi::OsString, future::Future, net::SocketAddr, path::Path, path::PathBuf, pin::Pin};

use serde_json::Value;
use usurper_history::{Clock, NodeId, OpType, Record, Timing, control::Command};
use usurper_nemesis::{Bending, Fault, Network, Stream, Wire};
use usurper_node::{DefectInfo, FailpointInfo, ParamInfo};

use crate::{failure::Failure, plan::Plan};

/// A system under test: how to start a node of it, what its output means, what can be done to it.
pub(crate) trait System: Sync {
    fn name(&self) -> &'static str;
    fn summary(&self) -> &'static str;
    /// The events that its output can be read as; a check that needs another one cannot apply.
    fn events(&self) -> &'static [&'static str];
    fn defects(&self) -> &'static [DefectInfo];
    fn params(&self) -> &'static [ParamInfo];
    fn supports(&self, fault: Fault) -> bool;
    /// The moments at which its nodes can be made to crash or to wait.
    fn failpoints(&self) -> &'static [FailpointInfo] {
        &[]
    }
    /// The file in a node's data directory that holds its log.
    fn log_file(&self) -> &'static str {
        ""
    }
    /// Tells the node that listens on a control socket about its machine.
    fn control(&self, _name: String, _command: Command) -> Bending {
        let why = format!("a node of `{}` cannot be told", self.name());
        Box::pin(std::future::ready(Err(why)))
    }
    /// What its nodes send each other, as far as the network can tell.
    fn wire(&self) -> Wire;
    /// Whether [`System::operate`] works.
    fn has_client(&self) -> bool;
    /// The timeouts in force, from which liveness bounds derive.
    fn timing(&self, plan: &Plan) -> Result<Timing, Failure>;
    /// Refuses to run where the system's program is missing.
    fn check_installed(&self, plan: &Plan) -> Result<(), Failure>;
    /// How to start a node.
    fn launch(&self, spec: &NodeSpec<'_>) -> Result<Launch, Failure>;
    /// A reader of one incarnation's output.
    fn reader(&self, node: NodeId, inc: u32) -> Box<dyn LineReader + Send>;
    /// Does one client operation of a run, without retry and in bounded time.
    fn operate(&self, server: SocketAddr, run: &str, operation: Operation) -> Operating;
}

/// Everything that a start of a node depends on.
pub(crate) struct NodeSpec<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) node: NodeId,
    pub(crate) inc: u32,
    pub(crate) network: &'a Network,
    pub(crate) clock: Clock,
    /// The run's name: nodes of another run are refused by it.
    pub(crate) run: &'a str,
    /// The node's data directory, which exists.
    pub(crate) data: &'a Path,
    /// The name of the control socket that it is to listen on.
    pub(crate) control: &'a str,
    /// What is wrong with its machine from the start.
    pub(crate) conditions: &'a [Command],
    /// The power failed: what was not synced is gone.
    pub(crate) after_power: bool,
}

/// A command line, and which of its streams tells what the node does.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) events: Stream,
}

/// What a line of a node's output is.
#[derive(Debug)]
pub(crate) enum Reading {
    /// A record, word for word.
    Record(Box<Record>),
    /// What a foreign line says in our words; nothing, if it is only talk.
    Translated(Vec<Record>),
    /// A foreign line that says that the node serves now.
    Serves,
    /// Not what this system writes.
    Bad(String),
}

/// Turns lines into events. `now_ns` is when the line was read, in nanoseconds of the run's clock.
pub(crate) trait LineReader {
    fn read(&mut self, line: &[u8], now_ns: u64) -> Reading;
}

/// One client operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) f: &'static str,
    pub(crate) value: Value,
}

/// What became of a client operation; never `invoke`.
#[derive(Clone, Debug)]
pub(crate) struct Operated {
    pub(crate) op_type: OpType,
    pub(crate) value: Option<Value>,
    pub(crate) error: Option<String>,
}

pub(crate) type Operating = Pin<Box<dyn Future<Output = Operated> + Send>>;

/// Every system, in the order in which they are listed.
pub(crate) fn all() -> Vec<&'static dyn System> {
    let mut all: Vec<&'static dyn System> = Vec::new();
    all.extend(reference::all().iter().map(|system| system as &dyn System));
    all.push(&etcd::Etcd);
    all
}

/// The system of this name.
pub(crate) fn find(name: &str) -> Result<&'static dyn System, Failure> {
    let all = all();
    let names = all.iter().map(|system| system.name());
    match all.iter().find(|system| system.name() == name) {
        Some(system) => Ok(*system),
        None => Err(Failure::unknown("system", name, names, "usurper list systems")),
    }
}
