//! The node's loop: the only owner of the system, its timers, its log and its connections.

mod connections;

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

use self::connections::{BadFrames, Installed, Who};
use super::{
    connection::{Queued, Task},
    events::EventSink,
};
use crate::{
    machine::Machine,
    net,
    protocol::{
        ClientId, Input, Message, Output, Protocol, RecoverError, Reply, Request, Setup, Stamped,
        Tick,
    },
    store::{Before, Owner, Store, StoreError},
    wire::{Hello, Stream, StreamError, to_json},
};

/// What tasks may have handed over before the loop takes it; then they wait.
const INCOMING_MAX: usize = 1024;
/// Inputs that are taken before the timers are looked at again.
const BATCH_MAX: usize = 256;
/// With the defect `no-disk-watchdog`, what may wait for the disk; more than that blocks the node.
const STUCK_MAX: usize = 1 << 16;
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

impl<P: Protocol> Node<P> {
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
