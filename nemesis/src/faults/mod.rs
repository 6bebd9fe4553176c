//! The faults, one file each: what it is called, whom it fits, how it is done, and how it is seen to
//! have taken effect.

mod advance;
mod ask;
mod blackhole;
mod clock_jump;
mod clock_rate;
mod clock_restore;
mod corrupt;
mod cut;
mod damage;
mod delay;
mod disk_fail;
mod disk_flip;
mod disk_restore;
mod disk_slow;
mod disk_stall;
mod disk_truncate;
mod duplicate;
mod failpoint;
mod failpoint_release;
mod heal;
mod hold;
mod kill;
mod links;
mod loss;
mod machine;
mod partition;
mod pause;
mod power;
mod reconfigure;
mod refuse;
mod release;
mod reorder;
mod reset;
mod restart;
mod resume;
mod signal;
mod terminate;
mod throttle;
mod transfer;
mod wait;
mod wipe;

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc};

use serde_json::Value;
use tokio::sync::watch;
use usurper_history::{Clock, Effect, Link, NodeId, OpRecord, control::Command};

pub use damage::Damage;

use crate::{
    fault::Fault,
    network::Network,
    process::{Exit, Process},
    schedule::Step,
};

/// A fault, as `usurper list faults` shows it.
#[derive(Clone, Copy, Debug)]
pub struct FaultInfo {
    pub fault: Fault,
    pub name: &'static str,
    pub summary: &'static str,
    /// What the step must name.
    pub needs: Needs,
    /// The fault that undoes it, if it needs one.
    pub undo: Option<Fault>,
    pub effect: Effect,
}

/// What a step must name for its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Target,
    Links,
}

impl Needs {
    /// The key in a schedule, or nothing.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Target => "target",
            Self::Links => "links",
        }
    }
}

/// How a fault is done.
pub(crate) trait Inject: Sync {
    /// Why it cannot be done to a node now.
    fn misfit(&self, _node: NodeId, _host: &dyn Host) -> Option<&'static str> {
        None
    }

    /// The keys of a step that it takes beyond whom it hits.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it needs links that carry frames, and not just bytes.
    fn needs_frames(&self) -> bool {
        false
    }

    /// What is missing or wrong in a step, beyond what every step is checked for.
    ///
    /// # Errors
    /// A sentence.
    fn check(&self, _step: &Step) -> Result<(), String> {
        Ok(())
    }

    /// What this step does to the nodes and links that it names.
    fn effect(&self, step: &Step) -> Effect {
        step.fault.info().effect
    }

    /// Does it, as far as that takes no time, and returns what will have seen its effect.
    ///
    /// # Errors
    /// When the host itself fails.
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError>;
}

/// What faults act on. The controller of a run is one.
pub trait Host {
    /// The node's process, if it runs.
    fn process(&self, node: NodeId) -> Option<Process>;
    fn is_frozen(&self, node: NodeId) -> bool;
    fn set_frozen(&mut self, node: NodeId, frozen: bool);
    /// The node's process is about to be ended by a fault.
    fn expect_exit(&mut self, node: NodeId);
    /// Starts a node that is down.
    ///
    /// # Errors
    /// When it cannot be started at all.
    fn start(&mut self, node: NodeId) -> Result<Starting, HostError>;
    fn network(&self) -> Arc<Network>;
    /// The node's process may end like this by itself, because of what was done to it: once it does,
    /// that is no crash.
    fn tolerate(&mut self, node: NodeId, exit: Exit);
    /// The next start of the node finds what was synced, and no more.
    fn lose_power(&mut self, node: NodeId);
    /// Changes the machine under a node: now if it runs, else from its next start on. What is wrong with
    /// a disk or a clock outlives the process; the host keeps account of it.
    fn bend(&mut self, node: NodeId, command: &Command) -> Bending;
    /// The node's data directory.
    fn data(&self, node: NodeId) -> PathBuf;
    /// The file in it that holds the node's log.
    fn log(&self, node: NodeId) -> PathBuf;
    /// Takes note of how to undo the damage that is about to be done to a node's files.
    fn note_damage(&mut self, node: NodeId, damage: Damage);
    /// The damage noted since the node last ran, which is the caller's to undo now.
    fn take_damage(&mut self, node: NodeId) -> Vec<Damage>;
    /// Invokes a client operation on a node; the future ends with the record of its end.
    ///
    /// # Errors
    /// When the invocation cannot be recorded.
    fn operate(
        &mut self,
        node: NodeId,
        f: &'static str,
        value: Value,
    ) -> Result<Operating, HostError>;
}

