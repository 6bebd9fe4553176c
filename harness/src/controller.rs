//! One run: one event loop, which is the only writer of the run's state and of its history.
//!
//! Everything that happens arrives as an [`Incoming`] in one bounded queue: lines of the nodes, ends
//! of processes, ends of steps. The loop records it, lets the scheduler see it, and begins the steps
//! that are due. What takes time (waiting for the proof of a fault, a client's reply) is done in
//! tasks that report back.
//!
//! Whatever ends a run, dropping the controller kills every node.
//!
//! This file is the loop and the phases of a run; its parts are what the loop does about the nodes'
//! processes and output, about the steps, about healing, and about the clients.

mod clients;
mod healing;
mod nodes;
mod stalls;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::Duration,
};
use usurper_checks::stall_grace_ns;
use usurper_history::{
    Body, Clock, FORMAT_VERSION, HarnessEvent, Header, NodeId, Record, Writer, sort_file,
};
use usurper_nemesis::{Deadline, Done, Network, NetworkOptions, Output, Scheduler, TimeSpan};

pub(crate) use self::nodes::NodeState;
use self::stalls::{Stall, StallWatch};
use crate::{
    act::Ended,
    failure::Failure,
    following::Following,
    judged::Judged,
    machine::Machine,
    plan::{Plan, events_of},
    reporter::Reporter,
    store::RunDir,
    system::{self, System},
    workload::{Answered, Load},
};

/// How long all nodes together may take to get ready.
const READY_MAX: Duration = Duration::from_secs(10);
/// How much longer than the leader bound a leader is waited for at the end, so that its absence is
/// beyond doubt.
const SETTLE_MORE: Duration = Duration::from_secs(1);
/// How long the nodes are watched after the last read of a client.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// How long a node may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Events that wait for the loop; a node that outruns it is slowed down, not lost.
const QUEUE: usize = 1 << 14;
/// The runs that this process has begun.
static RUNS: AtomicU64 = AtomicU64::new(0);
/// What has come in is handled together, up to so many at a time, before anything is done about it.
const BATCH_MAX: usize = 64;
/// How a run ended that was carried through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RunEnd {
    Complete,
    Interrupted,
    /// What it was for was found by then.
    Found(Done),
}

/// What the loop is woken by.
#[derive(Debug)]
pub(crate) enum Incoming {
    Output {
        node: NodeId,
        inc: u32,
        output: Output,
        read_ns: u64,
    },
    /// A step that was begun has ended.
    Ended(Box<Ended>),
    /// A client's operation has ended.
    Answered(Answered),
}

/// Runs a plan to its end and leaves its history in `dir`, in the order of time.
///
/// # Errors
/// When the harness fails: a node never starts, a fault cannot be healed, the store is full.
pub(crate) async fn run(
    plan: &Plan,
    dir: &RunDir,
    started: &str,
    reporter: &mut dyn Reporter,
    interrupt: watch::Receiver<Option<&'static str>>,
) -> Result<RunEnd, Failure> {
    let mut controller = Controller::provision(plan, dir, started, reporter, interrupt).await?;
    let end = controller.carry_through().await;
    if let Err(failure) = &end {
        let message = format!("{:#}", failure.error);
        // The first failure is the one to report; this line may meet the same full disk.
        let _ = controller.record(Body::Harness(HarnessEvent::Error { message }));
    }
    let stopped = controller.stop().await;
    let end = end?;
    stopped?;
    sort_file(&dir.history()).map_err(Failure::harness)?;
    Ok(end)
}

pub(crate) struct Controller<'a> {
    plan: &'a Plan,
    pub(crate) dir: &'a RunDir,
    pub(crate) system: &'static dyn System,
    pub(crate) clock: Clock,
    stalls: StallWatch,
    election_timeout_ns: u64,
    /// No other run of this process has it.
    pub(crate) number: u64,
    writer: Writer,
    reporter: &'a mut dyn Reporter,
    interrupt: watch::Receiver<Option<&'static str>>,
    interrupted: bool,
    pub(crate) network: Arc<Network>,
    pub(crate) nodes: BTreeMap<NodeId, NodeState>,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    scheduler: Scheduler,
    following: Following,
    /// The verdict so far, where the run ends with the first finding.
    judged: Option<Judged>,
    load: Option<Load>,
    steps_begun: u64,
    /// The places of the plan's steps that have begun.
    begun: BTreeSet<usize>,
    /// When the last of those without a track did, or the schedule.
    begun_ns: u64,
    steps_open: usize,
    pub(crate) operations: u32,
    sender: mpsc::Sender<Incoming>,
    receiver: mpsc::Receiver<Incoming>,
}

