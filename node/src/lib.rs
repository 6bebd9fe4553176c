//! Reference systems, each a pure state machine, and the shell that runs one as a real process.
//!
//! A system implements [`protocol::Protocol`] and does no I/O. [`run`] makes a process of it: a
//! transport on TCP, timers, and a log in which an unsynced write is lost with the power.

mod args;
pub mod client;
pub mod fle;
pub mod machine;
mod net;
mod params;
pub mod protocol;
pub mod raft;
pub mod shell;
pub mod store;
mod switches;
mod systems;
mod wire;

pub use args::{NodeArgs, NodeError, exit, run, run_as};
pub use machine::FailpointInfo;
pub use params::{DefectInfo, OptionError, ParamInfo, Params};
pub use systems::{SystemInfo, system, systems};
