//! The one seam between the harness and what is under test.

mod base64;
mod etcd;
mod etcd_client;
mod params;
mod raft_rs;
mod reference;
mod reference_client;

use std::{
    ffi::OsString, future::Future, net::SocketAddr, path::Path, path::PathBuf, pin::Pin,
    time::Duration,
};

use serde_json::Value;
use usurper_history::{Clock, NodeId, OpType, Record, Timing, control::Command, frame};
use usurper_nemesis::{Bending, Fault, Network, Stream, Wire};
use usurper_node::{DefectInfo, FailpointInfo, ParamInfo};

use crate::{
    failure::Failure,
    plan::Plan,
    workload::{Kind, Reads},
};

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
    /// The kinds of messages that it can tell apart.
    fn messages(&self) -> &'static [frame::Kind] {
        &[]
    }
    /// What clients can ask for; nothing where it serves no data.
    fn workloads(&self) -> &'static [Kind] {
        &[]
    }
    /// Whether an operation that carries a session's number is done only once.
    fn has_sessions(&self) -> bool {
        false
    }
    /// Whether a client can ask for reads of a node's own copy.
    fn has_serializable_reads(&self) -> bool {
        false
    }
    /// Where a node answers clients.
    fn client_address(&self, network: &Network, node: NodeId) -> SocketAddr {
        network.server(node)
    }
    /// A client that has not connected yet.
    fn client(&self, options: ClientOptions) -> Box<dyn Client>;
    /// The timeouts in force, from which liveness bounds derive.
    fn timing(&self, plan: &Plan) -> Result<Timing, Failure>;
    /// Refuses to run where the system's program is missing.
    fn check_installed(&self, plan: &Plan) -> Result<(), Failure>;
    /// How to start a node.
    fn launch(&self, spec: &NodeSpec<'_>) -> Result<Launch, Failure>;
    /// A reader of one incarnation's output.
    fn reader(&self, node: NodeId, inc: u32) -> Box<dyn LineReader + Send>;
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

/// Whom a client asks, and how.
#[derive(Clone, Debug)]
pub(crate) struct ClientOptions {
    pub(crate) server: SocketAddr,
    /// The run's name: a node of another run does not answer.
    pub(crate) run: String,
    /// What the keys are; none for what the harness itself asks.
    pub(crate) kind: Option<Kind>,
    pub(crate) reads: Reads,
    pub(crate) sessions: bool,
    /// Operations of a session are sent twice.
    pub(crate) twice: bool,
}

/// A client of one node.
///
/// It connects when it has something to ask and no connection, and asks once: no retry, and no
/// connection that is made again behind an operation's back. What became of an operation is
/// classified here and nowhere else.
pub(crate) trait Client: Send {
    /// Does one operation, connecting included, in no more than `timeout`.
    fn operate<'a>(&'a mut self, operation: &'a Operation, timeout: Duration) -> Operating<'a>;
}

/// One client operation.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) f: &'static str,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<Value>,
}

/// What became of a client operation; never `invoke`.
#[derive(Clone, Debug)]
pub(crate) struct Operated {
    /// `fail` without an error is the system's plain no.
    pub(crate) op_type: OpType,
    /// What came back, where that says more than what was asked.
    pub(crate) value: Option<Value>,
    pub(crate) error: Option<String>,
    /// Whom a refusal named as the leader.
    pub(crate) leader: Option<NodeId>,
    /// The session that the operation was done in, and its number there.
    pub(crate) session: Option<(u64, u64)>,
}

impl Operated {
    pub(crate) fn new(op_type: OpType) -> Self {
        Self { op_type, value: None, error: None, leader: None, session: None }
    }

    /// It was certainly not done.
    pub(crate) fn fail(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(OpType::Fail) }
    }

    /// It may have been done, or may be yet.
    pub(crate) fn info(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::new(OpType::Info) }
    }
}

pub(crate) type Operating<'a> = Pin<Box<dyn Future<Output = Operated> + Send + 'a>>;

/// Every system, in the order in which they are listed.
pub(crate) fn all() -> Vec<&'static dyn System> {
    let mut all: Vec<&'static dyn System> = Vec::new();
    all.extend(reference::all().iter().map(|system| system as &dyn System));
    all.push(&raft_rs::RaftRs);
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
