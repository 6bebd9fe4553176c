//! What `fle` nodes say to each other.

use serde::{Deserialize, Serialize};
use usurper_history::{
    NodeId, Zxid,
    frame::{Frame, Kind},
};

use crate::protocol::{self, Tick};

/// A candidate, and what makes it better than another: the derived order is ZooKeeper's, by the
/// epoch the candidate was last in, its last logged zxid, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote {
    pub peer_epoch: u64,
    pub zxid: Zxid,
    pub leader: NodeId,
}

/// Where the sender of a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    Looking,
    /// `established`: it has followed a heartbeat of the leader in this epoch.
    Following {
        established: bool,
    },
    /// `established`: a quorum accepted the epoch.
    Leading {
        established: bool,
    },
}

/// A message between two nodes. Epochs start at 1; 0 is "none yet".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The vote of a node that is looking, or the settled vote of one that is not. `heard`: the
    /// sender has had a vote from the receiver in this round, so the two reach each other.
    Notification { round: u64, vote: Option<Vote>, standing: Standing, heard: bool },
    /// Discovery, step 1: a follower tells the winner what it has promised and what it has.
    FollowerInfo { accepted_epoch: u64, current_epoch: u64, zxid: Zxid },
    /// Discovery, step 2: the winner proposes its epoch, or a leader names the one it leads in.
    LeaderInfo { epoch: u64, established: bool },
    /// Discovery, step 3: the follower has durably accepted the epoch for this leader, or will not.
    EpochAck { epoch: u64, granted: bool, accepted_epoch: u64, current_epoch: u64, zxid: Zxid },
    /// `beat` counts the heartbeats of this leader. `sent_at` is its own clock: the reply carries
    /// it back, so that a reply read late does not count as a fresh one.
    Heartbeat { epoch: u64, beat: u64, sent_at: Tick },
    /// `epoch`, `beat` and `sent_at` are those of the heartbeat. `own_epoch` is the highest epoch
    /// that the sender has accepted.
    HeartbeatReply {
        epoch: u64,
        beat: u64,
        sent_at: Tick,
        accepted: bool,
        own_epoch: u64,
        own_leader: Option<NodeId>,
    },
    /// The sender hears nothing from this leader of this epoch. What does the receiver say?
    SubjectiveDown { leader: NodeId, epoch: u64 },
    /// The answer: whether the leader is down for the sender, too, and whom it follows or leads.
    DownAnswer { leader: NodeId, epoch: u64, down: bool, known: Option<(NodeId, u64)> },
    /// A majority found the leader of this epoch down.
    ObjectiveDown { leader: NodeId, epoch: u64, reporters: Vec<NodeId> },
}

/// A higher number is a malformed message: it would leave no epoch or round to go on with.
const NUMBER_MAX: u64 = 1 << 62;

impl Message {
    /// The kind in the frame's header.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Notification { .. } => Kind::Notification,
            Self::FollowerInfo { .. } => Kind::FollowerInfo,
            Self::LeaderInfo { .. } => Kind::LeaderInfo,
            Self::EpochAck { .. } => Kind::EpochAck,
            Self::Heartbeat { .. } => Kind::Heartbeat,
            Self::HeartbeatReply { .. } => Kind::HeartbeatReply,
            Self::SubjectiveDown { .. } | Self::DownAnswer { .. } => Kind::SubjectiveDown,
            Self::ObjectiveDown { .. } => Kind::ObjectiveDown,
        }
    }

    /// The number that orders it: a round for votes, an epoch for all else.
    pub fn term(&self) -> u64 {
        match self {
            Self::Notification { round, .. } => *round,
            Self::FollowerInfo { accepted_epoch, .. } => *accepted_epoch,
            Self::LeaderInfo { epoch, .. }
            | Self::EpochAck { epoch, .. }
            | Self::Heartbeat { epoch, .. }
            | Self::HeartbeatReply { epoch, .. }
            | Self::SubjectiveDown { epoch, .. }
            | Self::DownAnswer { epoch, .. }
            | Self::ObjectiveDown { epoch, .. } => *epoch,
        }
    }

    fn index(&self) -> u64 {
        match self {
            Self::Notification { vote: Some(vote), .. } => vote.zxid.counter,
            Self::FollowerInfo { zxid, .. } | Self::EpochAck { zxid, .. } => zxid.counter,
            Self::Heartbeat { beat, .. } | Self::HeartbeatReply { beat, .. } => *beat,
            _ => 0,
        }
    }

    fn is_plausible(&self) -> bool {
        let more = match self {
            Self::Notification { vote: Some(vote), .. } => vote.peer_epoch.max(vote.zxid.epoch),
            Self::FollowerInfo { current_epoch, zxid, .. } => zxid.epoch.max(*current_epoch),
            Self::EpochAck { accepted_epoch, current_epoch, zxid, .. } => {
                zxid.epoch.max(*current_epoch).max(*accepted_epoch)
            }
            Self::HeartbeatReply { own_epoch, .. } => *own_epoch,
            Self::DownAnswer { known: Some((_, epoch)), .. } => *epoch,
            _ => 0,
        };
        self.term().max(more) <= NUMBER_MAX
    }
}

