//! The node's loop: the only owner of the system, its timers, its log and its connections.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use nix::sys::signal::{Signal, raise};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use usurper_history::{
    Clock, Event, NodeId,
    control::{ClockName, FailpointAct},
    frame::{Frame, Kind},
};

use super::{
    connection::{Connection, Queued, Task},
    dialer::dial_for_ever,
    events::EventSink,
    listener::listen,
};
use crate::{
    machine::Machine,
    net,
    protocol::{
        ClientId, Input, Message, Output, Protocol, RecoverError, Reply, Request, Setup, Stamped,
        Tick,
    },
    store::{Before, Owner, Store, StoreError},
    wire::{Hello, Stream, StreamError, Welcome, to_json},
};

/// What tasks may have handed over before the loop takes it; then they wait.
const INCOMING_MAX: usize = 1024;
/// Inputs that are taken before the timers are looked at again.
const BATCH_MAX: usize = 256;
const CLIENTS_MAX: usize = 256;
/// With the defect `no-disk-watchdog`, what may wait for the disk; more than that blocks the node.
const STUCK_MAX: usize = 1 << 16;
/// Strangers' garbage is noted once in this time, and counted in between.
const BAD_FRAME_INTERVAL: Duration = Duration::from_secs(1);

/// Why a node did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("the connection with `{0}` was freed long ago")]
    Freed(NodeId),
    #[error("cannot write events to standard output")]
    Output(#[source] io::Error),
}

/// Where a node runs.
#[derive(Debug)]
pub struct Place {
    pub cluster: String,
    /// Bound already: once the node says that it has started, it can be reached.
    pub listener: TcpListener,
    pub peers: BTreeMap<NodeId, SocketAddr>,
    pub data: PathBuf,
    pub before: Before,
    pub clock: Clock,
    pub machine: Arc<Machine>,
}

/// What the tasks hand to the loop.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Somebody dialled, and said who it is.
    Greeted {
        stream: Stream,
        hello: Hello,
    },
    /// Somebody dialled, and did not.
    Stranger(StreamError),
    /// `over` ends when the dial was welcomed or has failed.
    Dialling {
        peer: NodeId,
        over: oneshot::Receiver<()>,
    },
    /// For the defect `listener-gives-up`.
    Deaf,
    /// For the defect `no-disk-watchdog`: the disk does not stall any more.
    DiskIsBack,
    /// A dial was welcomed. `held` is dropped when the connection is.
    Dialled {
        peer: NodeId,
        inc: u32,
        stream: Stream,
        held: oneshot::Sender<()>,
    },
    Frame {
        connection: u64,
        frame: Frame,
    },
    Closed {
        connection: u64,
        error: StreamError,
    },
}

/// Runs a node until `stop` is ready.
///
/// # Errors
/// When it cannot start, its disk fails, or nobody reads its events.
pub async fn serve<P: Protocol>(
    setup: &Setup,
    place: Place,
    events: Box<dyn Write>,
    stop: impl Future<Output = ()>,
) -> Result<(), ShellError> {
    let forgives = setup.defects.iter().any(|defect| defect == "truncate-on-crc");
    let owner = Owner { node: setup.id, cluster: &place.cluster, forgives };
    let (store, records) =
        Store::open(&place.data, owner, place.before, Arc::clone(&place.machine.disk))?;
    let protocol = P::recover(setup, &records)?;
    let (sender, receiver) = mpsc::channel(INCOMING_MAX);
    let mut node = Node {
        id: setup.id,
        inc: setup.inc,
        cluster: place.cluster,
        ticks: protocol.clock(),
        protocol,
        store,
        machine: place.machine,
        events: EventSink::new(setup.id, setup.inc, P::NAME, place.clock, events),
        timers: BTreeMap::new(),
        peers: place.peers.keys().map(|peer| (*peer, None)).collect(),
        connections: BTreeMap::new(),
        connections_made: 0,
        bad_frames: BadFrames::default(),
        defects: net::Defects::of(&setup.defects),
        stale: false,
        stuck: None,
        incoming: sender,
        tasks: Vec::new(),
        requests: Vec::new(),
    };
    node.input(Input::Start)?;
    if node.store.forgave() {
        node.hit("truncate-on-crc", "a damaged record of the log");
    }
    node.connect(place.listener, &place.peers, setup.seed);
    node.run(receiver, stop).await
}

