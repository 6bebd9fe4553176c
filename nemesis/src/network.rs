//! The loopback network: a front door before each node, and the state of every directed link.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Duration, timeout},
};
use usurper_history::{
    Link, NodeId,
    frame::{Frame, HEADER_BYTES, Kind},
};

pub use crate::door::DoorCounters;
use crate::{
    block::{Block, BlockError},
    door::{Door, PROBE_TERM},
};

/// The port at which a node itself listens.
const SERVER_PORT: u16 = 7000;
/// The port of its front door, which is the address that its peers know.
const DOOR_PORT: u16 = 7001;
const KNOCK_MAX: Duration = Duration::from_secs(2);

/// What a directed link does with frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Open,
    Cut,
}

/// The network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("cannot open the front door of {node} at {address}")]
    Door {
        node: NodeId,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// The state of every directed link of a run.
#[derive(Debug)]
pub(crate) struct Links(BTreeMap<Link, watch::Sender<LinkState>>);

impl Links {
    fn new(nodes: &[NodeId]) -> Self {
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
        let distinct = pairs.filter(|(from, to)| from != to);
        Self(distinct.map(|pair| (Link::from(pair), watch::Sender::new(LinkState::Open))).collect())
    }

    pub(crate) fn watch(&self, link: Link) -> Option<watch::Receiver<LinkState>> {
        self.0.get(&link).map(watch::Sender::subscribe)
    }

    fn set(&self, links: &[Link], state: LinkState) {
        for sender in links.iter().filter_map(|link| self.0.get(link)) {
            sender.send_replace(state);
        }
    }

    fn cut(&self) -> Vec<Link> {
        let cut = self.0.iter().filter(|(_, state)| *state.borrow() == LinkState::Cut);
        cut.map(|(link, _)| *link).collect()
    }
}

/// The network of one run. Dropping it closes every door.
#[derive(Debug)]
pub struct Network {
    block: Block,
    links: Arc<Links>,
    doors: BTreeMap<NodeId, Arc<DoorCounters>>,
    _serving: JoinSet<()>,
}

impl Network {
    /// Takes a block of addresses and opens a door for each node.
    ///
    /// # Errors
    /// When no block is free or a door cannot be bound.
    pub async fn open(nodes: &[NodeId], hint: u64) -> Result<Self, NetworkError> {
        let block = Block::reserve(hint)?;
        let links = Arc::new(Links::new(nodes));
        let mut serving = JoinSet::new();
        let mut doors = BTreeMap::new();
        for &node in nodes {
            let address = block.address(node, DOOR_PORT);
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| NetworkError::Door { node, address, source })?;
            let counters = Arc::new(DoorCounters::default());
            doors.insert(node, Arc::clone(&counters));
            let server = block.address(node, SERVER_PORT);
            serving
                .spawn(Door { node, server, links: Arc::clone(&links), counters }.serve(listener));
        }
        Ok(Self { block, links, doors, _serving: serving })
    }

    /// Where a node itself listens; clients talk to this address, which no fault touches.
    pub fn server(&self, node: NodeId) -> SocketAddr {
        self.block.address(node, SERVER_PORT)
    }

    /// Where a node's peers find it.
    pub fn door(&self, node: NodeId) -> SocketAddr {
        self.block.address(node, DOOR_PORT)
    }

    /// The addresses of this run.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// What the door of a node has seen.
    pub fn counters(&self, node: NodeId) -> Option<&DoorCounters> {
        self.doors.get(&node).map(Arc::as_ref)
    }

    /// Cuts directed links: frames are dropped, new connections are refused.
    pub fn cut(&self, links: &[Link]) {
        self.links.set(links, LinkState::Cut);
    }

    /// Lets links carry again.
    pub fn heal(&self, links: &[Link]) {
        self.links.set(links, LinkState::Open);
    }

    /// The links that are cut now.
    pub fn cut_links(&self) -> Vec<Link> {
        self.links.cut()
    }

    /// Frames that cut links have dropped so far.
    pub fn frames_dropped(&self) -> u64 {
        self.doors.values().map(|door| door.frames_dropped.load(Ordering::Relaxed)).sum()
    }

    /// Knocks at a door in the name of `link.from`, and says whether it was let in.
    ///
    /// # Errors
    /// When the door does not answer either way.
    pub async fn knock(door: SocketAddr, link: Link) -> io::Result<bool> {
        let knock = async {
            let mut stream = TcpStream::connect(door).await?;
            let (term, index) = (PROBE_TERM, u64::from(link.from.0));
            let hello = Frame { kind: Kind::Hello, term, index, body: Vec::new() };
            stream.write_all(&hello.encode()).await?;
            stream.read_exact(&mut [0; HEADER_BYTES]).await
        };
        match timeout(KNOCK_MAX, knock).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the door does not answer")),
        }
    }
}
