//! What a node is, and what belongs to each role.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use usurper_history::{NodeId, Role};

use super::{config::Config, progress::Progress};
use crate::protocol::{ClientId, Tick};

/// What a node can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// No leader has been heard; as a leader: look whether a quorum answers.
    Election,
    /// The next heartbeat of a leader.
    Beat,
}

#[derive(Debug)]
pub(crate) enum State {
    Follower,
    /// Asking whether it could win; by voter.
    PreCandidate(BTreeMap<NodeId, bool>),
    /// Asking for votes; by voter.
    Candidate(BTreeMap<NodeId, bool>),
    Leader(Box<Leading>),
}

impl State {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Follower => Role::Follower,
            Self::PreCandidate(_) => Role::PreCandidate,
            Self::Candidate(_) => Role::Candidate,
            Self::Leader(_) => Role::Leader,
        }
    }
}

/// A leader's knowledge. It dies with its leadership.
#[derive(Debug, Default)]
pub(crate) struct Leading {
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// Whom to answer when the entry at this index is applied.
    pub(crate) proposals: BTreeMap<u64, Waiting>,
    /// Reads that no quorum has confirmed yet, by their context.
    pub(crate) reads: BTreeMap<u64, PendingRead>,
    /// Nodes that are brought up to date before they may vote.
    pub(crate) catch_up: Option<CatchUp>,
    /// The entry of the configuration that is known to be committed, and has been acted upon.
    pub(crate) settled: Option<u64>,
    /// Whom to answer when the joint configuration has been left.
    pub(crate) leaving: Option<Waiting>,
    /// Reads that came before an entry of this term was committed.
    pub(crate) early: Vec<Asker>,
    pub(crate) lease: Lease,
    pub(crate) transfer: Option<Transfer>,
}

/// How long nobody else can lead, for reads without a round.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// When the beats were sent that no quorum has answered yet, by their context.
    pub(crate) rounds: VecDeque<(u64, Tick)>,
    /// The newest beat that each follower answered.
    pub(crate) answered: BTreeMap<NodeId, u64>,
    pub(crate) until: Tick,
    /// Somebody was told to campaign in spite of it, and may do so whenever that arrives.
    pub(crate) given_up: bool,
}

/// A leader hands over. Until that is over it takes no proposals.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    pub(crate) waiting: Option<Waiting>,
}

/// The rounds of replication in which new voters get the log, before the configuration that needs
/// them is proposed (section 4.2.1 of the thesis).
#[derive(Clone, Debug)]
pub(crate) struct CatchUp {
    pub(crate) target: Config,
    pub(crate) joint: bool,
    pub(crate) newcomers: BTreeSet<NodeId>,
    pub(crate) waiting: Waiting,
    /// From 1.
    pub(crate) round: u32,
    pub(crate) began: Tick,
    /// Where the log ended when the round began.
    pub(crate) goal: u64,
}

/// A client that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) client: ClientId,
    pub(crate) serial: u64,
}

/// Who waits for a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Client {
        waiting: Waiting,
        key: String,
    },
    /// A follower, for a client of its own.
    Node {
        id: NodeId,
        context: u64,
    },
}

#[derive(Debug)]
pub(crate) struct PendingRead {
    pub(crate) asker: Asker,
    /// What was committed when it came.
    pub(crate) index: u64,
    pub(crate) confirmed: BTreeSet<NodeId>,
}

/// A follower's read, for which its leader was asked.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) waiting: Waiting,
    pub(crate) key: String,
    /// What must be applied before it is answered, once the leader has said so.
    pub(crate) index: Option<u64>,
}
