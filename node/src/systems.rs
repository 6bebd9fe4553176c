//! What can be run, and with which options.

use usurper_history::{Timing, frame::Kind};

use crate::{
    args::{NodeArgs, NodeError, run_as},
    fle::{self, Fle},
    machine::FailpointInfo,
    net,
    params::{DefectInfo, OptionError, ParamInfo, nearest},
    protocol::Protocol,
    raft::{self, Raft},
};

/// A reference system.
#[derive(Clone, Copy, Debug)]
pub struct SystemInfo {
    pub name: &'static str,
    pub summary: &'static str,
    pub defects: &'static [DefectInfo],
    pub params: &'static [ParamInfo],
    pub failpoints: &'static [FailpointInfo],
    /// Whether clients can read and write.
    pub serves_data: bool,
    /// Names of the events that it can emit.
    pub events: &'static [&'static str],
    /// The kinds of messages that its nodes send each other.
    pub messages: &'static [Kind],
    timing: TimingOf,
    pub(crate) run: Run,
}

type Run = fn(NodeArgs, &'static [FailpointInfo]) -> Result<(), NodeError>;
type TimingOf = fn(&[(String, String)]) -> Result<Timing, OptionError>;

impl SystemInfo {
    /// The timing of a cluster whose nodes are started with these parameters.
    ///
    /// # Errors
    /// When a parameter is unknown or has a value that is none.
    pub fn timing(&self, params: &[(String, String)]) -> Result<Timing, OptionError> {
        (self.timing)(params)
    }
}

const FLE_DEFECTS: [DefectInfo; fle::DEFECTS.len() + net::DEFECTS.len()] =
    with_transport(fle::DEFECTS);

/// The defects of a system, and then those of the transport that it runs on.
const fn with_transport<const N: usize>(own: &[DefectInfo]) -> [DefectInfo; N] {
    let mut all = [net::DEFECTS[0]; N];
    let mut place = 0;
    while place < N {
        all[place] = if place < own.len() { own[place] } else { net::DEFECTS[place - own.len()] };
        place += 1;
    }
    all
}

const SYSTEMS: &[SystemInfo] = &[
    SystemInfo {
        name: Fle::NAME,
        summary: "fast leader election with prevote, finalize wait and minimal discovery",
        defects: &FLE_DEFECTS,
        params: fle::PARAMS,
        failpoints: fle::FAILPOINTS,
        serves_data: false,
        events: &[
            "node-start",
            "role-change",
            "leader-elected",
            "term-change",
            "vote-msg",
            "vote-cast",
            "heartbeat",
            "leader-known",
            "persist",
            "ack",
            "conn",
            "defect-hit",
            "failpoint",
        ],
        messages: &[
            Kind::Hello,
            Kind::Welcome,
            Kind::Heartbeat,
            Kind::HeartbeatReply,
            Kind::Notification,
            Kind::SubjectiveDown,
            Kind::ObjectiveDown,
            Kind::FollowerInfo,
            Kind::LeaderInfo,
            Kind::EpochAck,
        ],
        timing: fle::timing,
        run: run_as::<Fle>,
    },
    SystemInfo {
        name: Raft::NAME,
        summary: "raft as etcd runs it: prevote, check-quorum, lease; a replicated key-value service",
        defects: raft::DEFECTS,
        params: raft::PARAMS,
        failpoints: &[],
        serves_data: true,
        events: &[
            "node-start",
            "role-change",
            "leader-elected",
            "term-change",
            "vote-msg",
            "vote-cast",
            "heartbeat",
            "leader-known",
            "append",
            "persist",
            "ack",
            "commit",
            "apply",
            "truncate",
            "snapshot",
            "config",
            "read",
            "conn",
            "defect-hit",
        ],
        messages: &[
            Kind::Hello,
            Kind::Welcome,
            Kind::Heartbeat,
            Kind::HeartbeatReply,
            Kind::VoteRequest,
            Kind::VoteReply,
            Kind::PrevoteRequest,
            Kind::PrevoteReply,
            Kind::Append,
            Kind::AppendReply,
            Kind::Snapshot,
            Kind::SnapshotReply,
            Kind::TimeoutNow,
            Kind::Transfer,
            Kind::ReadRequest,
            Kind::ReadReply,
        ],
        timing: raft::timing,
        run: run_as::<Raft>,
    },
];

/// Every reference system.
pub fn systems() -> &'static [SystemInfo] {
    SYSTEMS
}

/// The system of this name.
///
/// # Errors
/// When there is none; the error names the nearest.
pub fn system(name: &str) -> Result<&'static SystemInfo, OptionError> {
    SYSTEMS.iter().find(|system| system.name == name).ok_or_else(|| OptionError::Unknown {
        what: "system",
        name: name.to_owned(),
        nearest: nearest(name, SYSTEMS.iter().map(|system| system.name)),
    })
}
