//! The loopback network: a front door before each node, and the state of every directed link.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
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
    link::{
        Admission, Condition, Kinds, LinkState, LinkStats, Pids, Released, TooMany, Wire, admission,
    },
};

/// The port at which a node itself listens.
const SERVER_PORT: u16 = 7000;
/// The port of its front door, which is the address that its peers know.
const DOOR_PORT: u16 = 7001;
/// Blocks that are passed over because a door in them cannot be opened.
const BLOCKS_TRIED_MAX: usize = 16;
const KNOCK_MAX: Duration = Duration::from_secs(2);

/// The network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("cannot have the address {address} for {node} or its front door")]
    Door {
        node: NodeId,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// The state of every directed link of a run.
#[derive(Debug)]
pub(crate) struct Links {
    links: BTreeMap<Link, Arc<LinkState>>,
    connections: AtomicU64,
}

impl Links {
    fn new(nodes: &[NodeId], options: NetworkOptions) -> Self {
        let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
        let distinct = pairs.filter(|(from, to)| from != to).map(Link::from);
        let state = |link| Arc::new(LinkState::new(link, options.wire, options.seed));
        Self {
            links: distinct.map(|link| (link, state(link))).collect(),
            connections: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, link: Link) -> Option<Arc<LinkState>> {
        self.links.get(&link).cloned()
    }

    /// A number for a new connection.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    fn these(&self, links: &[Link]) -> impl Iterator<Item = (Link, &LinkState)> {
        links.iter().filter_map(|link| Some((*link, self.links.get(link)?.as_ref())))
    }
}

/// How a network is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkOptions {
    /// Where to look for a free block of addresses first.
    pub hint: u64,
    /// What every chance of a link derives from.
    pub seed: u64,
    pub wire: Wire,
}

/// A link cannot be put under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("there is no link {0}")]
    NoLink(Link),
    #[error("links carry bytes of a foreign program here, not frames")]
    Bytes,
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// The network of one run. Dropping it closes every door.
#[derive(Debug)]
pub struct Network {
    block: Block,
    wire: Wire,
    links: Arc<Links>,
    pids: Arc<Pids>,
    doors: BTreeMap<NodeId, Arc<DoorCounters>>,
    _serving: JoinSet<()>,
}

impl Network {
    /// Takes a block of addresses and opens a door for each node; they carry frames.
    ///
    /// # Errors
    /// When no block is free or a door cannot be bound.
    pub async fn open(nodes: &[NodeId], hint: u64) -> Result<Self, NetworkError> {
        let options = NetworkOptions { hint, seed: hint, wire: Wire::Frames };
        Self::open_with(nodes, options).await
    }

    /// Takes a block of addresses and opens a door for each node.
    ///
    /// # Errors
    /// When no block is free or a door cannot be bound.
    pub async fn open_with(
        nodes: &[NodeId],
        options: NetworkOptions,
    ) -> Result<Self, NetworkError> {
        let (block, listeners) = bind_doors(nodes, options.hint).await?;
        let links = Arc::new(Links::new(nodes, options));
        let pids = Arc::new(Pids::default());
        let mut serving = JoinSet::new();
        let mut doors = BTreeMap::new();
        for (node, listener) in listeners {
            let counters = Arc::new(DoorCounters::default());
            doors.insert(node, Arc::clone(&counters));
            let (links, pids) = (Arc::clone(&links), Arc::clone(&pids));
            let server = block.address(node, SERVER_PORT);
            let door = Door { node, server, wire: options.wire, links, pids, counters };
            serving.spawn(door.serve(listener));
        }
        Ok(Self { block, wire: options.wire, links, pids, doors, _serving: serving })
    }

    /// Says which process a node is, or that it is none now. Only a network of [`Wire::Bytes`] has
    /// to know, before the process first dials.
    pub fn set_pid(&self, node: NodeId, pid: Option<u32>) {
        self.pids.set(node, pid);
    }

