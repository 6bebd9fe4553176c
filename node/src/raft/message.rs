//! What `raft` nodes say to each other.

use serde::{Deserialize, Serialize};
use usurper_history::{
    EntryId, NodeId,
    frame::{Frame, Kind},
};

use super::command::Entry;
use crate::protocol;

/// Where a follower that refuses an append thinks that the logs may agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The refused place: the `prev` of the append.
    pub refused: u64,
    /// The last place of the follower's log that is not after the refused one nor of a later term.
    pub place: EntryId,
}

/// A message between two nodes. Terms start at 1; 0 is "none yet".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A (pre-)candidate asks for a vote in `term`, showing the end of its log.
    /// `forced`: the leader asked for this campaign, so its lease does not stand against it.
    VoteRequest { term: u64, prevote: bool, forced: bool, last: EntryId },
    /// Granted: `term` is that of the request. Refused: it is the sender's own.
    VoteReply { term: u64, prevote: bool, granted: bool },
    /// Entries that come after `prev`, and how far the leader has committed.
    Append { term: u64, prev: EntryId, entries: Vec<Entry>, commit: u64 },
    /// The logs agree up to `matched`, durably; or they do not.
    AppendReply { term: u64, matched: u64, refused: Option<Hint> },
    /// The leader is alive. `commit` is never past what the follower is known to have.
    Heartbeat { term: u64, commit: u64, context: u64 },
    /// `context` is that of the heartbeat.
    HeartbeatReply { term: u64, context: u64 },
    /// The bytes from `offset` of the snapshot that ends at `last`, and whether they are the last.
    Snapshot { term: u64, last: EntryId, offset: u64, piece: Vec<u8>, done: bool },
    /// So many bytes of that snapshot have come.
    SnapshotReply { term: u64, last: EntryId, received: u64 },
    /// The leader hands over: campaign at once.
    TimeoutNow { term: u64 },
    /// Asks the leader to hand over to this node.
    Transfer { term: u64, to: NodeId },
    /// Asks the leader which index a read must wait for. The context is of one attempt.
    ReadRequest { term: u64, context: u64 },
    /// That index, or that this leader will not say.
    ReadReply { term: u64, context: u64, index: Option<u64> },
}

/// A higher number is a malformed message: it would leave no term or index to go on with.
const NUMBER_MAX: u64 = 1 << 62;

impl Message {
    /// The kind in the frame's header.
    pub fn kind(&self) -> Kind {
        match self {
            Self::VoteRequest { prevote: false, .. } => Kind::VoteRequest,
            Self::VoteReply { prevote: false, .. } => Kind::VoteReply,
            Self::VoteRequest { prevote: true, .. } => Kind::PrevoteRequest,
            Self::VoteReply { prevote: true, .. } => Kind::PrevoteReply,
            Self::Append { .. } => Kind::Append,
            Self::AppendReply { .. } => Kind::AppendReply,
            Self::Heartbeat { .. } => Kind::Heartbeat,
            Self::HeartbeatReply { .. } => Kind::HeartbeatReply,
            Self::Snapshot { .. } => Kind::Snapshot,
            Self::SnapshotReply { .. } => Kind::SnapshotReply,
            Self::TimeoutNow { .. } => Kind::TimeoutNow,
            Self::Transfer { .. } => Kind::Transfer,
            Self::ReadRequest { .. } => Kind::ReadRequest,
            Self::ReadReply { .. } => Kind::ReadReply,
        }
    }

