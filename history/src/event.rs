//! What can be recorded: the events of a node, a client's operations, faults, and what the harness
//! itself saw.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    fields::plain,
    id::{EntryId, NodeId, Zxid},
    vocabulary::{Field, plain_fields, vocabulary},
};

/// What a node is in its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Looking,
    Follower,
    PreCandidate,
    Candidate,
    Leader,
    Learner,
    Observer,
}

impl Role {
    const ALL: [Self; 7] = [
        Self::Looking,
        Self::Follower,
        Self::PreCandidate,
        Self::Candidate,
        Self::Leader,
        Self::Learner,
        Self::Observer,
    ];

    /// The name as it stands in a history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::Follower => "follower",
            Self::PreCandidate => "pre-candidate",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Learner => "learner",
            Self::Observer => "observer",
        }
    }
}

/// What a node found on its disk when it started; fields that its protocol lacks are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Persisted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vote: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_leader: Option<NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zxid: Option<Zxid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<EntryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<EntryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<EntryId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<NodeId>>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

plain_fields!(Vec<NodeId>, Vec<Link>, Zxid, Persisted, OpType, Phase, Outcome, Effect, Trigger);

impl Field for NodeId {
    fn quick(text: &str) -> Option<Self> {
        plain(text)?.parse().ok()
    }
}

