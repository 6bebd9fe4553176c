//! The clients of a run, as the controller has them.
//!
//! The controller alone decides what is asked and writes it down; a task per client does what it is
//! told, one operation at a time, and reports. An operation leaves for its client only when its
//! `invoke` has been written: [`Load::due`] makes the records, [`Load::send`] lets the operations go.
//!
//! A client whose operation has an unknown outcome is done for: its place is taken by a new process
//! with a connection of its own, as Jepsen has it. Nothing is asked twice.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;
use usurper_history::{NodeId, OpRecord, OpType};
use usurper_nemesis::Network;

use super::{
    generator::{Drawn, Generator},
    keys::Keys,
    spec::{Kind, Servers, Workload},
};
use crate::{
    act,
    controller::Incoming,
    system::{Client, ClientOptions, Operated, Operation, System},
};

/// In a closed loop, who could not be served waits so long before it asks again.
const PAUSE: Duration = Duration::from_millis(50);

/// An operation of a client has ended.
#[derive(Debug)]
pub(crate) struct Answered {
    client: usize,
    operated: Operated,
}

/// Where a run's clients are.
pub(crate) struct Cluster {
    pub(crate) system: &'static dyn System,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) network: Arc<Network>,
    pub(crate) run: String,
}

pub(crate) struct Load {
    workload: Workload,
    cluster: Cluster,
    reports: mpsc::Sender<Incoming>,
    keys: Keys,
    clients: Vec<ClientState>,
    pace: Pace,
    stopped: bool,
    open: usize,
    /// Operations whose `invoke` has been made, but perhaps not been written.
    outbox: Vec<(usize, Operation)>,
}

struct ClientState {
    asks: Asks,
    server: NodeId,
    /// None: the next operation is the first of a new process.
    process: Option<u32>,
    /// The task with the connection, if there is one.
    task: Option<mpsc::Sender<Operation>>,
    open: Option<(Drawn, OpRecord)>,
}

/// What a client asks for.
enum Asks {
    Drawn(Box<Generator>),
    /// These, until one is not answered.
    Listed(VecDeque<Operation>),
}

/// When clients ask.
enum Pace {
    /// Each when it was answered, at the earliest at the time beside it.
    Closed(BinaryHeap<Reverse<(u64, usize)>>),
    /// At random times, the one that has been idle for longest. A time that finds every client busy is left out.
    Open { rng: Box<StdRng>, interval: Duration, next_ns: u64, idle: VecDeque<usize> },
}

impl Load {
    /// The clients of a run, which ask from `now_ns` on.
    pub(crate) fn start(
        workload: &Workload,
        cluster: Cluster,
        seed: u64,
        now_ns: u64,
        reports: mpsc::Sender<Incoming>,
    ) -> Self {
        let client = |number: u32| ClientState {
            asks: Asks::Drawn(Box::new(Generator::new(workload, number, seed))),
            server: cluster.nodes[number as usize % cluster.nodes.len()],
            process: None,
            task: None,
            open: None,
        };
        let clients: Vec<_> = (0..workload.clients).map(client).collect();
        let all = 0..clients.len();
        let pace = match workload.rate {
            None => Pace::Closed(all.map(|client| Reverse((now_ns, client))).collect()),
            Some(rate) => Pace::Open {
                rng: Box::new(StdRng::seed_from_u64(seed ^ 0x61_7272_6976_616c)),
                interval: Duration::from_secs_f64(1.0 / rate),
                next_ns: now_ns,
                idle: all.collect(),
            },
        };
        Self {
            keys: Keys::new(workload.kind, workload.keys),
            workload: workload.clone(),
            cluster,
            reports,
            clients,
            pace,
            stopped: false,
            open: 0,
            outbox: Vec::new(),
        }
    }

