//! Frames on a stream, and the first two of each connection.
//!
//! Whoever dials says hello, and is answered with a welcome or by a closed connection. Both carry
//! the number of the node in the `index` of the frame's header (0: a client) and its incarnation
//! in the `term`, so that a relay in between can tell who speaks without reading the body.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream, ToSocketAddrs,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use usurper_history::{
    NodeId,
    frame::{Frame, FrameError, Kind},
};

/// How long a connection may take to be made, and to be welcomed.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read at once, if so much is there.
const READ_BYTES: usize = 1 << 13;
/// A longer greeting is refused: nobody has been identified yet.
const GREETING_BYTES_MAX: usize = 4096;

/// Who dials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub(crate) enum Hello {
    Node { id: NodeId, inc: u32, cluster: String },
    Client { cluster: String },
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) id: NodeId,
    pub(crate) inc: u32,
}

impl Hello {
    pub(crate) fn to_frame(&self) -> Frame {
        let (term, index) = match self {
            Self::Node { id, inc, .. } => (u64::from(*inc), u64::from(id.0)),
            Self::Client { .. } => (0, 0),
        };
        Frame { kind: Kind::Hello, term, index, body: to_json(self) }
    }
}

impl Welcome {
    pub(crate) fn to_frame(self) -> Frame {
        let (term, index) = (u64::from(self.inc), u64::from(self.id.0));
        Frame { kind: Kind::Welcome, term, index, body: to_json(&self) }
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data is JSON")
}

/// Why no more frames come from a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("closed by the other side")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("bad frame: {0}")]
    Unexpected(&'static str),
    #[error("no greeting in time")]
    Late,
    #[error("the greeting is of another node: {0}")]
    WrongNode(NodeId),
}

impl StreamError {
    /// The other side sent what it should not, rather than nothing.
    pub(crate) fn is_bad_frame(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Unexpected(_))
    }
}

/// A stream of frames, in both directions.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) reader: FrameReader,
    pub(crate) writer: OwnedWriteHalf,
}

/// The incoming half.
#[derive(Debug)]
pub(crate) struct FrameReader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were already taken.
    taken: usize,
}

impl Stream {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (half, writer) = stream.into_split();
        Ok(Self { reader: FrameReader { half, buffer: Vec::new(), taken: 0 }, writer })
    }

    /// Dials, says hello and waits for the welcome, all of it bounded.
    pub(crate) async fn dial(
        address: impl ToSocketAddrs,
        hello: &Hello,
    ) -> Result<(Self, Welcome), StreamError> {
        let greeting = async {
            let mut stream = Self::new(TcpStream::connect(address).await?)?;
            stream.writer.write_all(&hello.to_frame().encode()).await?;
            let welcome: Welcome = stream.reader.greeting(Kind::Welcome).await?;
            Ok((stream, welcome))
        };
        tokio::time::timeout(GREETING_TIMEOUT, greeting).await.unwrap_or(Err(StreamError::Late))
    }
}

impl FrameReader {
    /// The next frame. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Frame, StreamError> {
        self.next_within(usize::MAX).await
    }

    /// Whether the other side is known to have ended the stream. What it sent before that stays.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.half.try_read_buf(&mut self.buffer), Ok(0)) && self.buffer.len() == self.taken
    }

    /// Waits until there is something to read, or the end.
    #[cfg(test)]
    pub(crate) async fn readable(&self) {
        self.half.readable().await.expect("a socket that is open here");
    }

    /// The first frame, which has to be of this kind.
    pub(crate) async fn greeting<T: DeserializeOwned>(
        &mut self,
        kind: Kind,
    ) -> Result<T, StreamError> {
        let frame = self.next_within(GREETING_BYTES_MAX).await?;
        if frame.kind != kind {
            return Err(StreamError::Unexpected("not a greeting"));
        }
        serde_json::from_slice(&frame.body)
            .map_err(|_| StreamError::Unexpected("a greeting that cannot be read"))
    }

    async fn next_within(&mut self, bytes_max: usize) -> Result<Frame, StreamError> {
        loop {
            let rest = &self.buffer[self.taken..];
            if Frame::length(rest)?.is_some_and(|length| length > bytes_max) {
                return Err(StreamError::Unexpected("too long"));
            }
            if let Some((frame, length)) = Frame::decode(rest)? {
                self.taken += length;
                return Ok(frame);
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.buffer.reserve(READ_BYTES);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Err(StreamError::Closed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::NodeId;

    use super::{Hello, Welcome};

    #[test]
    fn the_header_of_a_greeting_says_who_speaks() {
        let (id, inc) = (NodeId(3), 2);
        let hello = Hello::Node { id, inc, cluster: "c".to_owned() }.to_frame();
        assert_eq!((hello.index, hello.term), (3, 2));
        let welcome = Welcome { id, inc }.to_frame();
        assert_eq!((welcome.index, welcome.term), (3, 2));
        assert_eq!(Hello::Client { cluster: "c".to_owned() }.to_frame().index, 0);
    }

    #[test]
    fn a_hello_is_plain_json() {
        let hello = Hello::Node { id: NodeId(3), inc: 2, cluster: "c".to_owned() };
        let text = r#"{"role":"node","id":"n3","inc":2,"cluster":"c"}"#;
        assert_eq!(String::from_utf8(hello.to_frame().body).unwrap(), text);
        assert_eq!(serde_json::from_str::<Hello>(text).unwrap(), hello);
    }
}