impl<'a> Controller<'a> {
    async fn provision(
        plan: &'a Plan,
        dir: &'a RunDir,
        started: &str,
        reporter: &'a mut dyn Reporter,
        interrupt: watch::Receiver<Option<&'static str>>,
    ) -> Result<Self, Failure> {
        let system = system::find(&plan.system)?;
        let node_ids = plan.node_ids();
        let clock = Clock::start();
        let stalls = StallWatch::start(clock).context("cannot start a thread");
        let stalls = stalls.map_err(Failure::harness)?;
        let header = Header {
            version: FORMAT_VERSION,
            run: dir.name(),
            system: plan.system.clone(),
            scenario: plan.scenario.clone(),
            nodes: node_ids.clone(),
            seed: plan.seed,
            origin_ns: clock.origin_ns(),
            started: started.to_owned(),
            timing: system.timing(plan)?,
            defects: plan.defects.clone(),
            events: events_of(system, plan.nodes, plan.workload.as_ref())
                .into_iter()
                .map(str::to_owned)
                .collect(),
            checks: plan.checks.clone(),
            extra: plan.workload.iter().map(clients::in_header).collect(),
        };
        let writer = Writer::create(&dir.history(), &header).map_err(Failure::harness)?;
        let judged = (!plan.until.is_empty()).then(|| Judged::begin(&header, &plan.until));
        let hint = plan.seed ^ u64::from(std::process::id()).wrapping_mul(0x9e37_79b9);
        let options = NetworkOptions { hint, seed: plan.seed, wire: system.wire() };
        let network = Network::open_with(&node_ids, options).await.map_err(Failure::harness)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        Ok(Self {
            plan,
            dir,
            system,
            clock,
            stalls,
            election_timeout_ns: header.timing.election_timeout_ns,
            number: RUNS.fetch_add(1, Ordering::Relaxed),
            writer,
            reporter,
            interrupt,
            interrupted: false,
            network: Arc::new(network),
            nodes: BTreeMap::new(),
            machines: BTreeMap::new(),
            scheduler: Scheduler::new(plan.steps.clone(), &node_ids, plan.seed),
            following: Following::new(&node_ids, system.events().contains(&"leader-known")),
            judged: judged.transpose()?,
            load: None,
            steps_begun: 0,
            begun: BTreeSet::new(),
            begun_ns: 0,
            steps_open: 0,
            operations: 0,
            sender,
            receiver,
        })
    }

    async fn carry_through(&mut self) -> Result<RunEnd, Failure> {
        self.phase("start")?;
        for node in self.plan.node_ids() {
            self.spawn(node)?;
        }
        let ready = |c: &Self| c.nodes.values().all(|node| *node.ready.borrow());
        let ended = |c: &Self| c.nodes.values().any(|node| node.process.is_none());
        self.until(|c| c.interrupted || ready(c) || ended(c), READY_MAX).await?;
        if !self.interrupted && !ready(self) {
            return Err(self.never_ready());
        }
        if !self.interrupted {
            self.phase("run")?;
            self.start_load();
            self.begun_ns = self.clock.now_ns();
            self.scheduler.begin(self.begun_ns);
            let done = |c: &Self| c.is_over() || c.scheduler.all_ended();
            self.until(done, self.plan.time.0).await?;
            if !self.is_over() {
                self.record_missed()?;
            }
        }
        let since = |c: &Self, since_ns: u64| {
            TimeSpan::millis((c.clock.now_ns() - since_ns).div_ceil(1_000_000))
        };
        let mut done = Done {
            begun: self.begun.clone(),
            rest: since(self, self.begun_ns),
            settled: TimeSpan::default(),
        };
        self.heal().await?;
        if !self.is_over() {
            self.phase("settle")?;
            let healed_ns = self.clock.now_ns();
            self.settle().await?;
            // A run that stopped in the middle of an election would show nothing about its end.
            self.await_leader().await?;
            done.settled = since(self, healed_ns);
        }
        if self.load.is_some() {
            self.end_load().await?;
            // The last reads took a while, and what happened at their end has yet to be told.
            self.until(|c| c.is_over(), LAST_LOOK).await?;
            if !self.is_over() {
                self.await_leader().await?;
            }
        }
        Ok(match self.is_over() {
            true if self.interrupted => RunEnd::Interrupted,
            true => RunEnd::Found(done),
            false => RunEnd::Complete,
        })
    }