    /// When somebody asks next, if not only after an answer.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        match &self.pace {
            _ if self.stopped => None,
            Pace::Closed(waiting) => waiting.peek().map(|Reverse((at, _))| *at),
            Pace::Open { next_ns, .. } => Some(*next_ns),
        }
    }

    /// The `invoke` records of what is due. `processes` counts those of the whole run.
    pub(crate) fn due(&mut self, now_ns: u64, processes: &mut u32) -> Vec<OpRecord> {
        let mut invoked = Vec::new();
        while let Some(client) = self.next_client(now_ns) {
            let state = &mut self.clients[client];
            let drawn = match &mut state.asks {
                Asks::Drawn(generator) => generator.next(&self.keys),
                Asks::Listed(rest) => match rest.pop_front() {
                    Some(operation) => Drawn { place: 0, operation },
                    None => continue,
                },
            };
            let process = *state.process.get_or_insert_with(|| {
                *processes += 1;
                *processes
            });
            let Operation { f, key, value } = drawn.operation.clone();
            let record = OpRecord {
                process,
                op_type: OpType::Invoke,
                f: f.to_owned(),
                key,
                value,
                server: Some(state.server),
                session: None,
                serial: None,
                error: None,
            };
            invoked.push(record.clone());
            self.outbox.push((client, drawn.operation.clone()));
            state.open = Some((drawn, record));
            self.open += 1;
        }
        invoked
    }

    /// Lets the operations go whose records have been written.
    pub(crate) fn send(&mut self) {
        for (client, operation) in self.outbox.drain(..) {
            let state = &mut self.clients[client];
            let cluster = &self.cluster;
            let task = state.task.get_or_insert_with(|| {
                let options = ClientOptions {
                    server: cluster.system.client_address(&cluster.network, state.server),
                    run: cluster.run.clone(),
                    kind: Some(self.workload.kind),
                    reads: self.workload.reads,
                    sessions: self.workload.sessions,
                    twice: self.workload.twice,
                };
                let connection = cluster.system.client(options);
                let (task, operations) = mpsc::channel(1);
                let timeout = self.workload.op_timeout.0;
                tokio::spawn(serve(client, connection, operations, timeout, self.reports.clone()));
                task
            });
            // It has one operation at a time, and ends only with the run.
            task.try_send(operation).expect("a client that is idle takes an operation");
        }
    }

    fn next_client(&mut self, now_ns: u64) -> Option<usize> {
        if self.stopped {
            return None;
        }
        match &mut self.pace {
            Pace::Closed(waiting) => {
                let Reverse((at, client)) = *waiting.peek()?;
                if at > now_ns {
                    return None;
                }
                waiting.pop();
                Some(client)
            }
            Pace::Open { rng, interval, next_ns, idle } => {
                while *next_ns <= now_ns {
                    // The gaps between independent arrivals are exponential.
                    let gap = interval.mul_f64(-f64::ln(1.0 - rng.random::<f64>()));
                    *next_ns += u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
                    if let Some(client) = idle.pop_front() {
                        return Some(client);
                    }
                }
                None
            }
        }
    }

    /// The record of how an operation ended.
    pub(crate) fn ended(&mut self, answered: Answered, now_ns: u64) -> OpRecord {
        let Answered { client, operated } = answered;
        let state = &mut self.clients[client];
        let (drawn, invoked) = state.open.take().expect("it was asked for");
        self.open -= 1;
        let served = operated.op_type == OpType::Ok
            || operated.op_type == OpType::Fail && operated.error.is_none();
        if operated.op_type == OpType::Info {
            (state.process, state.task) = (None, None);
        }
        match &mut state.asks {
            Asks::Listed(rest) if !served => rest.clear(),
            Asks::Listed(_) => {}
            Asks::Drawn(generator) => {
                let Operation { f, key, .. } = &drawn.operation;
                let name = key.as_deref().unwrap_or_default();
                let left = self.keys.ended(drawn.place, name, f, &operated);
                generator.ended(&drawn, &operated, left);
                if self.workload.servers == Servers::Leader && !served {
                    let next = operated.leader.unwrap_or_else(|| self.cluster.after(state.server));
                    if next != state.server {
                        (state.server, state.task) = (next, None);
                    }
                }
            }
        }
        match &mut self.pace {
            Pace::Open { idle, .. } => {
                idle.push_back(client);
            }
            Pace::Closed(waiting) => {
                // Whoever knows whom to ask instead need not wait.
                let pause =
                    if served || operated.leader.is_some() { Duration::ZERO } else { PAUSE };
                let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX / 2);
                waiting.push(Reverse((now_ns + pause, client)));
            }
        }
        act::complete(invoked, operated)
    }

    /// Nobody asks any more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Every operation has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open == 0
    }

    /// How long an operation that is open may still take.
    pub(crate) fn op_timeout(&self) -> Duration {
        self.workload.op_timeout.0
    }

    /// Has one new client per node read every key, as long as the node answers. Then nobody else asks.
    pub(crate) fn read_all(&mut self, nodes: &[NodeId], now_ns: u64) {
        let keys = if self.workload.kind == Kind::Lock { Vec::new() } else { self.keys.all() };
        let read = |key: &String| Operation { f: "read", key: Some(key.clone()), value: None };
        let reader = |node: &NodeId| ClientState {
            asks: Asks::Listed(keys.iter().map(read).collect()),
            server: *node,
            process: None,
            task: None,
            open: None,
        };
        self.clients = nodes.iter().map(reader).collect();
        let all = 0..self.clients.len();
        self.pace = Pace::Closed(all.map(|client| Reverse((now_ns, client))).collect());
        self.stopped = false;
    }

    /// Every read of [`Load::read_all`] has ended.
    pub(crate) fn has_read_all(&self) -> bool {
        let rest = |state: &ClientState| match &state.asks {
            Asks::Listed(rest) => !rest.is_empty(),
            Asks::Drawn(_) => false,
        };
        self.is_quiet() && !self.clients.iter().any(rest)
    }
}

impl Cluster {
    /// The node after this one, in turn.
    fn after(&self, node: NodeId) -> NodeId {
        let place = self.nodes.iter().position(|it| *it == node).unwrap_or(0);
        self.nodes[(place + 1) % self.nodes.len()]
    }
}

/// Does what one client is told, until nobody tells it any more.
async fn serve(
    client: usize,
    mut connection: Box<dyn Client>,
    mut operations: mpsc::Receiver<Operation>,
    timeout: Duration,
    reports: mpsc::Sender<Incoming>,
) {
    while let Some(operation) = operations.recv().await {
        let operated = connection.operate(&operation, timeout).await;
        let answered = Answered { client, operated };
        if reports.send(Incoming::Answered(answered)).await.is_err() {
            return;
        }
    }
}
