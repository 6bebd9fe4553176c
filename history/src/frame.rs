//! The frame that carries every message between our own nodes, and between a client and a node.
//!
//! The header is fixed, so that the nemesis can tell one kind of message from another without
//! knowing any protocol: it matches on the kind, the term and the index, and nothing else.
//!
//! ```text
//! 0  2 magic `US`   2  1 version   3  1 kind   4  8 term   12  8 index
//! 20 4 length of the body   24  4 CRC-32 of bytes 0..24 and the body   28  … body
//! ```
//!
//! Integers are big-endian.

use std::fmt;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 28;
/// A longer body is refused.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// The version of the frame format, the third byte of each frame.
pub const FRAME_VERSION: u8 = 1;
const MAGIC: [u8; 2] = *b"US";

macro_rules! kinds {
    ($( $(#[$doc:meta])* $number:literal $name:literal $variant:ident )*) => {
        /// What a message is, as far as a link fault can tell.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind { $( $(#[$doc])* $variant = $number ),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in schedules.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The kind of this number.
            pub fn from_byte(byte: u8) -> Option<Self> {
                match byte { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The kind of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    /// The first frame of a connection: who dials. Its index is the number of the dialling node (0
    /// for a client), its term the node's incarnation.
    1 "hello" Hello
    /// The answer to a hello: the connection is taken.
    2 "welcome" Welcome
    /// A client's command.
    3 "request" Request
    /// The answer to a command.
    4 "reply" Reply
    /// A leader's heartbeat.
    10 "heartbeat" Heartbeat
    /// The answer to a heartbeat.
    11 "heartbeat-reply" HeartbeatReply
    /// A vote of fast leader election.
    20 "notification" Notification
    /// One node's report that the leader is down.
    21 "subjective-down" SubjectiveDown
    /// A quorum's finding that the leader is down.
    22 "objective-down" ObjectiveDown
    /// Discovery: a follower tells the leader what it has accepted.
    23 "follower-info" FollowerInfo
    /// Discovery: a leader proposes an epoch.
    24 "leader-info" LeaderInfo
    /// Discovery: a follower accepted the epoch, or refused it.
    25 "epoch-ack" EpochAck
    /// Raft: a candidate asks for a vote.
    40 "vote-request" VoteRequest
    /// Raft: the answer, granted or not.
    41 "vote-reply" VoteReply
    /// Raft: a node asks whether it could win an election.
    42 "prevote-request" PrevoteRequest
    /// Raft: the answer, granted or not.
    43 "prevote-reply" PrevoteReply
    /// Raft: entries of the leader's log; the index is that of the last, or of the place before.
    44 "append" Append
    /// Raft: how far the follower's log agrees, or that it does not.
    45 "append-reply" AppendReply
    /// Raft: a piece of a snapshot, in place of entries that the leader has no more.
    46 "snapshot" Snapshot
    /// Raft: how much of the snapshot has come.
    47 "snapshot-reply" SnapshotReply
    /// Raft: the leader tells a follower to campaign at once.
    50 "timeout-now" TimeoutNow
    /// Raft: a follower asks its leader to hand over.
    51 "transfer" Transfer
    /// Raft: a follower asks its leader which index a read must wait for.
    52 "read-request" ReadRequest
    /// Raft: that index, or that there is none.
    53 "read-reply" ReadReply
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    /// The term, epoch, round or ballot that the message is about.
    pub term: u64,
    /// The log index that the message is about, or 0.
    pub index: u64,
    pub body: Vec<u8>,
}

/// Bytes that are not a frame. The stream they came from cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("does not start with a frame")]
    Magic,
    #[error("frame version {0}, expected {FRAME_VERSION}")]
    Version(u8),
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    #[error("frame of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("checksum does not match")]
    Checksum,
}

impl Frame {
    /// The frame as bytes.
    ///
    /// # Panics
    /// When the body is longer than [`BODY_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        assert!(self.body.len() <= BODY_BYTES_MAX, "a body of {} bytes", self.body.len());
        let length = u32::try_from(self.body.len()).expect("bounded above");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(FRAME_VERSION);
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&self.term.to_be_bytes());
        bytes.extend_from_slice(&self.index.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&checksum(&bytes, &self.body).to_be_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Takes the first frame off `bytes`, and how long it was. `None`: more bytes are needed.
    ///
    /// # Errors
    /// When the bytes cannot become a frame, as soon as that can be told.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some(length) = Self::length(bytes)? else { return Ok(None) };
        if bytes.len() < length {
            return Ok(None);
        }
        let body = &bytes[HEADER_BYTES..length];
        if checksum(&bytes[..24], body) != u32_at(bytes, 24) {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::from_byte(bytes[3]).ok_or(FrameError::Kind(bytes[3]))?;
        let frame =
            Self { kind, term: u64_at(bytes, 4), index: u64_at(bytes, 12), body: body.to_vec() };
        Ok(Some((frame, length)))
    }

    /// The length of the frame that starts `bytes`, header included. `None`: more bytes are needed.
    ///
    /// # Errors
    /// When the bytes cannot become a frame.
    pub fn length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let start = &bytes[..bytes.len().min(2)];
        if start != &MAGIC[..start.len()] {
            return Err(FrameError::Magic);
        }
        if let Some(version) = bytes.get(2).filter(|version| **version != FRAME_VERSION) {
            return Err(FrameError::Version(*version));
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let length = u32_at(bytes, 20) as usize;
        if length > BODY_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        Ok(Some(HEADER_BYTES + length))
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::{Frame, FrameError, HEADER_BYTES, Kind};

    fn frames() -> impl Strategy<Value = Frame> {
        (select(Kind::ALL), any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..200))
            .prop_map(|(kind, term, index, body)| Frame { kind, term, index, body })
    }

    proptest! {
        #[test]
        fn a_stream_of_frames_reads_back_whatever_its_pieces(
            sent in vec(frames(), 1..5),
            piece in 1_usize..50,
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
            let (mut buffer, mut received) = (Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some((frame, length)) = Frame::decode(&buffer).unwrap() {
                    buffer.drain(..length);
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn a_flipped_bit_is_never_read_as_a_frame(frame in frames(), at in any::<usize>(), bit in 0_u8..8) {
            let mut bytes = frame.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // A longer length only makes the reader wait for more.
            prop_assert!(!matches!(Frame::decode(&bytes), Ok(Some(_))));
        }

        #[test]
        fn garbage_does_not_panic(bytes in vec(any::<u8>(), 0..100)) {
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn a_foreign_greeting_is_refused_at_its_first_byte() {
        assert_eq!(Frame::decode(b"G"), Err(FrameError::Magic));
        assert_eq!(Frame::decode(b"US\x02"), Err(FrameError::Version(2)));
    }

    #[test]
    fn a_body_without_end_is_refused_from_its_header() {
        let mut bytes = Frame { kind: Kind::Hello, term: 0, index: 0, body: Vec::new() }.encode();
        bytes[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(Frame::length(&bytes[..HEADER_BYTES]), Err(FrameError::TooLong(_))));
    }
}
