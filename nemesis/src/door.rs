//! The front door of a node: a relay that knows who knocks, and asks each directed link what may
//! pass.
//!
//! Our own nodes say who they are in their first frame; of other programs it is found out from the
//! socket. A connection carries two links, one in each direction, each pumped on its own; a new
//! connection needs both directions, as its handshake would.
//!
//! Who cannot be told is refused: bytes that belong to no link would leak around a partition.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};
use usurper_history::{
    Link, NodeId,
    frame::{Frame, HEADER_BYTES, Kind},
};

use crate::{
    link::{
        Admission, Broken, Ended, LinkState, Open, Owner, Pids, Pump, Summary, Wire, admission,
    },
    network::Links,
};

/// How long a new connection may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(2);
/// How long the node behind the door may take to accept.
const SERVER_MAX: Duration = Duration::from_secs(5);
/// Connections that a door carries at once; one more is refused.
const VISITS_MAX: usize = 1024;
/// How often a knocker that waits for an answer is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// The term of a hello that only asks whether the door would let its sender through.
pub(crate) const PROBE_TERM: u64 = u64::MAX;

/// What a door has seen.
#[derive(Debug, Default)]
pub struct DoorCounters {
    /// Connections that passed.
    pub passed: AtomicU64,
    /// Connections dropped because they sent something else than frames, or because nobody knows
    /// whose they are.
    pub garbage: AtomicU64,
    /// Connections dropped because there are too many.
    pub crowded: AtomicU64,
}

pub(crate) struct Door {
    pub(crate) node: NodeId,
    /// Where the node itself listens.
    pub(crate) server: SocketAddr,
    pub(crate) wire: Wire,
    pub(crate) links: Arc<Links>,
    pub(crate) pids: Arc<Pids>,
    pub(crate) counters: Arc<DoorCounters>,
}

/// Who knocks, and what was read to find out.
struct Knock {
    peer: NodeId,
    /// It only asks whether it would be let in.
    probe: bool,
    first: Vec<u8>,
}