/// A node that was started, and how it is seen to answer.
#[derive(Debug)]
pub struct Starting {
    pub process: Process,
    pub ready: watch::Receiver<bool>,
}

/// What a host's failure is, in the host's own terms.
pub type HostError = Box<dyn std::error::Error + Send + Sync>;
/// A node being told about its machine. It ends with the node's word for what is in force, or with why
/// that is not known.
pub type Bending = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;
/// A client operation under way.
pub type Operating = Pin<Box<dyn Future<Output = OpRecord> + Send>>;
/// A fault that has been done, or is being, and is yet to be seen to have taken effect.
pub type Pending = Pin<Box<dyn Future<Output = Seen> + Send>>;

/// A step that is being done, with its targets resolved to those it fits.
#[derive(Clone, Debug)]
pub struct Act {
    pub step: Step,
    pub nodes: Vec<NodeId>,
    pub links: Vec<Link>,
    pub clock: Clock,
}

/// How a fault took effect.
#[derive(Debug)]
pub struct Seen {
    /// When the act itself had been done, in nanoseconds since the origin.
    pub acted_ns: u64,
    /// What was seen.
    pub proofs: Vec<String>,
    /// What should have been seen and was not.
    pub unclear: Vec<String>,
    /// It certainly had no effect.
    pub refused: Option<String>,
    /// Client operations that ended with it.
    pub ops: Vec<OpRecord>,
    /// What it has turned out to do to its nodes and links, where that is not what was announced.
    pub effect: Option<Effect>,
}

impl Seen {
    fn new(acted_ns: u64) -> Self {
        Self {
            acted_ns,
            proofs: Vec::new(),
            unclear: Vec::new(),
            refused: None,
            ops: Vec::new(),
            effect: None,
        }
    }

    fn add(&mut self, seen: Result<String, String>) {
        match seen {
            Ok(proof) => self.proofs.push(proof),
            Err(unclear) => self.unclear.push(unclear),
        }
    }
}

impl Fault {
    /// Those nodes that the fault can be done to now, and why not when that is none of them.
    pub fn fitting(self, nodes: &[NodeId], host: &dyn Host) -> (Vec<NodeId>, Option<String>) {
        let misfits = nodes.iter().map(|node| (*node, self.inject().misfit(*node, host)));
        let (fit, unfit): (Vec<_>, Vec<_>) = misfits.partition(|(_, why)| why.is_none());
        let why: Vec<_> =
            unfit.iter().filter_map(|(node, why)| why.map(|why| format!("{node} {why}"))).collect();
        let none = fit.is_empty() && !why.is_empty();
        (fit.into_iter().map(|(node, _)| node).collect(), none.then(|| why.join(", ")))
    }

    /// Begins to do it. The undo of every fault is known before: the host's own state (what is down,
    /// frozen or cut) is what healing starts from.
    ///
    /// # Errors
    /// When the host fails.
    pub fn begin(self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        self.inject().begin(act, host)
    }