    /// The term it was sent for.
    pub fn term(&self) -> u64 {
        match self {
            Self::VoteRequest { term, .. }
            | Self::VoteReply { term, .. }
            | Self::Append { term, .. }
            | Self::AppendReply { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatReply { term, .. }
            | Self::Snapshot { term, .. }
            | Self::SnapshotReply { term, .. }
            | Self::TimeoutNow { term }
            | Self::Transfer { term, .. }
            | Self::ReadRequest { term, .. }
            | Self::ReadReply { term, .. } => *term,
        }
    }

    /// The last log index that it speaks of.
    fn index(&self) -> u64 {
        match self {
            Self::VoteRequest { last, .. }
            | Self::Snapshot { last, .. }
            | Self::SnapshotReply { last, .. } => last.index,
            Self::VoteReply { .. } | Self::TimeoutNow { .. } | Self::Transfer { .. } => 0,
            Self::Append { prev, entries, .. } => {
                entries.last().map_or(prev.index, |entry| entry.id.index)
            }
            Self::AppendReply { matched, .. } => *matched,
            Self::Heartbeat { context, .. }
            | Self::HeartbeatReply { context, .. }
            | Self::ReadRequest { context, .. }
            | Self::ReadReply { context, .. } => *context,
        }
    }

    fn is_plausible(&self) -> bool {
        let more = match self {
            Self::VoteRequest { last, .. } => last.term,
            Self::Append { prev, commit, .. } => prev.term.max(prev.index).max(*commit),
            Self::AppendReply { refused: Some(hint), .. } => {
                hint.refused.max(hint.place.term).max(hint.place.index)
            }
            Self::Heartbeat { commit, .. } => *commit,
            Self::Snapshot { last, offset, .. } => last.term.max(*offset),
            Self::SnapshotReply { last, received, .. } => last.term.max(*received),
            Self::ReadReply { index: Some(index), .. } => *index,
            _ => 0,
        };
        self.term().max(self.index()).max(more) <= NUMBER_MAX && self.is_in_order()
    }

    /// The entries of an append come one after the other, and none is of a later term.
    fn is_in_order(&self) -> bool {
        let Self::Append { term, prev, entries, .. } = self else { return true };
        let mut last = *prev;
        entries.iter().all(|entry| {
            let follows = entry.id.index == last.index + 1 && entry.id.term >= last.term;
            last = entry.id;
            follows && entry.id.term <= *term
        })
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
    use usurper_history::{EntryId, NodeId, frame::Frame};

    use super::{Hint, Message};
    use crate::{
        protocol::Message as _,
        raft::{Command, Entry},
    };

    fn entry(term: u64, index: u64) -> Entry {
        Entry { id: EntryId { term, index }, command: Command::Noop }
    }

    fn examples() -> Vec<Message> {
        let last = EntryId { term: 3, index: 7 };
        let append = |entries| Message::Append { term: 4, prev: last, entries, commit: 6 };
        let hint = Hint { refused: 9, place: last };
        vec![
            Message::VoteRequest { term: 5, prevote: false, forced: true, last },
            Message::VoteRequest { term: 5, prevote: true, forced: false, last },
            Message::VoteReply { term: 5, prevote: false, granted: true },
            Message::VoteReply { term: 5, prevote: true, granted: false },
            append(Vec::new()),
            append(vec![entry(3, 8), entry(4, 9)]),
            Message::AppendReply { term: 4, matched: 7, refused: None },
            Message::AppendReply { term: 4, matched: 0, refused: Some(hint) },
            Message::Heartbeat { term: 4, commit: 6, context: 2 },
            Message::HeartbeatReply { term: 4, context: 2 },
            Message::Snapshot { term: 4, last, offset: 3, piece: vec![1, 2], done: true },
            Message::SnapshotReply { term: 4, last, received: 5 },
            Message::TimeoutNow { term: 4 },
            Message::Transfer { term: 4, to: NodeId(2) },
            Message::ReadRequest { term: 4, context: 9 },
            Message::ReadReply { term: 4, context: 9, index: Some(7) },
            Message::ReadReply { term: 4, context: 9, index: None },
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
    fn entries_out_of_order_or_of_the_future_are_malformed() {
        let prev = EntryId { term: 3, index: 7 };
        for entries in [vec![entry(3, 9)], vec![entry(2, 8)], vec![entry(5, 8)]] {
            let message = Message::Append { term: 4, prev, entries, commit: 0 };
            assert_eq!(Message::from_frame(&message.to_frame()), None);
        }
    }

    #[test]
    fn a_number_with_no_successor_is_malformed() {
        let term = Message::VoteReply { term: u64::MAX, prevote: false, granted: false };
        let commit = Message::Heartbeat { term: 1, commit: u64::MAX, context: 0 };
        for message in [term, commit] {
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