    /// What the links carry.
    pub fn wire(&self) -> Wire {
        self.wire
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

    /// Puts links under one more condition, until they are healed.
    ///
    /// # Errors
    /// When there is no such link, or the condition cannot be done to what it carries. The links
    /// before it in the list are under the condition then.
    pub fn install(&self, links: &[Link], condition: &Condition) -> Result<(), InstallError> {
        if self.wire == Wire::Bytes && !condition.fits_bytes() {
            return Err(InstallError::Bytes);
        }
        if let Some(link) = links.iter().find(|link| !self.links.links.contains_key(link)) {
            return Err(InstallError::NoLink(*link));
        }
        for (_, state) in self.links.these(links) {
            state.install(condition.clone())?;
        }
        Ok(())
    }

    /// Resets every connection over links, and waits until they are gone; says how many they were.
    pub async fn reset(&self, links: &[Link]) -> usize {
        let asked: Vec<_> =
            self.links.these(links).map(|(_, state)| (state, state.reset())).collect();
        let mut all = BTreeSet::new();
        for (state, connections) in asked {
            state.closed(&connections).await;
            all.extend(connections);
        }
        all.len()
    }

    /// Lets messages of these kinds go that links hold, the oldest `count` of each link, or all; in
    /// the latter case their hold ends.
    pub fn release(
        &self,
        links: &[Link],
        kinds: &Kinds,
        count: Option<u64>,
    ) -> Vec<(Link, Released)> {
        let links = self.links.these(links);
        links.map(|(link, state)| (link, state.release(kinds, count))).collect()
    }

    /// Ends every condition of links; says what each did to its traffic since it was last healed.
    /// Held messages are delivered, in the order in which they came.
    pub fn heal(&self, links: &[Link]) -> Vec<(Link, LinkStats)> {
        self.links.these(links).map(|(link, state)| (link, state.heal())).collect()
    }

    /// Cuts links: frames are dropped, new connections are refused.
    ///
    /// # Errors
    /// As [`Network::install`].
    pub fn cut(&self, links: &[Link]) -> Result<(), InstallError> {
        self.install(links, &Condition::Cut { kinds: Kinds::ALL })
    }

    /// The conditions that a link is under.
    pub fn conditions(&self, link: Link) -> Vec<Condition> {
        self.links.get(link).map(|state| state.conditions()).unwrap_or_default()
    }

    /// What a link has done to its traffic since it was last healed.
    pub fn stats(&self, link: Link) -> LinkStats {
        self.links.get(link).map(|state| state.stats()).unwrap_or_default()
    }

    /// How many messages a link holds now.
    pub fn held(&self, link: Link) -> u64 {
        self.links.get(link).map_or(0, |state| state.held())
    }

    /// The links that are under some condition.
    pub fn faulty_links(&self) -> Vec<Link> {
        let links = self.links.links.iter();
        links.filter(|(_, state)| state.is_faulty()).map(|(link, _)| *link).collect()
    }

    /// Whether a knock over a link would be let in.
    pub(crate) fn lets_in(&self, link: Link) -> bool {
        let state = |link| self.links.get(link).map(|state| *state.subscribe().borrow());
        let (inward, outward) = (state(link), state(Link { from: link.to, to: link.from }));
        matches!((inward, outward), (Some(inward), Some(outward))
            if admission(inward, outward) == Admission::Admit)
    }

    /// Knocks of ours over a link that were left without an answer, ever.
    pub(crate) fn knocks_unanswered(&self, link: Link) -> u64 {
        self.links.get(link).map_or(0, |state| state.knocks_unanswered())
    }

    /// How many connections are open over a link, whoever dialled.
    pub fn connections(&self, link: Link) -> usize {
        self.links.get(link).map_or(0, |state| state.connections())
    }

    /// Knocks at a door in the name of `link.from`, and says what came of it.
    ///
    /// # Errors
    /// When the door cannot be reached, or says what no door would.
    pub async fn knock(door: SocketAddr, link: Link) -> io::Result<Answer> {
        let knock = async {
            let mut stream = TcpStream::connect(door).await?;
            let (term, index) = (PROBE_TERM, u64::from(link.from.0));
            let hello = Frame { kind: Kind::Hello, term, index, body: Vec::new() };
            stream.write_all(&hello.encode()).await?;
            stream.read_exact(&mut [0; HEADER_BYTES]).await
        };
        match timeout(KNOCK_MAX, knock).await {
            Ok(Ok(_)) => Ok(Answer::LetIn),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Answer::Refused),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Answer::None),
        }
    }
}

/// Takes a block in which every door can be opened.
async fn bind_doors(
    nodes: &[NodeId],
    hint: u64,
) -> Result<(Block, Vec<(NodeId, TcpListener)>), NetworkError> {
    // A network that was dropped a moment ago may still hold its doors, though not its block.
    let mut passed_over = Vec::new();
    loop {
        let block = Block::reserve(hint)?;
        match bind_all(&block, nodes).await {
            Ok(listeners) => return Ok((block, listeners)),
            Err(error) if passed_over.len() >= BLOCKS_TRIED_MAX => return Err(error),
            Err(_) => passed_over.push(block),
        }
    }
}

async fn bind_all(
    block: &Block,
    nodes: &[NodeId],
) -> Result<Vec<(NodeId, TcpListener)>, NetworkError> {
    let mut listeners = Vec::with_capacity(nodes.len());
    for &node in nodes {
        // A node that was killed a moment ago may still hold its own address.
        let server = block.address(node, SERVER_PORT);
        let free = TcpListener::bind(server).await;
        free.map_err(|source| NetworkError::Door { node, address: server, source })?;
        let address = block.address(node, DOOR_PORT);
        let bound = TcpListener::bind(address).await;
        listeners
            .push((node, bound.map_err(|source| NetworkError::Door { node, address, source })?));
    }
    Ok(listeners)
}

/// What came of a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    LetIn,
    Refused,
    /// There was none, for seconds.
    None,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LetIn => "let in",
            Self::Refused => "refused",
            Self::None => "not answered",
        })
    }
}