    /// Watches the healed cluster, until it is calm if the plan says so.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Some(calm) = self.plan.calm else {
            self.until(|c| c.is_over(), self.plan.settle.0).await?;
            return Ok(());
        };
        let end_ns = self.clock.now_ns().saturating_add(self.plan.settle.as_nanos());
        loop {
            // Since when nothing has changed that an election would change.
            let since_ns = self.following.calm_since_ns();
            let now_ns = self.clock.now_ns();
            let calm_ns = since_ns.map(|since| since.saturating_add(calm.as_nanos()));
            if self.is_over() || now_ns >= end_ns || calm_ns.is_some_and(|calm| now_ns >= calm) {
                return Ok(());
            }
            let until_ns = calm_ns.unwrap_or(end_ns).min(end_ns);
            let changed = |c: &Self| c.is_over() || c.following.calm_since_ns() != since_ns;
            self.until(changed, Duration::from_nanos(until_ns - now_ns)).await?;
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::harness)
    }

    /// Waits for a leader, as long as the check of that does: a run that stopped in the middle of an
    /// election would show nothing about its end.
    async fn await_leader(&mut self) -> Result<(), Failure> {
        if !self.system.events().contains(&"leader-elected") {
            return Ok(());
        }
        let asked = self.plan.checks.get("no-leader").and_then(|check| check.get("bound-ns"));
        let usual = self.system.timing(self.plan)?.leader_bound_ns;
        let bound = Duration::from_nanos(asked.and_then(Value::as_u64).unwrap_or(usual));
        let done = |c: &Self| {
            // Nobody can lead where most nodes have ended by themselves.
            let running = c.nodes.values().filter(|state| state.process.is_some()).count();
            c.is_over() || c.scheduler.bindings().somebody_leads() || running * 2 <= c.nodes.len()
        };
        self.until(done, bound + SETTLE_MORE).await?;
        Ok(())
    }

    /// Handles what comes until `done` or until the time is over, in which the machine ran; says whether it
    /// was done.
    async fn until(
        &mut self,
        done: impl Fn(&Self) -> bool,
        time: Duration,
    ) -> Result<bool, Failure> {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut deadline = Deadline::new(self.clock.now_ns(), time_ns);
        let mut woken_ns = self.clock.now_ns();
        loop {
            // Taken first: a step that is due at the very end is still begun.
            let now_ns = self.clock.now_ns();
            let over = deadline.is_over(now_ns);
            deadline.prolong(self.record_stalls());
            // What was seen is in the file before anything is done because of it.
            self.flush()?;
            self.begin_due()?;
            self.ask_due()?;
            if done(self) {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
            let asks_ns = self.load.as_ref().and_then(Load::next_due_ns);
            let due_ns = self.scheduler.next_due_ns().into_iter().chain(asks_ns).min();
            let wait = Duration::from_nanos(deadline.wait_ns(now_ns, due_ns));
            // No front door is served meanwhile.
            self.stalls.worked(woken_ns, self.clock.now_ns());
            let incoming = tokio::select! {
                incoming = self.receiver.recv() => {
                    Some(incoming.expect("we hold a sender ourselves"))
                }
                signal = interrupted(&mut self.interrupt), if !self.interrupted => {
                    self.interrupted = true;
                    let signal = signal.to_owned();
                    self.record(Body::Harness(HarnessEvent::Interrupted { signal }))?;
                    None
                }
                () = tokio::time::sleep(wait) => None,
            };
            woken_ns = self.clock.now_ns();
            if let Some(incoming) = incoming {
                self.handle(incoming)?;
                for _ in 1..BATCH_MAX {
                    let Ok(incoming) = self.receiver.try_recv() else { break };
                    self.handle(incoming)?;
                }
            }
        }
    }

    fn handle(&mut self, incoming: Incoming) -> Result<(), Failure> {
        match incoming {
            Incoming::Output { node, inc, output, read_ns } => {
                self.handle_output(node, inc, output, read_ns)
            }
            Incoming::Ended(ended) => self.handle_ended(*ended),
            Incoming::Answered(answered) => {
                self.handle_answered(answered);
                Ok(())
            }
        }
    }

    /// Writes down when the machine stood still, and says for how long no check counts the time after that.
    fn record_stalls(&mut self) -> u64 {
        let noticed = self.stalls.take();
        let mut grace_ns = 0;
        for Stall { from_ns, until_ns } in noticed.stalls {
            grace_ns += stall_grace_ns(until_ns - from_ns, self.election_timeout_ns);
            let stall = HarnessEvent::Stall { until: until_ns };
            // Of the time at which it began: whoever reads on knows that what follows came after it.
            let record = Record::new(from_ns, Body::Harness(stall));
            self.writer.push(&record);
            self.seen(&record);
        }
        if let Some(judged) = &mut self.judged {
            judged.judge_until(noticed.looked_ns);
        }
        grace_ns
    }

    /// Takes note of a record that has just been written.
    fn seen(&mut self, record: &Record) {
        self.scheduler.observe(record);
        self.following.observe(record);
        self.reporter.record(record);
        if let Some(judged) = &mut self.judged {
            judged.observe(record);
        }
    }

    /// Nothing more is to be done: somebody asked the run to stop, or what it was for has been found.
    fn is_over(&self) -> bool {
        self.interrupted || self.judged.as_ref().is_some_and(Judged::has_found)
    }

    /// Records something that the harness itself did or saw, now.
    pub(crate) fn record(&mut self, body: Body) -> Result<(), Failure> {
        let record = Record::new(self.clock.now_ns(), body);
        self.writer.append(&record).map_err(Failure::harness)?;
        self.seen(&record);
        Ok(())
    }

    fn phase(&mut self, phase: &str) -> Result<(), Failure> {
        self.record(Body::Harness(HarnessEvent::Phase { phase: phase.to_owned() }))
    }
}

/// Waits until somebody asks the run to stop. Never returns when nobody can.
async fn interrupted(interrupt: &mut watch::Receiver<Option<&'static str>>) -> &'static str {
    match interrupt.wait_for(Option::is_some).await {
        Ok(signal) => signal.expect("waited for Some"),
        Err(_) => std::future::pending().await,
    }
}
