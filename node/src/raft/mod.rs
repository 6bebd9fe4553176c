//! `raft`: Raft as etcd runs it, with a replicated key-value service.
//!
//! Elections with PreVote, CheckQuorum and the lease that goes with it; a log that is replicated in a
//! pipeline and repaired by terms; commitment of the leader's own entries only; linearizable reads by
//! ReadIndex, within a lease or through the log, at the leader or forwarded to it; client sessions that
//! apply a command once; learners, and voters that are replaced one at a time or by joint consensus;
//! snapshots in place of old entries; leadership that is handed over.

mod command;
mod config;
mod durable;
mod election;
mod log;
mod machine;
mod membership;
mod message;
mod node;
mod options;
mod progress;
mod reads;
mod replication;
mod service;
mod snapshot;
mod state;
mod transfer;

pub use command::{Command, Entry, Function};
pub use config::Config;
pub use machine::{Answer, Machine, Refusal, Saved};
pub use message::{Hint, Message};
pub use node::Raft;
pub(crate) use options::{DEFECTS, PARAMS, timing};
pub use state::Timer;
