//! The first line of a history: what ran, and how to read the rest.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::NodeId;

/// The version of the format that this crate writes. It reads this one and every older one.
pub const FORMAT_VERSION: u32 = 1;

/// What stands among a header's `events` where clients recorded operations that can be judged.
pub const OPERATIONS: &str = "operations";

/// The timeouts of the protocol under test, from which liveness bounds derive. Nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timing {
    /// H: the interval between two heartbeats of a leader.
    pub heartbeat_ns: u64,
    /// T: how long silence of the leader lasts before an election starts, at least.
    pub election_timeout_ns: u64,
    /// How long a connected majority may take to get a leader, at most.
    pub leader_bound_ns: u64,
}

/// The first line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Header {
    /// The format version; also what makes the file recognisable.
    #[serde(rename = "usurper-history")]
    pub version: u32,
    /// Name of the run, unique within its store.
    pub run: String,
    /// The system under test, for example `fle` or `etcd`.
    pub system: String,
    /// The scenario's name; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    pub nodes: Vec<NodeId>,
    pub seed: u64,
    /// What `t` counts from, in nanoseconds of the host's monotonic clock.
    pub origin_ns: u64,
    /// The wall time of the origin (RFC 3339): the only place where wall time stands.
    pub started: String,
    pub timing: Timing,
    /// The defects that were switched on.
    #[serde(default)]
    pub defects: Vec<String>,
    /// The kinds of events that this system can emit, and [`OPERATIONS`] where clients recorded what
    /// they did. A check that needs another one says `unknown`.
    pub events: Vec<String>,
    /// The checks to judge by, each with its options.
    pub checks: Map<String, Value>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
