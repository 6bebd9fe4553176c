//! The front door of a node: a relay that knows who knocks, and asks each directed link what may
//! pass.
//!
//! A connection carries two links, one in each direction. Each is pumped on its own, frame by frame:
//! while a link is cut, whole frames are dropped and neither end is told anything; a new connection
//! needs both directions (its handshake would), so it is refused while either is cut.
//!
//! Bytes that are not frames cannot be attributed to anybody, so they are counted and their
//! connection is closed.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Duration, timeout},
};
use usurper_history::{
    Link, NodeId,
    frame::{Frame, HEADER_BYTES, Kind},
};

use crate::network::{LinkState, Links};

/// How long a new connection may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(2);
/// Connections that have not said who they are; one more is refused.
const STRANGERS_MAX: usize = 64;
const BUFFER_BYTES: usize = 1 << 18;
/// The term of a hello that only asks whether the door would let its sender through.
pub(crate) const PROBE_TERM: u64 = u64::MAX;

/// What a door has seen.
#[derive(Debug, Default)]
pub struct DoorCounters {
    /// Connections that passed.
    pub passed: AtomicU64,
    /// Connections refused because a link was cut.
    pub refused: AtomicU64,
    /// Connections dropped because they sent something else than frames.
    pub garbage: AtomicU64,
    /// Frames dropped by cut links.
    pub frames_dropped: AtomicU64,
}

pub(crate) struct Door {
    pub(crate) node: NodeId,
    /// Where the node itself listens.
    pub(crate) server: SocketAddr,
    pub(crate) links: Arc<Links>,
    pub(crate) counters: Arc<DoorCounters>,
}

impl Door {
    /// Serves connections until the task is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        let mut visits = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if visits.len() < STRANGERS_MAX + 4 * usize::from(u8::MAX) => {
                        let door = Arc::clone(&door);
                        visits.spawn(async move { door.visit(stream).await });
                    }
                    Ok((stream, _)) => reset(stream),
                    // The process is out of descriptors: let some visits end before the next try.
                    Err(_) => { visits.join_next().await; }
                },
                Some(_) = visits.join_next() => {}
            }
        }
    }

    /// One connection, from its hello to its end. Errors end it; both peers see that on their own.
    async fn visit(&self, mut client: TcpStream) {
        let hello = match timeout(HELLO_MAX, read_hello(&mut client)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(_)) | Err(_) => {
                self.counters.garbage.fetch_add(1, Ordering::Relaxed);
                return reset(client);
            }
        };
        let Some((inward, outward)) = self.links_of(&hello) else {
            self.counters.garbage.fetch_add(1, Ordering::Relaxed);
            return reset(client);
        };
        if *inward.borrow() == LinkState::Cut || *outward.borrow() == LinkState::Cut {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return reset(client);
        }
        if hello.term == PROBE_TERM {
            let welcome = Frame { kind: Kind::Welcome, term: PROBE_TERM, index: 0, body: vec![] };
            // A prober that went away has its answer already.
            let _ = client.write_all(&welcome.encode()).await;
            return;
        }
        let Ok(mut server) = TcpStream::connect(self.server).await else { return reset(client) };
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err()
            || server.write_all(&hello.encode()).await.is_err()
        {
            return reset(client);
        }
        self.counters.passed.fetch_add(1, Ordering::Relaxed);
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        // The first direction that ends, ends the connection: a half-closed link is a fault of its
        // own, and none that a node asks for.
        let end = tokio::select! {
            end = self.pump(client_in, server_out, inward) => end,
            end = self.pump(server_in, client_out, outward) => end,
        };
        if end.is_err() {
            reset(client);
            reset(server);
        }
    }

    /// The links towards the node and back for the sender of a hello.
    fn links_of(
        &self,
        hello: &Frame,
    ) -> Option<(watch::Receiver<LinkState>, watch::Receiver<LinkState>)> {
        let peer = NodeId(u8::try_from(hello.index).ok()?);
        Some((
            self.links.watch(Link { from: peer, to: self.node })?,
            self.links.watch(Link { from: self.node, to: peer })?,
        ))
    }

    /// Carries frames of one direction until its stream ends.
    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        link: watch::Receiver<LinkState>,
    ) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut passing = Vec::with_capacity(BUFFER_BYTES);
        while from.read_buf(&mut buffer).await? > 0 {
            let mut whole = 0;
            passing.clear();
            while let Some(length) = self.frame_length(&buffer[whole..])? {
                if buffer.len() - whole < length {
                    break;
                }
                match *link.borrow() {
                    LinkState::Open => passing.extend_from_slice(&buffer[whole..whole + length]),
                    LinkState::Cut => {
                        self.counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                whole += length;
            }
            buffer.drain(..whole);
            to.write_all(&passing).await?;
        }
        Ok(())
    }

    fn frame_length(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        Frame::length(bytes).map_err(|error| {
            self.counters.garbage.fetch_add(1, Ordering::Relaxed);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }
}

/// Reads exactly the first frame, so that no byte after it has to be kept.
async fn read_hello(stream: &mut TcpStream) -> io::Result<Frame> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut bytes = vec![0; HEADER_BYTES];
    stream.read_exact(&mut bytes).await?;
    let length = Frame::length(&bytes).map_err(invalid)?.expect("a whole header");
    if length > HEADER_BYTES + 4096 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a hello that long"));
    }
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[HEADER_BYTES..]).await?;
    let (frame, _) = Frame::decode(&bytes).map_err(invalid)?.expect("a whole frame");
    if frame.kind != Kind::Hello {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no hello"));
    }
    Ok(frame)
}

/// Closes a connection with a reset, as a firewall that rejects would.
fn reset(stream: TcpStream) {
    // Best effort: without it the close is an ordinary one.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
