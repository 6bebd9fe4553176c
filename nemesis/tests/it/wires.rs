//! What the tests of links share: a network of three nodes, of which n1 listens, and a connection
//! from n2 through its door.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use usurper_history::{
    Link, NodeId,
    frame::{Frame, HEADER_BYTES, Kind},
};
use usurper_nemesis::{Chance, Condition, Kinds, Network};

pub(crate) const N1: NodeId = NodeId(1);
pub(crate) const N2: NodeId = NodeId(2);
pub(crate) const N3: NodeId = NodeId(3);
/// Towards the listening node.
pub(crate) const TO: Link = Link { from: N2, to: N1 };
/// Back to the node that dialled.
pub(crate) const BACK: Link = Link { from: N1, to: N2 };
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const BODY_BYTES: usize = 100;

pub(crate) fn frame(kind: Kind, index: u64) -> Frame {
    Frame { kind, term: 1, index, body: vec![7; BODY_BYTES] }
}

pub(crate) fn always(kinds: Kinds) -> Chance {
    Chance { probability: 1.0, kinds, count: None }
}

pub(crate) fn cut_all() -> Condition {
    Condition::Cut { kinds: Kinds::ALL }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) {
    let look = async {
        while !so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, look).await.is_ok(), "never: {what}");
}

pub(crate) async fn send(stream: &mut TcpStream, kind: Kind, index: u64) {
    stream.write_all(&frame(kind, index).encode()).await.unwrap();
}

pub(crate) async fn read_frame(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut bytes = vec![0; HEADER_BYTES + BODY_BYTES];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("a frame in time")?;
    Ok(Frame::decode(&bytes).map_err(io::Error::other)?.expect("a whole frame").0)
}

/// The numbers of the next frames.
pub(crate) async fn read_indexes(stream: &mut TcpStream, count: usize) -> Vec<u64> {
    let mut indexes = Vec::new();
    for _ in 0..count {
        indexes.push(read_frame(stream).await.unwrap().index);
    }
    indexes
}

/// Reads nothing but the end of a stream.
pub(crate) async fn read_end(stream: &mut TcpStream) -> io::Result<()> {
    match timeout(PATIENCE, stream.read(&mut [0])).await.expect("an end in time")? {
        0 => Ok(()),
        _ => Err(io::Error::other("a byte instead of the end")),
    }
}

/// Whether there is nothing to read now.
pub(crate) fn is_silent(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

pub(crate) struct Pair {
    pub(crate) network: Network,
    pub(crate) listener: TcpListener,
    pub(crate) dialler: TcpStream,
    pub(crate) server: TcpStream,
}

pub(crate) async fn dial(network: &Network, from: NodeId, to: NodeId) -> TcpStream {
    let mut stream = TcpStream::connect(network.door(to)).await.unwrap();
    send(&mut stream, Kind::Hello, u64::from(from.0)).await;
    stream
}

pub(crate) async fn pair() -> Pair {
    let network = Network::open(&[N1, N2, N3], 5).await.unwrap();
    let listener = TcpListener::bind(network.server(N1)).await.unwrap();
    let dialler = dial(&network, N2, N1).await;
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap(), frame(Kind::Hello, 2));
    Pair { network, listener, dialler, server }
}

impl Pair {
    pub(crate) fn install(&self, link: Link, condition: &Condition) {
        self.network.install(&[link], condition).unwrap();
    }

    /// Sends a frame towards n1, which is the next that arrives.
    pub(crate) async fn carries(&mut self, index: u64) {
        send(&mut self.dialler, Kind::Heartbeat, index).await;
        assert_eq!(read_frame(&mut self.server).await.unwrap().index, index);
    }
}

pub(crate) async fn refused(network: &Network, from: NodeId, to: NodeId) -> bool {
    let mut stream = dial(network, from, to).await;
    let read = timeout(PATIENCE, stream.read(&mut [0])).await.expect("an answer in time");
    matches!(read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}
