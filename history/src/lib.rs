//! The vocabulary of usurper: what nodes, clients and faults can be recorded to have done, and the
//! one file format in which a run's evidence is kept.
//!
//! A history is a [`Header`] line and then [`Record`] lines, one JSON object each. Everything that
//! judges a run reads this and nothing else. The crate also holds the fixed frame header that our
//! own nodes put before each message ([`frame`]), because it is what a link fault can match on, and
//! what they can be told about the machine under them ([`control`]).
//!
//! This crate spawns nothing, opens no socket and decides nothing.

mod clock;
pub mod control;
mod event;
mod fields;
pub mod frame;
mod header;
mod id;
mod number;
mod reader;
mod record;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod vocabulary;
mod writer;

pub use clock::{Clock, monotonic_ns};
pub use event::{
    Effect, Event, FaultRecord, HarnessEvent, Link, NodeRecord, OpRecord, OpType, Outcome,
    Persisted, Phase, Role, Trigger,
};
pub use header::{FORMAT_VERSION, Header, OPERATIONS, Timing};
pub use id::{EntryId, NodeId, ParseNodeIdError, Zxid};
pub use number::is_exact;
pub use reader::{LINE_BYTES_MAX, ReadError, Reader, TornLine};
pub use record::{Body, ParseError, Record};
pub use writer::{WriteError, Writer, sort_file};
