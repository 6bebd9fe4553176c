//! What breaks a cluster: faults, the schedules that say when, and the network and processes that
//! they act on.
//!
//! The nemesis knows no protocol. It sees events as named fields, messages as frames with a kind, a
//! term and an index, and nodes as processes behind front doors.
//!
//! - [`schedule`](Schedule) is data: steps, each `at` a time or `on` an event.
//! - [`Scheduler`] is the pure function that turns records into due steps.
//! - [`generate`] and [`generate_rates`] make a schedule from a seed.
//! - [`what_was_done`] makes a schedule from a run, which does it again.
//! - [`from_field_logs`] makes one from the logs of a cluster in the field.
//! - [`shrink()`] finds the fewest steps that still fail.
//! - [`shape`] says which links a partition cuts.
//! - [`Network`] is the loopback network with a front door before each node.
//! - [`Process`] is one node's process.

mod block;
mod condition;
mod cue;
mod deadline;
mod door;
mod episode;
mod fault;
mod faults;
mod generator;
mod generator_rates;
mod holds;
mod link;
mod mix;
mod mix_members;
mod network;
mod pattern;
mod process;
mod replay;
mod reproduce;
mod scene;
mod scene_links;
mod schedule;
mod schedule_check;
mod scheduler;
mod sequence;
pub mod shape;
mod shrink;
mod suggest;
mod target;
mod time_span;

pub use block::{Block, BlockError};
pub use deadline::{Deadline, within};
pub use fault::{Fault, UnknownFault};
pub use faults::{
    Act, Bending, Damage, FaultInfo, Host, HostError, Needs, Operating, Pending, Seen, Starting,
};
pub use generator::{GeneratorOptions, generate};
pub use generator_rates::{Majority, RateOptions, generate_rates};
pub use link::{
    ByteRate, Chance, Condition, Kinds, LinkStats, MessageKind, Released, TooMany, Wire,
    can_tell_who_knocks,
};
pub use mix::{Mix, MixKind};
pub use network::{Answer, DoorCounters, InstallError, Network, NetworkError, NetworkOptions};
pub use pattern::Pattern;
pub use process::{Exit, Output, Process, Stream, process_state};
pub use replay::{
    Form, cut_short, leave_out_what_undoes_nothing, tells_what_was_done, what_was_done,
    what_was_done_as,
};
pub use reproduce::{Reproduction, Tempo, from_field_logs};
pub use schedule::{Change, Schedule, Step};
pub use schedule_check::ScheduleError;
pub use scheduler::{Due, Hit, Missed, Resolved, Scheduler};
pub use shape::{Cut, Shape, ShapeInfo};
pub use shrink::{
    Candidate, Done, Effort, Failing, Oracle, Proposal, SETTLE_CUT, Shrunk, Stopped, Trial, shrink,
};
pub use target::{Bindings, LinkTarget, Target};
pub use time_span::{Jump, TimeSpan};
