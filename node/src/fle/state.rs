//! What an `fle` node has in memory, by what it is doing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use usurper_history::{NodeId, Role};

use super::message::{Standing, Vote};
use crate::protocol::Tick;

/// The timers of `fle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A vote that nobody answered is sent again.
    Resend,
    /// The majority of votes has waited long enough for a better one.
    Finalize,
    /// Discovery goes on, or has lasted too long.
    Discovery,
    /// The leader's next heartbeat.
    Beat,
    /// The leader has been silent.
    Silence,
}

impl Timer {
    pub(crate) const ALL: [Self; 5] =
        [Self::Resend, Self::Finalize, Self::Discovery, Self::Beat, Self::Silence];
}

#[derive(Debug)]
pub(crate) enum State {
    Looking(Looking),
    Following(Following),
    Leading(Leading),
}

/// Electing.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    /// Whom this node votes for; nobody, as long as it knows no candidate and may not stand itself.
    pub(crate) vote: Option<Vote>,
    /// From whom a vote of this round has come.
    pub(crate) heard: BTreeSet<NodeId>,
    /// Of these, who has had one from this node as well: with them it could lead.
    pub(crate) reached: BTreeSet<NodeId>,
    /// The votes of this round, the own one included: by nodes that look, or that have decided but
    /// follow no established leader yet.
    pub(crate) ballots: BTreeMap<NodeId, Vote>,
    /// The votes of nodes outside this election, of any round: ZooKeeper's `outofelection`.
    pub(crate) settled: BTreeMap<NodeId, Settled>,
    /// Followers that decided for this node before it did.
    pub(crate) early: BTreeMap<NodeId, Promise>,
    /// A majority agrees, and the wait for a better vote runs.
    pub(crate) finalizing: bool,
    pub(crate) resend_after: Duration,
    pub(crate) sent_at: Tick,
}

/// The vote of a node that is not looking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) vote: Vote,
    pub(crate) round: u64,
    pub(crate) leading: bool,
}

/// What a follower tells the winner of an election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) accepted_epoch: u64,
    pub(crate) current_epoch: u64,
    pub(crate) zxid: usurper_history::Zxid,
}

#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) leader: NodeId,
    /// The settled vote, told to whoever looks.
    pub(crate) vote: Vote,
    pub(crate) phase: FollowerPhase,
}

#[derive(Debug)]
pub(crate) enum FollowerPhase {
    /// Agreeing on the epoch with the winner. `joined`: the epoch agreed on; its first heartbeat
    /// is awaited.
    Discovery { deadline: Tick, joined: Option<u64> },
    /// Following heartbeats.
    Broadcast { epoch: u64, heard_at: Tick, suspect: bool },
}

#[derive(Debug)]
pub(crate) struct Leading {
    /// The settled vote, told to whoever looks.
    pub(crate) vote: Vote,
    pub(crate) phase: LeaderPhase,
}

#[derive(Debug)]
pub(crate) enum LeaderPhase {
    /// The election is won; a quorum has to accept the epoch.
    Discovery(Discovery),
    Broadcast(Broadcast),
}

#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) deadline: Tick,
    /// The accepted epoch of each node that follows, the own one included.
    pub(crate) accepted: BTreeMap<NodeId, u64>,
    pub(crate) proposed: Option<u64>,
    pub(crate) acks: BTreeSet<NodeId>,
    /// Who voted for this node, or has come to follow it.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Nodes that were seen to vote for another, or in a later round, since the election was won.
    pub(crate) deserters: BTreeSet<NodeId>,
    /// Followers that have more than this node: they cannot vouch that its log is long enough.
    pub(crate) ahead: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) epoch: u64,
    pub(crate) beat: u64,
    /// When the latest heartbeat was sent that each follower has answered.
    pub(crate) answered: BTreeMap<NodeId, Tick>,
    /// Leads because an election was won, rather than by configuration.
    pub(crate) elected: bool,
}

impl State {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Looking(_) => Role::Looking,
            Self::Following(_) => Role::Follower,
            Self::Leading(_) => Role::Leader,
        }
    }

    pub(crate) fn phase(&self) -> &'static str {
        match self {
            Self::Looking(_) => "election",
            Self::Following(Following { phase: FollowerPhase::Discovery { .. }, .. })
            | Self::Leading(Leading { phase: LeaderPhase::Discovery(_), .. }) => "discovery",
            _ => "broadcast",
        }
    }

    /// The leader and the epoch, once they are settled beyond doubt.
    pub(crate) fn established(&self, id: NodeId) -> Option<(NodeId, u64)> {
        match self {
            Self::Following(Following {
                leader,
                phase: FollowerPhase::Broadcast { epoch, .. },
                ..
            }) => Some((*leader, *epoch)),
            Self::Leading(Leading { phase: LeaderPhase::Broadcast(broadcast), .. }) => {
                Some((id, broadcast.epoch))
            }
            _ => None,
        }
    }

    /// The vote and the standing to tell another node.
    pub(crate) fn ballot(&self) -> (Option<Vote>, Standing) {
        let established = self.phase() == "broadcast";
        match self {
            Self::Looking(looking) => (looking.vote, Standing::Looking),
            Self::Following(following) => {
                (Some(following.vote), Standing::Following { established })
            }
            Self::Leading(leading) => (Some(leading.vote), Standing::Leading { established }),
        }
    }
}
