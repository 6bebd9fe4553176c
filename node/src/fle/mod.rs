//! `fle`: fast leader election as in ZooKeeper, a prevote as in Redis Sentinel, and as much
//! discovery as it takes for an epoch to have one leader.
//!
//! It replicates nothing. A client can advance the zxid of a node, which makes it a better
//! candidate, and ask for its status.

mod defects;
mod discovery;
mod durable;
mod election;
mod failpoint;
mod heartbeat;
mod message;
mod node;
mod options;
mod prevote;
mod state;

pub(crate) use defects::DEFECTS;
pub(crate) use failpoint::FAILPOINTS;
pub use message::{Message, Standing, Vote};
pub use node::Fle;
pub(crate) use options::{PARAMS, timing};
pub use state::Timer;
