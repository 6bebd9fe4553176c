//! What breaks a cluster: faults, the schedules that say when, and the network and processes that
//! they act on.
//!
//! The nemesis knows no protocol. It sees events as named fields, messages as frames with a kind, a
//! term and an index, and nodes as processes behind front doors.
//!
//! - [`schedule`](Schedule) is data: steps, each `at` a time or `on` an event.
//! - [`Scheduler`] is the pure function that turns records into due steps.
//! - [`generate`] makes a schedule from a seed.
//! - [`Network`] is the loopback network with a front door before each node.
//! - [`Process`] is one node's process.

mod block;
mod door;
mod fault;
mod faults;
mod generator;
mod holds;
mod link;
mod network;
mod pattern;
mod process;
mod schedule;
mod scheduler;
mod target;
mod time_span;

pub use block::{Block, BlockError};
pub use fault::{Fault, UnknownFault};
pub use faults::{
    Act, Bending, Damage, FaultInfo, Host, HostError, Needs, Operating, Pending, Seen, Starting,
};
pub use generator::{GeneratorOptions, Mix, generate};
pub use link::{
    ByteRate, Chance, Condition, Kinds, LinkStats, MessageKind, Released, TooMany, Wire,
};
pub use network::{Answer, DoorCounters, InstallError, Network, NetworkError, NetworkOptions};
pub use pattern::Pattern;
pub use process::{Exit, Output, Process, Stream, process_state};
pub use schedule::{Schedule, ScheduleError, Step};
pub use scheduler::{Due, Missed, Resolved, Scheduler};
pub use target::{Bindings, LinkTarget, Target};
pub use time_span::{Jump, TimeSpan};
