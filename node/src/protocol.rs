//! What a reference system is to the shell that runs it as a process, and to a simulator.
//!
//! A system is one state machine. It is handed an input and the present instant, and answers with
//! outputs, *in the order in which they must happen*. It does no I/O, reads no clock and has no
//! randomness but its seed, so that the same `step` runs under real sockets and under virtual time.
//!
//! The contract of the outputs, which whoever runs a system keeps:
//!
//! - An event is written out before any message, reply or write that comes after it.
//! - Nothing after a [`Output::Sync`] happens before the sync has returned. The records written
//!   since the sync before it are then durable; until then a loss of power takes them.
//! - A crash may come between any two outputs. The state in memory is then gone as a whole.

use std::{fmt::Debug, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usurper_history::{Event, NodeId, Role, control::ClockName, frame::Frame};

use crate::params::OptionError;

/// An instant, in nanoseconds since the run's origin.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(pub u64);

impl Tick {
    /// How long before this instant the other one was; zero if it was not before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A client's connection to a node, as long as the node's process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// A client's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Names the command among those of its connection; the reply carries it back.
    pub serial: u64,
    /// The function: `status`, `advance`, …
    pub f: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The client's session, for systems that apply an operation of a session only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionOp>,
}

/// An operation's place in a client's session, which outlives connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOp {
    /// As `register` gave it.
    pub id: u64,
    /// Counts the operations of the session, from 1. Sent again, an operation keeps its number.
    pub serial: u64,
}

/// The answer to a command. `ok: false` says that it certainly had no effect, unless it is `unknown`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub serial: u64,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it was done, or will be, is not known here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// It was looked at, and the answer is no: a compare-and-set met another value, a lock is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
    /// With a refusal: who should be asked instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
}

impl Reply {
    /// It was done.
    pub fn done(serial: u64, value: Value) -> Self {
        Self { ok: true, value: Some(value), ..Self::empty(serial) }
    }

    /// It was certainly not done.
    pub fn refused(serial: u64, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::empty(serial) }
    }

    /// It may have been done, or may be yet.
    pub fn unknown(serial: u64, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), unknown: true, ..Self::empty(serial) }
    }

    /// It was looked at and changed nothing: the answer is no.
    pub fn denied(serial: u64, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), denied: true, ..Self::empty(serial) }
    }

    fn empty(serial: u64) -> Self {
        Self {
            serial,
            ok: false,
            value: None,
            error: None,
            unknown: false,
            denied: false,
            leader: None,
        }
    }
}

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<M, T> {
    /// The first input, once.
    Start,
    Message {
        from: NodeId,
        message: M,
    },
    /// A timer that was set has come, perhaps late.
    Timer(T),
    /// A new connection with this peer carries messages. Those sent earlier may be lost.
    Connected(NodeId),
    /// The connection with this peer was closed. Nothing follows from it that a silence would not
    /// say, too: a process that is stopped keeps its connections.
    Disconnected(NodeId),
    Request {
        client: ClientId,
        request: Request,
    },
    /// Requests that came together, in their order. A system may do them together.
    Requests(Vec<(ClientId, Request)>),
}

/// An event with the part of its envelope that only the system knows, as it was at that moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    pub term: u64,
    pub role: Role,
    pub event: Event,
}

/// What a node wants done.
#[expect(clippy::large_enum_variant, reason = "most outputs are the large one, events")]
#[derive(Clone, Debug, PartialEq)]
pub enum Output<M, T> {
    Event(Stamped),
    /// Appends a record to the log, without making it durable.
    Write(Vec<u8>),
    /// Replaces the whole log by these records, durably, and then emits these events (all `persist`).
    /// After a crash there are either the old records or the new ones.
    Rewrite {
        records: Vec<Vec<u8>>,
        persisted: Vec<Stamped>,
    },
    /// Makes everything written so far durable, and then emits these events (all `persist`).
    Sync(Vec<Stamped>),
    Send {
        to: NodeId,
        message: M,
    },
    Reply {
        client: ClientId,
        reply: Reply,
    },
    /// The node is at this failpoint: everything before it has been done (a message has been handed to
    /// the network at least), nothing after it. Whoever runs the system may let it crash or wait here.
    Failpoint {
        point: &'static str,
        term: u64,
        role: Role,
    },
    /// Sets or moves a timer.
    SetTimer(T, Tick),
    CancelTimer(T),
}

/// A message between nodes, as it travels in a frame.
///
/// `term` and `index` in the frame's header are real values of the message, because they are what
/// a link fault matches on.
pub trait Message: Clone + Debug + Sized {
    /// The message as a frame.
    fn to_frame(&self) -> Frame;

    /// The message in a frame, or `None` when it is none of this system's.
    fn from_frame(frame: &Frame) -> Option<Self>;
}

/// What a node is told about itself when it starts.
#[derive(Clone, Debug)]
pub struct Setup {
    pub id: NodeId,
    /// Every configured node, this one included, in order.
    pub members: Vec<NodeId>,
    /// Seeds every random choice; the same on all nodes of a run.
    pub seed: u64,
    /// Incarnation: 1 for the first start.
    pub inc: u32,
    pub defects: Vec<String>,
    pub params: Vec<(String, String)>,
}

/// Why a node cannot start from what it was told or from what is on its disk.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("record {index} of the log is not one of `{system}`")]
    Record { system: &'static str, index: usize },
    #[error("the log contradicts itself: {0}")]
    Contradiction(String),
}

/// A reference system.
pub trait Protocol: Sized {
    /// The name on the command line and in events.
    const NAME: &'static str;
    type Message: Message;
    type Timer: Copy + Ord + Debug;

    /// The node as its log has it: `records` are those written in earlier incarnations, in order.
    ///
    /// # Errors
    /// When an option is unknown or wrong, or the log is not one that this system wrote.
    fn recover(setup: &Setup, records: &[Vec<u8>]) -> Result<Self, RecoverError>;

    /// Takes one input to the outputs it causes.
    fn step(
        &mut self,
        now: Tick,
        input: Input<Self::Message, Self::Timer>,
    ) -> Vec<Output<Self::Message, Self::Timer>>;

    /// The term and role that an event of the shell is stamped with.
    fn envelope(&self) -> (u64, Role);

    /// The clock that it wants its timers and instants from.
    fn clock(&self) -> ClockName {
        ClockName::Timer
    }

    /// Whether a sync that failed is tried again, which is a defect.
    fn retries_failed_sync(&self) -> bool {
        false
    }

    /// Whether heartbeats pass by a disk that stalls, which is a defect.
    fn beats_while_disk_stalls(&self) -> bool {
        false
    }

    /// Whether a write that failed is taken for done, which is a defect.
    fn ignores_failed_write(&self) -> bool {
        false
    }
}
