//! raft-rs' messages in usurper's frames.
//!
//! The header tells what a link fault matches on; the body is the message as raft-rs encodes it.

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use usurper_history::frame::{Frame, Kind};
use usurper_node::protocol;

/// A message of raft-rs that goes to another node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet(pub(crate) Message);

const KINDS: &[(MessageType, Kind)] = &[
    (MessageType::MsgAppend, Kind::Append),
    (MessageType::MsgAppendResponse, Kind::AppendReply),
    (MessageType::MsgRequestVote, Kind::VoteRequest),
    (MessageType::MsgRequestVoteResponse, Kind::VoteReply),
    (MessageType::MsgRequestPreVote, Kind::PrevoteRequest),
    (MessageType::MsgRequestPreVoteResponse, Kind::PrevoteReply),
    (MessageType::MsgHeartbeat, Kind::Heartbeat),
    (MessageType::MsgHeartbeatResponse, Kind::HeartbeatReply),
    (MessageType::MsgSnapshot, Kind::Snapshot),
    (MessageType::MsgTimeoutNow, Kind::TimeoutNow),
    (MessageType::MsgTransferLeader, Kind::Transfer),
    (MessageType::MsgReadIndex, Kind::ReadRequest),
    (MessageType::MsgReadIndexResp, Kind::ReadReply),
];

/// What kind of frame a message travels in; none, if it never leaves a node.
pub(crate) fn kind(message: &Message) -> Option<Kind> {
    let found = KINDS.iter().find(|(message_type, _)| *message_type == message.get_msg_type());
    found.map(|(_, kind)| *kind)
}

impl protocol::Message for Packet {
    fn to_frame(&self) -> Frame {
        let Self(message) = self;
        let last = message.entries.last().map_or(message.index, |entry| entry.index);
        Frame {
            kind: kind(message).expect("only what has a kind is sent"),
            term: message.term,
            index: last,
            body: message.write_to_bytes().expect("a message of raft-rs is whole"),
        }
    }

    fn from_frame(frame: &Frame) -> Option<Self> {
        let message = Message::parse_from_bytes(&frame.body).ok()?;
        (kind(&message) == Some(frame.kind)).then_some(Self(message))
    }
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, Message, MessageType};
    use usurper_history::frame::Kind;
    use usurper_node::protocol::Message as _;

    use super::Packet;

    #[test]
    fn the_header_of_a_frame_says_what_a_link_fault_matches_on() {
        let mut message = Message { term: 3, index: 7, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.set_entries(vec![Entry { term: 3, index: 8, ..Entry::default() }].into());
        let frame = Packet(message.clone()).to_frame();
        assert_eq!((frame.kind, frame.term, frame.index), (Kind::Append, 3, 8));
        assert_eq!(Packet::from_frame(&frame), Some(Packet(message)));
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        let mut frame = Packet(message).to_frame();
        frame.kind = Kind::Append;
        assert_eq!(Packet::from_frame(&frame), None);
        frame.body = vec![0xff; 9];
        assert_eq!(Packet::from_frame(&frame), None);
    }
}
