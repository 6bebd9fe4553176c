//! The command line of a node, and the process it becomes.

use std::{
    collections::BTreeMap,
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use usurper_history::{
    Clock, NodeId,
    control::{Command, EXIT_BAD_DATA, EXIT_DISK_FAILED, FailpointAct},
};

use crate::{
    machine::{FailpointInfo, Machine, listen},
    params::OptionError,
    protocol::{Protocol, RecoverError, Setup},
    shell::{Place, ShellError, serve},
    store::{Before, StoreError},
    systems::system,
};

/// How one node is started.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// The system to run.
    pub system: String,
    /// Who this node is.
    #[arg(long)]
    pub id: NodeId,
    /// Incarnation: 1 for the first start, one more at each restart.
    #[arg(long, default_value_t = 1)]
    pub inc: u32,
    /// The run's origin in nanoseconds of the host's monotonic clock.
    #[arg(long, value_name = "N")]
    pub origin_ns: u64,
    /// Names the cluster; nodes and clients of another are refused.
    #[arg(long, value_name = "TEXT")]
    pub cluster: String,
    /// Where to listen.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Another node and where to reach it, once for each.
    #[arg(long = "peer", value_name = "NODE=IP:PORT", value_parser = parse_peer)]
    pub peers: Vec<(NodeId, SocketAddr)>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Seeds every random choice.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The power failed: writes that were not synced are gone.
    #[arg(long)]
    pub after_power: bool,
    /// Obey commands on the abstract Unix socket of this name.
    #[arg(long, value_name = "NAME")]
    pub control: Option<String>,
    /// A failpoint to arm, and what happens there: `crash`, `pause` or `delay:TIME`.
    #[arg(long = "failpoint", value_name = "POINT=ACT", value_parser = parse_failpoint)]
    pub failpoints: Vec<Command>,
    /// A command that is obeyed before anything else, as the control socket takes it.
    #[arg(long = "condition", value_name = "JSON", value_parser = parse_condition)]
    pub conditions: Vec<Command>,
    /// A defect to switch on, by name.
    #[arg(long = "defect", value_name = "NAME")]
    pub defects: Vec<String>,
    /// A parameter of the system.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parse_param)]
    pub params: Vec<(String, String)>,
}

/// Why a node did not start, or did not end as it was told to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("node `{0}` cannot be its own peer")]
    OwnPeer(NodeId),
    #[error("peer `{0}` is given twice")]
    SamePeer(NodeId),
    #[error("a cluster name of {0} bytes, at most {CLUSTER_BYTES_MAX} are allowed")]
    ClusterName(usize),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen for commands on `@{name}`")]
    Control {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("{0}")]
    Condition(String),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Shell(#[from] ShellError),
}

impl NodeError {
    /// What a process that ends by this exits with: a disk that failed and data that cannot be used
    /// have codes of their own, so that whoever broke them can tell.
    pub fn exit_code(&self) -> ExitCode {
        let code = match self {
            Self::Shell(ShellError::Store(StoreError::Io { .. })) => EXIT_DISK_FAILED,
            Self::Shell(
                ShellError::Store(_)
                | ShellError::Recover(RecoverError::Record { .. } | RecoverError::Contradiction(_)),
            ) => EXIT_BAD_DATA,
            _ => 1,
        };
        ExitCode::from(u8::try_from(code).expect("a small number"))
    }
}

const CLUSTER_BYTES_MAX: usize = 256;

/// Says on standard error why a node ended, and with which code its process is to exit.
#[expect(clippy::print_stderr, reason = "a program says why it failed")]
pub fn exit(ended: Result<(), NodeError>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let code = error.exit_code();
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("caused by: {error}");
        cause = error.source();
    }
    code
}

/// Runs a node of the named reference system: see [`run_as`].
///
/// # Errors
/// When there is no such system, and as [`run_as`].
pub fn run(args: NodeArgs) -> Result<(), NodeError> {
    let info = system(&args.system)?;
    (info.run)(args, info.failpoints)
}