impl Door {
    /// Serves connections until the task is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        let mut visits = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, source)) if visits.len() < VISITS_MAX => {
                        let door = Arc::clone(&door);
                        visits.spawn(async move { door.visit(stream, source).await });
                    }
                    Ok((stream, _)) => {
                        door.counters.crowded.fetch_add(1, Ordering::Relaxed);
                        reset(stream);
                    }
                    // The process is out of descriptors: let some visits end before the next try.
                    Err(_) => {
                        if visits.join_next().await.is_none() {
                            sleep(LOOK).await;
                        }
                    }
                },
                Some(_) = visits.join_next() => {}
            }
        }
    }

    /// One connection, from its knock to its end. Errors end it; both peers see that on their own.
    async fn visit(&self, mut client: TcpStream, source: SocketAddr) {
        let links = match self.identify(&mut client, source).await {
            Ok(knock) => self.links_of(knock.peer).map(|links| (knock, links)),
            Err(_) => None,
        };
        let Some((knock, [inward, outward])) = links else {
            self.counters.garbage.fetch_add(1, Ordering::Relaxed);
            return reset(client);
        };
        let mut news = [inward.subscribe(), outward.subscribe()];
        let asked = resets(&news);
        if !admit(&client, knock.probe, &inward, &mut news).await {
            return reset(client);
        }
        if knock.probe {
            let welcome = Frame { kind: Kind::Welcome, term: PROBE_TERM, index: 0, body: vec![] };
            // A prober that went away has its answer already.
            let _ = client.write_all(&welcome.encode()).await;
            return;
        }
        let server = match timeout(SERVER_MAX, TcpStream::connect(self.server)).await {
            Ok(Ok(server)) => server,
            Ok(Err(_)) | Err(_) => return reset(client),
        };
        if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
            return reset(client);
        }
        self.counters.passed.fetch_add(1, Ordering::Relaxed);
        if let Err(broken) = self.carry(&mut client, knock, server, [inward, outward], asked).await
        {
            if matches!(broken, Broken::Garbage) {
                self.counters.garbage.fetch_add(1, Ordering::Relaxed);
            }
            reset(client);
        }
    }

    /// Carries both directions until both have ended or the connection is broken off.
    async fn carry(
        &self,
        client: &mut TcpStream,
        knock: Knock,
        mut server: TcpStream,
        [inward, outward]: [Arc<LinkState>; 2],
        asked: [u64; 2],
    ) -> Result<(), Broken> {
        let number = self.links.next_connection();
        let (_open, seeds) = Open::new(number, [Arc::clone(&inward), Arc::clone(&outward)]);
        let mut news = [inward.subscribe(), outward.subscribe()];
        let inwards = Pump::new(inward, number, seeds[0], knock.first);
        let outwards = Pump::new(outward, number, seeds[1], Vec::new());
        let ended = [Ended::default(), Ended::default()];
        let carried = {
            let (client_in, client_out) = client.split();
            let (server_in, server_out) = server.split();
            let both = async {
                tokio::try_join!(
                    inwards.carry(client_in, server_out, &ended[0], &ended[1]),
                    outwards.carry(server_in, client_out, &ended[1], &ended[0]),
                )
            };
            tokio::select! {
                carried = both => carried.map(|_| ()),
                () = changed(&mut news, |news| resets(news) != asked) => Err(Broken::Reset),
            }
        };
        if carried.is_err() {
            reset(server);
        }
        carried
    }

    /// Finds out who knocks.
    async fn identify(&self, client: &mut TcpStream, source: SocketAddr) -> io::Result<Knock> {
        if self.wire == Wire::Bytes {
            match self.owner(client.local_addr()?, source).await? {
                Owner::Node(peer) => return Ok(Knock { peer, probe: false, first: Vec::new() }),
                Owner::Us => {}
                Owner::Unknown => return Err(io::ErrorKind::PermissionDenied.into()),
            }
        }
        let (hello, first) = timeout(HELLO_MAX, read_hello(client)).await??;
        let probe = hello.term == PROBE_TERM;
        match u8::try_from(hello.index) {
            Ok(peer) if probe || self.wire == Wire::Frames => {
                Ok(Knock { peer: NodeId(peer), probe, first })
            }
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// The owner of the knocking socket. A process that has just been started may knock before we
    /// have been told of it.
    async fn owner(&self, door: SocketAddr, source: SocketAddr) -> io::Result<Owner> {
        let find = async {
            loop {
                let pids = Arc::clone(&self.pids);
                let found = tokio::task::spawn_blocking(move || pids.owner(source, door)).await;
                match found.map_err(io::Error::other)? {
                    Owner::Unknown => sleep(LOOK).await,
                    owner => return Ok(owner),
                }
            }
        };
        timeout(HELLO_MAX / 4, find).await.unwrap_or(Ok(Owner::Unknown))
    }

    /// The links towards the node and back.
    fn links_of(&self, peer: NodeId) -> Option<[Arc<LinkState>; 2]> {
        Some([
            self.links.get(Link { from: peer, to: self.node })?,
            self.links.get(Link { from: self.node, to: peer })?,
        ])
    }
}

/// Waits until the connection may be made; says whether it may at all.
async fn admit(
    client: &TcpStream,
    probe: bool,
    inward: &LinkState,
    news: &mut [watch::Receiver<Summary>; 2],
) -> bool {
    let ask =
        |news: &[watch::Receiver<Summary>; 2]| admission(*news[0].borrow(), *news[1].borrow());
    let asked = resets(news);
    if ask(news) == Admission::Hang {
        inward.leave_unanswered(probe);
        tokio::select! {
            () = changed(news, |news| ask(news) != Admission::Hang || resets(news) != asked) => {}
            () = gone(client) => return false,
        }
    }
    let refused = ask(news) == Admission::Refuse;
    // What we do ourselves to see whether a fault bites is no figure of it.
    if refused && !probe {
        inward.count(|stats| stats.refused += 1);
    }
    !refused && resets(news) == asked
}

fn resets(news: &[watch::Receiver<Summary>; 2]) -> [u64; 2] {
    [news[0].borrow().resets, news[1].borrow().resets]
}

/// Waits until what is in force on two links is as wanted. Never returns when the network is gone,
/// because its connections are then dropped anyway.
async fn changed(
    news: &mut [watch::Receiver<Summary>; 2],
    wanted: impl Fn(&[watch::Receiver<Summary>; 2]) -> bool,
) {
    while !wanted(news) {
        let [inward, outward] = news;
        let alive = tokio::select! {
            changed = inward.changed() => changed,
            changed = outward.changed() => changed,
        };
        if alive.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Waits until the other side has closed a connection that nobody reads.
async fn gone(stream: &TcpStream) {
    while let Ok(ready) = stream.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Bytes that nobody reads keep the stream ready, so this cannot be waited for.
        sleep(LOOK).await;
    }
}

/// Reads exactly the first frame, so that no byte after it has to be kept.
async fn read_hello(stream: &mut TcpStream) -> io::Result<(Frame, Vec<u8>)> {
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
    Ok((frame, bytes))
}

/// Closes a connection with a reset, as a firewall that rejects would.
fn reset(stream: TcpStream) {
    // Best effort: without it the close is an ordinary one.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