impl Field for Role {
    fn quick(text: &str) -> Option<Self> {
        let name = plain(text)?;
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl Field for EntryId {
    fn quick(text: &str) -> Option<Self> {
        let (term, index) =
            text.strip_prefix("{\"term\":")?.strip_suffix('}')?.split_once(",\"index\":")?;
        Some(Self { term: term.parse().ok()?, index: index.parse().ok()? })
    }
}

vocabulary! {
    /// An event of a node, in the order of the catalogue (section D).
    ///
    /// A node writes it before the externally visible effect that it describes; `persist` after the
    /// sync returned.
    Event {
        /// After recovery, before the first message.
        "node-start" => NodeStart {
            "persisted" => persisted: Persisted,
            /// The data directory was empty.
            "fresh" => fresh: bool,
            "defects" => defects: Vec<String>,
            "params" => params: Map<String, Value>,
        }
        /// Every change of role or of phase within a role.
        "role-change" => RoleChange {
            "from" => from: Role,
            "to" => to: Role,
            /// Zab and `fle`: election, discovery, sync, broadcast. Multi-Paxos: phase1, steady.
            "phase" => phase: Option<String>,
            "reason" => reason: String,
        }
        /// A node counted what makes it the leader of `in-term`.
        "leader-elected" => LeaderElected {
            "in-term" => in_term: u64,
            /// Whether it may act now. `false`: votes were counted, but the term is not yet
            /// accepted by a quorum; two such winners of one round are legal.
            "established" => established: bool,
            /// Whose votes or acceptances were counted, itself included.
            "votes" => votes: Vec<NodeId>,
            "how" => how: String,
            "round" => round: Option<u64>,
            "config" => config: Option<u64>,
        }
        /// A number that orders leaders changed in memory.
        "term-change" => TermChange {
            /// `term`, `round`, `accepted-epoch`, `current-epoch`, `ballot` or `promised`.
            "kind" => kind: String,
            "from" => from: u64,
            "to" => to: u64,
            "cause" => cause: String,
        }
        /// An election message was sent or received.
        "vote-msg" => VoteMsg {
            /// `send` or `recv`.
            "dir" => dir: String,
            "peer" => peer: NodeId,
            "kind" => kind: String,
            "msg-term" => msg_term: u64,
            "candidate" => candidate: Option<NodeId>,
            "last" => last: Option<EntryId>,
            "zxid" => zxid: Option<Zxid>,
            "granted" => granted: Option<bool>,
            "reason" => reason: Option<String>,
        }
        /// A vote was decided, before any reply.
        "vote-cast" => VoteCast {
            "candidate" => candidate: NodeId,
            "in-term" => in_term: u64,
            "prevote" => prevote: bool,
            "zxid" => zxid: Option<Zxid>,
        }
        /// A heartbeat. `rejected` carries why; one from a non-current leader is never sampled away.
        "heartbeat" => Heartbeat {
            /// `sent`, `accepted` or `rejected`.
            "dir" => dir: String,
            /// The other end; absent for a broadcast.
            "peer" => peer: Option<NodeId>,
            "msg-term" => msg_term: u64,
            /// Who the heartbeat says leads.
            "leader" => leader: NodeId,
            "commit" => commit: Option<u64>,
            "reason" => reason: Option<String>,
        }
        /// The leader that the node believes in changed (`leader` absent: none).
        "leader-known" => LeaderKnown {
            "leader" => leader: Option<NodeId>,
            "in-term" => in_term: u64,
        }
        /// Entries `first` to `last` were put in the in-memory log.
        "append" => Append {
            "first" => first: EntryId,
            "last" => last: EntryId,
            /// One digest per entry, in order, in hexadecimal.
            "digests" => digests: Vec<String>,
            /// `client`, `noop` or `config`.
            "kind" => kind: String,
            /// `self`, `leader`, `sync` or `snapshot`.
            "origin" => origin: String,
            "prev" => prev: Option<EntryId>,
        }
        /// A sync returned, or failed.
        "persist" => Persist {
            /// `hard-state`, `vote`, `log`, `accepted-epoch`, `current-epoch`, `zxid`, `snapshot`,
            /// `promise`, `accept` or `applied`.
            "what" => what: String,
            "value" => value: Option<u64>,
            /// Whom the value is bound to: the leader accepted, the candidate voted for.
            "for" => bound_to: Option<NodeId>,
            "up-to" => up_to: Option<EntryId>,
            "zxid" => zxid: Option<Zxid>,
            "ok" => ok: bool,
        }
        /// A reply that promises durability was handed to the network.
        "ack" => Ack {
            "to" => to: NodeId,
            /// `append`, `newleader`, `ackepoch`, `promise`, `accepted` or `vote`.
            "kind" => kind: String,
            "in-term" => in_term: u64,
            "id" => id: Option<EntryId>,
            "durable-up-to" => durable_up_to: Option<EntryId>,
        }
        /// The commit index advanced.
        "commit" => Commit {
            "up-to" => up_to: EntryId,
            /// The nodes counted; absent when learned from another node.
            "quorum" => quorum: Option<Vec<NodeId>>,
            "learned-from" => learned_from: Option<NodeId>,
            "config" => config: Option<u64>,
        }
        /// An entry was applied to the state machine.
        "apply" => Apply {
            "id" => id: EntryId,
            "digest" => digest: String,
            "state-digest" => state_digest: Option<String>,
            "session" => session: Option<u64>,
            "serial" => serial: Option<u64>,
        }
        /// A suffix of the log was removed.
        "truncate" => Truncate {
            "first" => first: EntryId,
            "last" => last: EntryId,
            "cause" => cause: String,
            "commit" => commit: u64,
        }
        /// A snapshot was taken, sent, installed or ignored.
        "snapshot" => Snapshot {
            "op" => op: String,
            "last" => last: EntryId,
            "config" => config: Option<Vec<NodeId>>,
            "state-digest" => state_digest: Option<String>,
        }
        /// A configuration entry was appended, committed, applied or reverted.
        "config" => Config {
            "op" => op: String,
            "id" => id: EntryId,
            "voters" => voters: Vec<NodeId>,
            "outgoing" => outgoing: Option<Vec<NodeId>>,
            "learners" => learners: Option<Vec<NodeId>>,
        }
        /// How a leader decided to bring one follower up to date.
        "sync-mode" => SyncMode {
            "peer" => peer: NodeId,
            "mode" => mode: String,
            "from" => from: EntryId,
            "to" => to: EntryId,
        }
        /// A read was released to a client.
        "read" => Read {
            /// `log`, `readindex`, `lease` or `local`.
            "mode" => mode: String,
            "index" => index: u64,
            "ctx" => ctx: Option<String>,
            "confirmed-by" => confirmed_by: Option<Vec<NodeId>>,
        }
        /// A lease was granted, extended, expired or dropped.
        "lease" => Lease {
            "op" => op: String,
            "start" => start: u64,
            "until" => until: u64,
        }
        /// The transport dialled, accepted, replaced or dropped a connection.
        "conn" => Conn {
            /// `dial`, `up`, `accept`, `replace`, `drop`, `bad-frame` or `half-open`.
            "op" => op: String,
            "peer" => peer: Option<NodeId>,
            "reason" => reason: Option<String>,
        }
        /// A switched-on defect changed what the node did, here.
        "defect-hit" => DefectHit {
            "name" => name: String,
            "where" => place: String,
        }
        /// The node got to an armed failpoint. What that does comes after this line.
        "failpoint" => Failpoint {
            "point" => point: String,
            /// `crash`, `pause` or `delay`.
            "act" => act: String,
        }
    }
}

/// One event of one node, with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRecord {
    pub node: NodeId,
    /// Incarnation: 1 for the first start of this node, one more at each restart.
    pub inc: u32,
    /// Gapless within an incarnation, from 1: a lost line is noticed.
    pub seq: u64,
    /// The protocol, for example `fle`.
    pub proto: String,
    /// The node's own term at this moment: Raft's term, Zab's and `fle`'s current epoch, a ballot's
    /// counter.
    pub term: u64,
    pub role: Role,
    pub event: Event,
}

/// How far a client's operation has come, in Jepsen's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpType {
    Invoke,
    /// It certainly happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, now or later.
    Info,
}

/// One step of a client's operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OpRecord {
    /// A client that has one operation open at a time.
    pub process: u32,
    pub op_type: OpType,
    /// The function: `advance`, `read`, `write`, `cas`, `append`, …
    pub f: String,
    pub key: Option<String>,
    pub value: Option<Value>,
    /// The node that the client talks to.
    pub server: Option<NodeId>,
    pub session: Option<u64>,
    pub serial: Option<u64>,
    /// Why it failed or is unknown.
    pub error: Option<String>,
}