    /// The keys of a step that it takes beyond whom it hits.
    pub fn keys(self) -> &'static [&'static str] {
        self.inject().keys()
    }

    pub(crate) fn effect(self, step: &Step) -> Effect {
        self.inject().effect(step)
    }

    /// Whether it needs links that carry our own frames.
    pub fn needs_frames(self) -> bool {
        self.inject().needs_frames()
    }

    pub(crate) fn check(self, step: &Step) -> Result<(), String> {
        self.inject().check(step)
    }

    /// What of a node it degrades or restores: each is restored by itself.
    pub fn aspect(self) -> Option<&'static str> {
        match self {
            Self::DiskStall | Self::DiskSlow | Self::DiskFail | Self::DiskRestore => Some("disk"),
            Self::ClockJump | Self::ClockRate | Self::ClockRestore => Some("clock"),
            Self::Failpoint | Self::FailpointRelease => Some("failpoint"),
            _ => None,
        }
    }

    /// What there is to know about this fault.
    pub fn info(self) -> &'static FaultInfo {
        match self {
            Self::Kill => &kill::INFO,
            Self::Terminate => &terminate::INFO,
            Self::Restart => &restart::INFO,
            Self::Pause => &pause::INFO,
            Self::Resume => &resume::INFO,
            Self::Cut => &cut::INFO,
            Self::Blackhole => &blackhole::INFO,
            Self::Reset => &reset::INFO,
            Self::Refuse => &refuse::INFO,
            Self::Delay => &delay::INFO,
            Self::Loss => &loss::INFO,
            Self::Throttle => &throttle::INFO,
            Self::Duplicate => &duplicate::INFO,
            Self::Reorder => &reorder::INFO,
            Self::Corrupt => &corrupt::INFO,
            Self::Hold => &hold::INFO,
            Self::Release => &release::INFO,
            Self::Isolate
            | Self::Halves
            | Self::MajorityMinority
            | Self::MinorityThird
            | Self::MajoritiesRing
            | Self::Bridge
            | Self::Chain
            | Self::Hub
            | Self::OneWay
            | Self::Primaries => {
                let of = partition::ALL.iter().find(|info| info.fault == self);
                of.expect("every partition is in the table")
            }
            Self::Heal => &heal::INFO,
            Self::Advance => &advance::INFO,
            Self::Transfer => &transfer::INFO,
            Self::Reconfigure => &reconfigure::INFO,
            Self::Wait => &wait::INFO,
            Self::Power => &power::INFO,
            Self::Wipe => &wipe::INFO,
            Self::Failpoint => &failpoint::INFO,
            Self::FailpointRelease => &failpoint_release::INFO,
            Self::DiskStall => &disk_stall::INFO,
            Self::DiskSlow => &disk_slow::INFO,
            Self::DiskFail => &disk_fail::INFO,
            Self::DiskFlip => &disk_flip::INFO,
            Self::DiskTruncate => &disk_truncate::INFO,
            Self::DiskRestore => &disk_restore::INFO,
            Self::ClockJump => &clock_jump::INFO,
            Self::ClockRate => &clock_rate::INFO,
            Self::ClockRestore => &clock_restore::INFO,
        }
    }

    fn inject(self) -> &'static dyn Inject {
        match self {
            Self::Kill => &kill::Kill,
            Self::Terminate => &terminate::Terminate,
            Self::Restart => &restart::Restart,
            Self::Pause => &pause::Pause,
            Self::Resume => &resume::Resume,
            Self::Cut => &cut::Cut,
            Self::Blackhole => &blackhole::Blackhole,
            Self::Reset => &reset::Reset,
            Self::Refuse => &refuse::Refuse,
            Self::Delay => &delay::Delay,
            Self::Loss => &loss::Loss,
            Self::Throttle => &throttle::Throttle,
            Self::Duplicate => &duplicate::Duplicate,
            Self::Reorder => &reorder::Reorder,
            Self::Corrupt => &corrupt::Corrupt,
            Self::Hold => &hold::Hold,
            Self::Release => &release::Release,
            Self::Isolate
            | Self::Halves
            | Self::MajorityMinority
            | Self::MinorityThird
            | Self::MajoritiesRing
            | Self::Bridge
            | Self::Chain
            | Self::Hub
            | Self::OneWay
            | Self::Primaries => &partition::Partition,
            Self::Heal => &heal::Heal,
            Self::Advance => &advance::Advance,
            Self::Transfer => &transfer::Transfer,
            Self::Reconfigure => &reconfigure::Reconfigure,
            Self::Wait => &wait::Wait,
            Self::Power => &power::Power,
            Self::Wipe => &wipe::Wipe,
            Self::Failpoint => &failpoint::Failpoint,
            Self::FailpointRelease => &failpoint_release::FailpointRelease,
            Self::DiskStall => &disk_stall::DiskStall,
            Self::DiskSlow => &disk_slow::DiskSlow,
            Self::DiskFail => &disk_fail::DiskFail,
            Self::DiskFlip => &disk_flip::DiskFlip,
            Self::DiskTruncate => &disk_truncate::DiskTruncate,
            Self::DiskRestore => &disk_restore::DiskRestore,
            Self::ClockJump => &clock_jump::ClockJump,
            Self::ClockRate => &clock_rate::ClockRate,
            Self::ClockRestore => &clock_restore::ClockRestore,
        }
    }
}