/// Runs a node of any system until SIGTERM or SIGINT. Its events go to standard output, its talk to
/// standard error (filtered by the environment variable `USURPER_LOG`).
///
/// # Errors
/// When it cannot start, its disk fails, or nobody reads its standard output any more.
pub fn run_as<P: Protocol>(
    args: NodeArgs,
    failpoints: &'static [FailpointInfo],
) -> Result<(), NodeError> {
    let filter = EnvFilter::try_from_env("USURPER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Whoever calls this as a library may log elsewhere already.
    let _elsewhere = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .try_init();
    let clock = Clock::with_origin(args.origin_ns);
    let machine = Machine::sound(clock, failpoints);
    for command in args.conditions.iter().chain(&args.failpoints) {
        let answer = machine.obey(command);
        if !answer.ok {
            return Err(NodeError::Condition(answer.text));
        }
    }
    if let Some(name) = args.control {
        listen(&name, machine.clone()).map_err(|source| NodeError::Control { name, source })?;
    }
    let mut peers = BTreeMap::new();
    for (peer, address) in args.peers {
        if peer == args.id {
            return Err(NodeError::OwnPeer(peer));
        }
        if peers.insert(peer, address).is_some() {
            return Err(NodeError::SamePeer(peer));
        }
    }
    if args.cluster.len() > CLUSTER_BYTES_MAX {
        return Err(NodeError::ClusterName(args.cluster.len()));
    }
    let mut members: Vec<_> = peers.keys().copied().chain([args.id]).collect();
    members.sort_unstable();
    let setup = Setup {
        id: args.id,
        members,
        seed: args.seed,
        inc: args.inc,
        defects: args.defects,
        params: args.params,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    runtime.block_on(async {
        let listener = bind(args.listen)
            .map_err(|source| NodeError::Listen { address: args.listen, source })?;
        let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Runtime)?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let place = Place {
            cluster: args.cluster,
            listener,
            peers,
            data: args.data,
            before: if args.after_power { Before::PowerFailure } else { Before::Exit },
            clock,
            machine,
        };
        tracing::info!(node = %args.id, inc = args.inc, listen = %args.listen, "starts");
        serve::<P>(&setup, place, Box::new(io::stdout()), stop).await?;
        tracing::info!(node = %args.id, "stops");
        Ok(())
    })
}

fn bind(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    // The standard library sets SO_REUSEADDR: a restart does not wait for old connections to die.
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn parse_peer(text: &str) -> Result<(NodeId, SocketAddr), String> {
    let (node, address) =
        text.split_once('=').ok_or("expected NODE=IP:PORT, for example n2=127.0.0.1:7002")?;
    let node = node.parse().map_err(|error| format!("{error}"))?;
    let address = address.parse().map_err(|error| format!("`{address}`: {error}"))?;
    Ok((node, address))
}

fn parse_failpoint(text: &str) -> Result<Command, String> {
    let (point, act) = text
        .split_once('=')
        .ok_or("expected POINT=ACT, for example lead.after-elected-before-first-hb=crash")?;
    let (act, delay) = match act.split_once(':') {
        Some(("delay", time)) => {
            let time = humantime::parse_duration(time).map_err(|error| error.to_string())?;
            (FailpointAct::Delay, time)
        }
        _ => (act.parse()?, Duration::ZERO),
    };
    if act == FailpointAct::Delay && delay.is_zero() {
        return Err("a delay takes a time, for example `delay:200ms`".to_owned());
    }
    let delay_ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    Ok(Command::Failpoint { point: point.to_owned(), act, delay_ns })
}

fn parse_condition(text: &str) -> Result<Command, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("expected KEY=VALUE, for example heartbeat=100ms")?;
    Ok((key.to_owned(), value.to_owned()))
}