impl protocol::Message for Message {
    fn to_frame(&self) -> Frame {
        let body = postcard::to_stdvec(self).expect("a message is plain data");
        Frame { kind: self.kind(), term: self.term(), index: self.index(), body }
    }

    fn from_frame(frame: &Frame) -> Option<Self> {
        let (message, rest) = postcard::take_from_bytes::<Self>(&frame.body).ok()?;
        // What a fault matched on must be what the node acts on.
        let header = (message.kind(), message.term(), message.index());
        let agrees = header == (frame.kind, frame.term, frame.index);
        (rest.is_empty() && agrees && message.is_plausible()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usurper_history::{NodeId, Zxid, frame::Frame};

    use super::{Message, Standing, Vote};
    use crate::protocol::{Message as _, Tick};

    fn vote(peer_epoch: u64, epoch: u64, counter: u64, leader: u8) -> Vote {
        Vote { peer_epoch, zxid: Zxid { epoch, counter }, leader: NodeId(leader) }
    }

    #[test]
    fn votes_are_ordered_by_epoch_then_zxid_then_id() {
        let rising = [
            vote(1, 1, 9, 9),
            vote(2, 1, 1, 1),
            vote(2, 1, 2, 1),
            vote(2, 1, 2, 3),
            vote(2, 2, 0, 1),
        ];
        assert!(rising.is_sorted_by(|one, other| one < other));
    }

    fn examples() -> Vec<Message> {
        let zxid = Zxid { epoch: 3, counter: 7 };
        let (leader, epoch) = (NodeId(3), 4);
        vec![
            Message::Notification {
                round: 5,
                vote: Some(vote(3, 3, 7, 3)),
                standing: Standing::Following { established: true },
                heard: true,
            },
            Message::Notification {
                round: 5,
                vote: None,
                standing: Standing::Looking,
                heard: false,
            },
            Message::FollowerInfo { accepted_epoch: 4, current_epoch: 3, zxid },
            Message::LeaderInfo { epoch, established: true },
            Message::EpochAck { epoch, granted: false, accepted_epoch: 6, current_epoch: 3, zxid },
            Message::Heartbeat { epoch, beat: 12, sent_at: Tick(99) },
            Message::HeartbeatReply {
                epoch,
                beat: 12,
                sent_at: Tick(99),
                accepted: false,
                own_epoch: 6,
                own_leader: None,
            },
            Message::SubjectiveDown { leader, epoch },
            Message::DownAnswer { leader, epoch, down: true, known: Some((NodeId(2), 9)) },
            Message::ObjectiveDown { leader, epoch, reporters: vec![NodeId(1), NodeId(2)] },
        ]
    }

    #[test]
    fn every_message_reads_back_from_its_frame() {
        for message in examples() {
            assert_eq!(Message::from_frame(&message.to_frame()), Some(message));
        }
    }

    #[test]
    fn a_header_that_contradicts_its_body_is_malformed() {
        for message in examples() {
            let frame = message.to_frame();
            let term = Frame { term: frame.term + 1, ..frame.clone() };
            let index = Frame { index: frame.index + 1, ..frame.clone() };
            let longer = Frame { body: [frame.body.clone(), vec![0]].concat(), ..frame };
            for wrong in [term, index, longer] {
                assert_eq!(Message::from_frame(&wrong), None);
            }
        }
    }

    #[test]
    fn a_number_with_no_successor_is_malformed() {
        let round = Message::Notification {
            round: u64::MAX,
            vote: Some(vote(0, 0, 0, 1)),
            standing: Standing::Looking,
            heard: false,
        };
        let accepted = Message::HeartbeatReply {
            epoch: 1,
            beat: 1,
            sent_at: Tick(0),
            accepted: false,
            own_epoch: u64::MAX,
            own_leader: None,
        };
        for message in [round, accepted] {
            assert_eq!(Message::from_frame(&message.to_frame()), None);
        }
    }

    proptest! {
        #[test]
        fn a_body_of_garbage_does_not_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            for message in examples() {
                let _ = Message::from_frame(&Frame { body: body.clone(), ..message.to_frame() });
            }
        }
    }
}