struct Node<P: Protocol> {
    id: NodeId,
    inc: u32,
    cluster: String,
    /// The clock that the system goes by. Events are stamped with the true time.
    ticks: ClockName,
    protocol: P,
    store: Store,
    machine: Arc<Machine>,
    events: EventSink,
    timers: BTreeMap<P::Timer, Tick>,
    /// The connection with each peer, if there is one.
    peers: BTreeMap<NodeId, Option<u64>>,
    connections: BTreeMap<u64, Installed>,
    connections_made: u64,
    bad_frames: BadFrames,
    defects: net::Defects,
    /// For the defect `poller-stale-fd`: a closed connection is still polled.
    stale: bool,
    /// For the defect `no-disk-watchdog`: what waits for the disk, while heartbeats do not.
    stuck: Option<Vec<Output<P::Message, P::Timer>>>,
    incoming: mpsc::Sender<Incoming>,
    /// The listener and the dialers.
    tasks: Vec<Task>,
    /// Requests that came one after the other: the system is handed them together.
    requests: Vec<(ClientId, Request)>,
}

struct Installed {
    who: Who,
    connection: Connection,
    /// Tells the dialer when it is dropped.
    _held: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Peer { id: NodeId, inc: u32 },
    Client,
}

#[derive(Default)]
struct BadFrames {
    noted_at: Option<Tick>,
    since: u64,
}

impl<P: Protocol> Node<P> {
    fn connect(
        &mut self,
        listener: TcpListener,
        addresses: &BTreeMap<NodeId, SocketAddr>,
        seed: u64,
    ) {
        let gives_up = self.defects.listener_gives_up;
        self.tasks.push(Task::spawn(listen(listener, self.incoming.clone(), gives_up)));
        for (peer, address) in addresses {
            // The larger id owns the connection of a pair, whoever was there first.
            if *peer > self.id && !self.defects.no_dial_owner {
                continue;
            }
            let hello = Hello::Node { id: self.id, inc: self.inc, cluster: self.cluster.clone() };
            let seed = seed ^ u64::from(self.id.0) << 8 ^ u64::from(peer.0);
            let back_off = !self.defects.no_dial_owner;
            let incoming = self.incoming.clone();
            let dialer = dial_for_ever(*peer, *address, hello, seed, back_off, incoming);
            self.tasks.push(Task::spawn(dialer));
        }
    }