/// The direction from the first node to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(NodeId, NodeId)", into = "(NodeId, NodeId)")]
pub struct Link {
    pub from: NodeId,
    pub to: NodeId,
}

impl From<(NodeId, NodeId)> for Link {
    fn from((from, to): (NodeId, NodeId)) -> Self {
        Self { from, to }
    }
}

impl From<Link> for (NodeId, NodeId) {
    fn from(link: Link) -> Self {
        (link.from, link.to)
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}->{}", self.from, self.to)
    }
}

/// Whether a fault step is about to be done, or has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Begin,
    End,
}

/// What became of a fault step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It took effect, as the proof says.
    Installed,
    /// It was not done, as the reason says.
    Skipped,
    /// It was tried, and whether it took effect could not be seen.
    Indeterminate,
}

/// What a fault does to the nodes and links that it names, as far as a check has to know.
///
/// It is written with each fault, so that no check needs a table of fault names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The nodes' processes are gone.
    Down,
    /// The nodes' processes run again.
    Up,
    /// The nodes' processes are stopped.
    Frozen,
    /// The nodes' processes continue.
    Thawed,
    /// The links carry nothing.
    Cut,
    /// The links carry again.
    Healed,
    /// The nodes or links work worse than they should.
    Degraded,
    /// The nodes or links work as they should again.
    Restored,
    /// Nothing that a liveness bound depends on.
    None,
}

impl Effect {
    /// Whether it ends what another one did.
    pub fn undoes(self) -> bool {
        matches!(self, Self::Up | Self::Thawed | Self::Healed | Self::Restored)
    }
}

/// What made a step run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trigger {
    /// The schedule's own time, in nanoseconds since the run phase began.
    At(u64),
    /// A node's event.
    #[serde(rename_all = "kebab-case")]
    Event { node: NodeId, inc: u32, seq: u64, event: String, t: u64 },
    /// The end of another step, by its id; or of a step that lasts for a time, which this ends.
    Step(u64),
    /// The end of the run: everything is healed.
    Heal,
}

/// The begin or the end of one step of the schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRecord {
    /// Counts the steps that were done, from 1; begin and end share it.
    pub id: u64,
    pub phase: Phase,
    /// What was asked for, for example `kill` or `isolate`.
    pub fault: String,
    pub effect: Effect,
    /// What of the nodes or links it degrades or restores, for example `disk`. What is restored is
    /// what was degraded in the same aspect; without one, everything.
    pub aspect: Option<String>,
    /// The nodes it was resolved to.
    pub nodes: Vec<NodeId>,
    /// The directed links it was resolved to.
    pub links: Vec<Link>,
    /// What was asked for, in the schedule's own words.
    pub args: Map<String, Value>,
    pub trigger: Option<Trigger>,
    /// At the end: what became of it.
    pub outcome: Option<Outcome>,
    /// At the end: when the act itself had been done, in nanoseconds since the origin. The end of
    /// the step is later, when its effect had been seen.
    pub acted: Option<u64>,
    /// At the end: how it was seen to have taken effect.
    pub proof: Option<String>,
    /// Why it was skipped or is indeterminate.
    pub reason: Option<String>,
}

vocabulary! {
    /// What the harness itself saw or did.
    HarnessEvent {
        /// The run entered a phase: `provision`, `start`, `ready`, `run`, `heal`, `settle`,
        /// `final-reads`, `stop` or `end`.
        "phase" => Phase {
            "phase" => phase: String,
        }
        /// A node's process was started.
        "spawn" => Spawn {
            "node" => node: NodeId,
            "inc" => inc: u32,
            "pid" => pid: u32,
        }
        /// A node answers.
        "ready" => Ready {
            "node" => node: NodeId,
            "inc" => inc: u32,
        }
        /// A node's process ended.
        "exit" => Exit {
            "node" => node: NodeId,
            "inc" => inc: u32,
            "code" => code: Option<i32>,
            "signal" => signal: Option<i32>,
            /// The harness ended it.
            "expected" => expected: bool,
            /// The end of its standard error, when it was not expected.
            "stderr" => stderr: Option<String>,
        }
        /// Output of a node that is not an event, or that was cut off.
        "bad-line" => BadLine {
            "node" => node: NodeId,
            "inc" => inc: u32,
            "error" => error: String,
            "text" => text: String,
        }
        /// A step of the schedule never ran, because what it waits for never came.
        "step-missed" => StepMissed {
            "step" => step: String,
            "waits-for" => waits_for: String,
        }
        /// The machine stood still, from `t` on, and with it the nodes and all traffic between them.
        "stall" => Stall {
            /// When it ran again, in nanoseconds since the origin.
            "until" => until: u64,
        }
        /// Somebody asked the run to stop early.
        "interrupted" => Interrupted {
            "signal" => signal: String,
        }
        /// The harness failed.
        "error" => Error {
            "message" => message: String,
        }
    }
}