    async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Incoming>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ShellError> {
        tokio::pin!(stop);
        // A handle of its own: the loop has to be free to change the node meanwhile.
        let machine = Arc::clone(&self.machine);
        loop {
            // The next turn comes with the next message, and fails as this one did.
            let next = self.timers.values().min().filter(|_| !self.stale);
            let next = next.map(|at| at.since(self.now()));
            let next = next.map(|wait| machine.clocks.real_time(self.ticks, wait));
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                Some(item) = incoming.recv() => {
                    self.take(item).await?;
                    for _ in 1..BATCH_MAX {
                        let Ok(item) = incoming.try_recv() else { break };
                        self.take(item).await?;
                    }
                    self.hand_requests()?;
                }
                () = machine.clocks.changed() => {}
                () = tokio::time::sleep(next.unwrap_or(Duration::MAX)), if next.is_some() => {}
            }
            if !self.stale {
                self.fire_due()?;
            }
        }
    }

    fn now(&self) -> Tick {
        self.machine.clocks.now(self.ticks)
    }

    fn fire_due(&mut self) -> Result<(), ShellError> {
        let now = self.now();
        let mut due: Vec<_> = self
            .timers
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(timer, at)| (*at, *timer))
            .collect();
        due.sort_unstable();
        for (at, timer) in due {
            // One that fired before may have cancelled or moved it.
            if self.timers.get(&timer) == Some(&at) {
                self.timers.remove(&timer);
                self.input(Input::Timer(timer))?;
            }
        }
        Ok(())
    }

    /// Hands the system the requests that have come.
    fn hand_requests(&mut self) -> Result<(), ShellError> {
        match std::mem::take(&mut self.requests) {
            requests if requests.is_empty() => Ok(()),
            requests => self.step(Input::Requests(requests)),
        }
    }

    /// Hands the system an input, after the requests that came before it.
    fn input(&mut self, input: Input<P::Message, P::Timer>) -> Result<(), ShellError> {
        self.hand_requests()?;
        self.step(input)
    }

    /// Steps the system, and does what it wants.
    fn step(&mut self, input: Input<P::Message, P::Timer>) -> Result<(), ShellError> {
        let mut outputs = self.protocol.step(self.now(), input);
        if self.protocol.beats_while_disk_stalls() {
            outputs = self.leave_to_the_disk(outputs);
        }
        self.perform(outputs)
    }

    /// With the defect `no-disk-watchdog` a thread of its own speaks for a node whose disk stalls: only
    /// what has nothing to do with the disk is left to do now.
    fn leave_to_the_disk(
        &mut self,
        outputs: Vec<Output<P::Message, P::Timer>>,
    ) -> Vec<Output<P::Message, P::Timer>> {
        let needs_disk =
            |output: &Output<_, _>| matches!(output, Output::Sync(_) | Output::Rewrite { .. });
        let begins = self.machine.disk.is_stalled() && outputs.iter().any(needs_disk);
        if self.stuck.is_none() && begins {
            self.hit("no-disk-watchdog", "the disk stalls");
            self.stuck = Some(Vec::new());
            let (disk, incoming) = (Arc::clone(&self.machine.disk), self.incoming.clone());
            std::thread::spawn(move || {
                disk.wait_until_restored();
                // Nobody to tell means that the node is stopping.
                let _stopping = incoming.blocking_send(Incoming::DiskIsBack);
            });
        }
        let Some(stuck) = &mut self.stuck else { return outputs };
        let beats = |output: &Output<P::Message, P::Timer>| match output {
            Output::SetTimer(..) | Output::CancelTimer(_) => true,
            Output::Event(stamped) => matches!(stamped.event, Event::Heartbeat { .. }),
            Output::Send { message, .. } => {
                matches!(message.to_frame().kind, Kind::Heartbeat | Kind::HeartbeatReply)
            }
            _ => false,
        };
        let (now, later): (Vec<_>, Vec<_>) = outputs.into_iter().partition(beats);
        stuck.extend(later);
        if stuck.len() < STUCK_MAX {
            return now;
        }
        let mut all = self.stuck.take().unwrap_or_default();
        all.extend(now);
        all
    }

    fn perform(&mut self, outputs: Vec<Output<P::Message, P::Timer>>) -> Result<(), ShellError> {
        // All events up to the next write are written at once, and then the messages are sent.
        let mut effects = Vec::new();
        for output in outputs {
            match output {
                Output::Event(stamped) => self.events.push(stamped),
                Output::SetTimer(timer, at) => {
                    self.timers.insert(timer, at);
                }
                Output::CancelTimer(timer) => {
                    self.timers.remove(&timer);
                }
                Output::Send { to, message } => effects.push(Effect::Send(to, message.to_frame())),
                Output::Reply { client, reply } => effects.push(Effect::Reply(client, reply)),
                Output::Write(record) => {
                    self.release(&mut effects)?;
                    self.write(&record)?;
                }
                Output::Sync(persisted) => {
                    self.release(&mut effects)?;
                    self.sync(persisted)?;
                }
                Output::Rewrite { records, persisted } => {
                    self.release(&mut effects)?;
                    let rewritten = self.store.rewrite(&records);
                    self.persisted(persisted, rewritten)?;
                }
                Output::Failpoint { point, term, role } => {
                    if let Some((act, delay)) = self.machine.failpoints.hit(point) {
                        let event =
                            Event::Failpoint { point: point.to_owned(), act: act.to_string() };
                        self.events.push(Stamped { term, role, event });
                        self.release(&mut effects)?;
                        self.stand(act, delay);
                    }
                }
            }
        }
        self.release(&mut effects)
    }

    /// What a failpoint does once its event is out. It blocks the only thread that the node has: its
    /// sockets stay open and fill.
    fn stand(&self, act: FailpointAct, delay: Duration) {
        match act {
            FailpointAct::Crash => {
                // As when somebody kills it: no destructor runs, no buffer is written.
                let error = raise(Signal::SIGKILL);
                unreachable!("a process survived its own SIGKILL: {error:?}");
            }
            FailpointAct::Pause => self.machine.failpoints.hold(None),
            FailpointAct::Delay => self.machine.failpoints.hold(Some(delay)),
        }
    }

    fn write(&mut self, record: &[u8]) -> Result<(), ShellError> {
        match self.store.write(record) {
            Err(_) if self.protocol.ignores_failed_write() => {
                self.hit("ignore-write-error", "write");
                Ok(())
            }
            written => Ok(written?),
        }
    }

    fn sync(&mut self, persisted: Vec<Stamped>) -> Result<(), ShellError> {
        let mut synced = self.store.sync();
        if synced.is_err() && self.protocol.retries_failed_sync() {
            let (term, role) = self.protocol.envelope();
            let (name, place) = ("retry-failed-sync".to_owned(), "sync".to_owned());
            self.events.push(Stamped { term, role, event: Event::DefectHit { name, place } });
            synced = self.store.sync();
        }
        self.persisted(persisted, synced)
    }

    /// Tells what is durable now, or that it failed to become so.
    fn persisted(
        &mut self,
        persisted: Vec<Stamped>,
        synced: Result<(), StoreError>,
    ) -> Result<(), ShellError> {
        for mut stamped in persisted {
            if let Event::Persist { ok, .. } = &mut stamped.event {
                *ok = synced.is_ok();
            }
            self.events.push(stamped);
        }
        if synced.is_err() {
            self.events.flush().map_err(ShellError::Output)?;
        }
        Ok(synced?)
    }

    fn release(&mut self, effects: &mut Vec<Effect>) -> Result<(), ShellError> {
        self.events.flush().map_err(ShellError::Output)?;
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(to, frame) => self.send(to, frame)?,
                Effect::Reply(client, reply) => {
                    let frame = Frame {
                        kind: Kind::Reply,
                        term: 0,
                        index: reply.serial,
                        body: to_json(&reply),
                    };
                    if let Some(installed) = self.connections.get_mut(&client.0) {
                        installed.connection.send(frame);
                    }
                }
            }
        }
        self.events.flush().map_err(ShellError::Output)
    }

    fn send(&mut self, to: NodeId, frame: Frame) -> Result<(), ShellError> {
        let Some(number) = self.peers.get(&to).copied().flatten() else { return Ok(()) };
        let Some(installed) = self.connections.get_mut(&number) else {
            self.hit("key-mismatch", "sends over a freed connection");
            self.events.flush().map_err(ShellError::Output)?;
            return Err(ShellError::Freed(to));
        };
        if installed.connection.send(frame) == (Queued::Full { first: true }) {
            self.note("half-open", Some(to), Some("its queue is full; messages are dropped"));
        }
        Ok(())
    }

    async fn take(&mut self, incoming: Incoming) -> Result<(), ShellError> {
        match incoming {
            Incoming::Greeted { stream, hello } => self.greeted(stream, hello).await,
            Incoming::Stranger(error) => {
                self.stranger(&error);
                self.flush()
            }
            Incoming::Dialling { peer, over } => {
                self.note("dial", Some(peer), None);
                if self.defects.blocking_dial {
                    self.hit("blocking-dial", "waits for the dial");
                    self.flush()?;
                    let _over = over.await;
                }
                self.flush()
            }
            Incoming::DiskIsBack => {
                let outputs = self.stuck.take().unwrap_or_default();
                self.perform(outputs)
            }
            Incoming::Deaf => {
                self.hit("listener-gives-up", "accepts no more");
                self.flush()
            }
            Incoming::Dialled { peer, inc, stream, held } => {
                let who = Who::Peer { id: peer, inc };
                self.install(who, stream, Some(held), "up").await?;
                self.input(Input::Connected(peer))
            }
            Incoming::Frame { connection, frame } => self.frame(connection, frame).await,
            Incoming::Closed { connection, error } => {
                self.drop_connection(connection, &error).await
            }
        }
    }

    fn flush(&mut self) -> Result<(), ShellError> {
        self.events.flush().map_err(ShellError::Output)
    }

    async fn greeted(&mut self, stream: Stream, hello: Hello) -> Result<(), ShellError> {
        let (who, cluster) = match hello {
            Hello::Node { id, inc, cluster } => (Who::Peer { id, inc }, cluster),
            Hello::Client { cluster } => (Who::Client, cluster),
        };
        if let Err(reason) = self.admit(who, &cluster) {
            let peer = match who {
                Who::Peer { id, .. } => Some(id),
                Who::Client => None,
            };
            self.note("drop", peer, Some(&format!("hello refused: {reason}")));
            return self.flush();
        }
        let number = self.install(who, stream, None, "accept").await?;
        let welcome = Welcome { id: self.id, inc: self.inc };
        if let Some(installed) = self.connections.get_mut(&number) {
            installed.connection.send(welcome.to_frame());
        }
        match who {
            Who::Peer { id, .. } => self.input(Input::Connected(id)),
            Who::Client => Ok(()),
        }
    }

    fn admit(&self, who: Who, cluster: &str) -> Result<(), String> {
        if cluster != self.cluster {
            return Err(format!("cluster `{cluster}`, not `{}`", self.cluster));
        }
        match who {
            Who::Client => {
                let clients =
                    self.connections.values().filter(|installed| installed.who == Who::Client);
                if clients.count() >= CLIENTS_MAX {
                    return Err(format!("more than {CLIENTS_MAX} clients"));
                }
            }
            Who::Peer { id, inc } => {
                let Some(connection) = self.peers.get(&id) else {
                    return Err("not a configured peer".to_owned());
                };
                if id < self.id && !self.defects.no_dial_owner {
                    return Err("the larger id dials".to_owned());
                }
                let before = connection.and_then(|number| self.connections.get(&number));
                if let Some(Who::Peer { inc: before, .. }) = before.map(|installed| installed.who)
                    && inc < before
                {
                    return Err(format!("incarnation {inc} after {before}"));
                }
            }
        }
        Ok(())
    }

    /// Installs a connection. An older one with the same peer is closed first.
    async fn install(
        &mut self,
        who: Who,
        stream: Stream,
        held: Option<oneshot::Sender<()>>,
        op: &str,
    ) -> Result<u64, ShellError> {
        self.connections_made += 1;
        let number = self.connections_made;
        if let Who::Peer { id, .. } = who {
            if let Some(old) = self.peers.insert(id, Some(number)).flatten()
                && let Some(installed) = self.connections.remove(&old)
            {
                self.note("replace", Some(id), None);
                if self.defects.no_dial_owner {
                    self.hit("no-dial-owner", "the newer connection wins");
                }
                installed.connection.close().await;
            }
            self.note(op, Some(id), None);
            self.flush()?;
        }
        let connection = Connection::start(number, stream, self.incoming.clone());
        self.connections.insert(number, Installed { who, connection, _held: held });
        Ok(number)
    }

    async fn frame(&mut self, number: u64, frame: Frame) -> Result<(), ShellError> {
        // It may have been replaced with frames of it still on the way here.
        let Some(installed) = self.connections.get(&number) else { return Ok(()) };
        match installed.who {
            Who::Peer { id, .. } => match P::Message::from_frame(&frame) {
                Some(message) => self.input(Input::Message { from: id, message }),
                None => {
                    let error = StreamError::Unexpected("not a message of this system");
                    self.drop_connection(number, &error).await
                }
            },
            Who::Client => match serde_json::from_slice(&frame.body) {
                Ok(request) if frame.kind == Kind::Request => {
                    self.requests.push((ClientId(number), request));
                    Ok(())
                }
                _ => {
                    let error = StreamError::Unexpected("not a request");
                    self.drop_connection(number, &error).await
                }
            },
        }
    }

    async fn drop_connection(
        &mut self,
        number: u64,
        error: &StreamError,
    ) -> Result<(), ShellError> {
        if self.defects.bad_frame_kills_receiver
            && error.is_bad_frame()
            && self.connections.get(&number).is_some_and(|it| it.who != Who::Client)
        {
            // Nobody reads it any more, and nobody makes a new one as long as it is open.
            self.hit("bad-frame-kills-receiver", "a frame that cannot be read");
            return self.flush();
        }
        let Some(installed) = self.connections.remove(&number) else { return Ok(()) };
        installed.connection.close().await;
        match installed.who {
            Who::Peer { id, .. } => {
                // By the id of the peer, which is what it was stored by.
                if self.defects.key_mismatch {
                    self.hit("key-mismatch", "its address is not in the map");
                } else {
                    self.peers.insert(id, None);
                }
                if self.defects.poller_stale_fd {
                    self.hit("poller-stale-fd", "a closed connection is still polled");
                    self.stale = true;
                }
                let op = if error.is_bad_frame() { "bad-frame" } else { "drop" };
                self.note(op, Some(id), Some(&error.to_string()));
                self.input(Input::Disconnected(id))?;
            }
            Who::Client if error.is_bad_frame() => self.stranger(error),
            Who::Client => {}
        }
        self.flush()
    }

    /// Notes garbage of somebody unknown, but not each time: a flood of it is one fact.
    fn stranger(&mut self, error: &StreamError) {
        let now = self.now();
        let flood = &mut self.bad_frames;
        flood.since += 1;
        if flood.noted_at.is_some_and(|at| now < at + BAD_FRAME_INTERVAL) {
            return;
        }
        flood.noted_at = Some(now);
        let count = std::mem::take(&mut flood.since);
        let op = if error.is_bad_frame() { "bad-frame" } else { "drop" };
        let reason = match count {
            1 => error.to_string(),
            _ => format!("{error} ({count} such connections since the last note)"),
        };
        self.note(op, None, Some(&reason));
    }

    fn hit(&mut self, name: &str, place: &str) {
        let (term, role) = self.protocol.envelope();
        let event = Event::DefectHit { name: name.to_owned(), place: place.to_owned() };
        self.events.push(Stamped { term, role, event });
    }

    fn note(&mut self, op: &str, peer: Option<NodeId>, reason: Option<&str>) {
        let (term, role) = self.protocol.envelope();
        let reason = reason.map(str::to_owned);
        let event = Event::Conn { op: op.to_owned(), peer, reason };
        self.events.push(Stamped { term, role, event });
    }
}

enum Effect {
    Send(NodeId, Frame),
    Reply(ClientId, Reply),
}
