//! One run: one event loop, which is the only writer of the run's state and of its history.
//!
//! Everything that happens arrives as an [`Incoming`] in one bounded queue: lines of the nodes, ends
//! of processes, ends of steps. The loop records it, lets the scheduler see it, and begins the steps
//! that are due. What takes time (waiting for the proof of a fault, a client's reply) is done in
//! tasks that report back.
//!
//! Whatever ends a run, dropping the controller kills every node.

use std::{collections::BTreeMap, fs::File, io::Write, process::Command, sync::Arc};

use anyhow::{Context, anyhow};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, timeout},
};
use usurper_history::{
    Body, Clock, Effect, Event, FORMAT_VERSION, FaultRecord, HarnessEvent, Header, NodeId,
    NodeRecord, Outcome, Phase, Record, Trigger, Writer, sort_file,
};
use usurper_nemesis::{
    Act, Due, Fault, Needs, Network, NetworkOptions, Output, Process, Resolved, Scheduler, Step,
    Stream,
};

use crate::{
    act::{self, Ended},
    failure::Failure,
    following::Following,
    machine::{Aspect, Machine, control_name},
    plan::{Plan, events_of},
    reporter::Reporter,
    store::RunDir,
    system::{self, LineReader, NodeSpec, Reading, System},
    workload::{Answered, Cluster, Load, Workload},
};

/// How long all nodes together may take to get ready.
const READY_MAX: Duration = Duration::from_secs(10);
/// How long healing may take before the run counts as failed.
const HEAL_MAX: Duration = Duration::from_secs(20);
/// How much longer than the leader bound a leader is waited for at the end, so that its absence is
/// beyond doubt.
const SETTLE_MORE: Duration = Duration::from_secs(1);
/// How long a node may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Events that wait for the loop; a node that outruns it is slowed down, not lost.
const QUEUE: usize = 1 << 14;
/// What has come in is handled together, up to so many at a time, before anything is done about it.
const BATCH_MAX: usize = 64;
/// How much longer than an operation may take its end is waited for.
const ANSWER_MORE: Duration = Duration::from_secs(1);
/// How long the last reads of all keys may take.
const READ_ALL_MAX: Duration = Duration::from_secs(10);
/// What undoes each aspect of a bent machine.
const RESTORES: [(Aspect, Fault); 3] = [
    (Aspect::Disk, Fault::DiskRestore),
    (Aspect::Clock, Fault::ClockRestore),
    (Aspect::Failpoint, Fault::FailpointRelease),
];
/// Lines of a dead node's standard error that are kept as evidence.
const STDERR_LINES: usize = 5;

/// How a run ended that was carried through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    Complete,
    Interrupted,
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

/// The state of one node's process.
pub(crate) struct NodeState {
    pub(crate) inc: u32,
    pub(crate) process: Option<Process>,
    pub(crate) frozen: bool,
    /// The harness has ended this incarnation, or is about to.
    pub(crate) expected_exit: bool,
    /// Whether this incarnation answers.
    pub(crate) ready: watch::Sender<bool>,
    reader: Box<dyn LineReader + Send>,
    /// Where lines that are not events go.
    log: File,
}

impl NodeState {
    /// Keeps a line of a foreign node's log.
    fn keep(&mut self, line: &[u8]) -> Result<(), Failure> {
        let kept = self.log.write_all(line).and_then(|()| self.log.write_all(b"\n"));
        kept.context("cannot keep a node's log").map_err(Failure::harness)
    }
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
    writer: Writer,
    reporter: &'a mut dyn Reporter,
    interrupt: watch::Receiver<Option<&'static str>>,
    interrupted: bool,
    pub(crate) network: Arc<Network>,
    pub(crate) nodes: BTreeMap<NodeId, NodeState>,
    pub(crate) machines: BTreeMap<NodeId, Machine>,
    scheduler: Scheduler,
    following: Following,
    load: Option<Load>,
    steps_begun: u64,
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
            extra: plan.workload.iter().map(in_header).collect(),
        };
        let writer = Writer::create(&dir.history(), &header).map_err(Failure::harness)?;
        let hint = plan.seed ^ u64::from(std::process::id()).wrapping_mul(0x9e37_79b9);
        let options = NetworkOptions { hint, seed: plan.seed, wire: system.wire() };
        let network = Network::open_with(&node_ids, options).await.map_err(Failure::harness)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        Ok(Self {
            plan,
            dir,
            system,
            clock,
            writer,
            reporter,
            interrupt,
            interrupted: false,
            network: Arc::new(network),
            nodes: BTreeMap::new(),
            machines: BTreeMap::new(),
            scheduler: Scheduler::new(plan.steps.clone(), &node_ids, plan.seed),
            following: Following::new(&node_ids, system.events().contains(&"leader-known")),
            load: None,
            steps_begun: 0,
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
            self.scheduler.begin(self.clock.now_ns());
            let done = |c: &Self| c.interrupted || c.scheduler.all_ended();
            self.until(done, self.plan.time.0).await?;
            self.record_missed()?;
        }
        self.heal().await?;
        if !self.interrupted {
            self.phase("settle")?;
            self.settle().await?;
            // A run that stopped in the middle of an election would show nothing about its end.
            self.await_leader().await?;
        }
        self.end_load().await?;
        Ok(if self.interrupted { RunEnd::Interrupted } else { RunEnd::Complete })
    }

    /// Watches the healed cluster, until it is calm if the plan says so.
    async fn settle(&mut self) -> Result<(), Failure> {
        let Some(calm) = self.plan.calm else {
            self.until(|c| c.interrupted, self.plan.settle.0).await?;
            return Ok(());
        };
        let end_ns = self.clock.now_ns().saturating_add(self.plan.settle.as_nanos());
        loop {
            // Since when nothing has changed that an election would change.
            let since_ns = self.following.calm_since_ns();
            let now_ns = self.clock.now_ns();
            let calm_ns = since_ns.map(|since| since.saturating_add(calm.as_nanos()));
            if self.interrupted || now_ns >= end_ns || calm_ns.is_some_and(|calm| now_ns >= calm) {
                return Ok(());
            }
            let until_ns = calm_ns.unwrap_or(end_ns).min(end_ns);
            let changed = |c: &Self| c.interrupted || c.following.calm_since_ns() != since_ns;
            self.until(changed, Duration::from_nanos(until_ns - now_ns)).await?;
        }
    }

    /// The clients of the workload begin to ask.
    fn start_load(&mut self) {
        let Some(workload) = &self.plan.workload else { return };
        let cluster = Cluster {
            system: self.system,
            nodes: self.plan.node_ids(),
            network: Arc::clone(&self.network),
            run: self.dir.name(),
        };
        let (now_ns, sender) = (self.clock.now_ns(), self.sender.clone());
        self.load = Some(Load::start(workload, cluster, self.plan.seed, now_ns, sender));
    }

    /// The clients stop asking, and then every key is read once more, from every node.
    async fn end_load(&mut self) -> Result<(), Failure> {
        let Some(load) = &mut self.load else { return Ok(()) };
        load.stop();
        let time = load.op_timeout() + ANSWER_MORE;
        let quiet = |load: &Load| load.is_quiet();
        self.until(|c| c.load.as_ref().is_none_or(quiet), time).await?;
        if !self.interrupted {
            self.phase("final-reads")?;
            let up = self.nodes_where(|state| state.process.is_some() && *state.ready.borrow());
            let now_ns = self.clock.now_ns();
            self.load.as_mut().map(|load| load.read_all(&up, now_ns)).unwrap_or_default();
            let read = |c: &Self| c.load.as_ref().is_none_or(Load::has_read_all);
            self.until(|c| c.interrupted || read(c), READ_ALL_MAX).await?;
        }
        // What is still open has no end in the history.
        self.load = None;
        Ok(())
    }

    /// Writes down what clients ask now, and then lets them ask.
    fn ask_due(&mut self) -> Result<(), Failure> {
        let Some(load) = &mut self.load else { return self.flush() };
        for op in load.due(self.clock.now_ns(), &mut self.operations) {
            let record = Record::new(self.clock.now_ns(), Body::Op(op));
            self.writer.push(&record);
            self.scheduler.observe(&record);
            self.reporter.record(&record);
        }
        self.writer.flush().map_err(Failure::harness)?;
        load.send();
        Ok(())
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
            c.interrupted || c.scheduler.bindings().somebody_leads() || running * 2 <= c.nodes.len()
        };
        self.until(done, bound + SETTLE_MORE).await?;
        Ok(())
    }

    /// Handles what comes until `done` or until the time is over; says whether it was done.
    async fn until(
        &mut self,
        done: impl Fn(&Self) -> bool,
        time: Duration,
    ) -> Result<bool, Failure> {
        let end_ns = self.clock.now_ns() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        loop {
            // Taken first: a step that is due at the very end is still begun.
            let now_ns = self.clock.now_ns();
            // What was seen is in the file before anything is done because of it.
            self.flush()?;
            self.begin_due()?;
            self.ask_due()?;
            if done(self) {
                return Ok(true);
            }
            if now_ns >= end_ns {
                return Ok(false);
            }
            let asks_ns = self.load.as_ref().and_then(Load::next_due_ns);
            let due_ns = self.scheduler.next_due_ns().into_iter().chain(asks_ns).min();
            let wake_ns = due_ns.map_or(end_ns, |due| due.min(end_ns));
            let wait = Duration::from_nanos(wake_ns.saturating_sub(now_ns));
            tokio::select! {
                incoming = self.receiver.recv() => {
                    self.handle(incoming.expect("we hold a sender ourselves"))?;
                    for _ in 1..BATCH_MAX {
                        let Ok(incoming) = self.receiver.try_recv() else { break };
                        self.handle(incoming)?;
                    }
                }
                signal = interrupted(&mut self.interrupt), if !self.interrupted => {
                    self.interrupted = true;
                    let signal = signal.to_owned();
                    self.record(Body::Harness(HarnessEvent::Interrupted { signal }))?;
                }
                () = tokio::time::sleep(wait) => {}
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
                // Nobody waits for one that comes after the end of the workload.
                let Some(load) = &mut self.load else { return Ok(()) };
                let now_ns = self.clock.now_ns();
                let record = Record::new(now_ns, Body::Op(load.ended(answered, now_ns)));
                self.writer.push(&record);
                self.seen(&record);
                Ok(())
            }
        }
    }

    fn handle_output(
        &mut self,
        node: NodeId,
        inc: u32,
        output: Output,
        read_ns: u64,
    ) -> Result<(), Failure> {
        match output {
            Output::Line(stream, line) => self.handle_line(node, inc, stream, &line, read_ns),
            Output::Torn(_, bytes) => {
                // A killed node leaves half a line behind; half a line from another is a defect.
                let killed = self.nodes.get(&node).is_none_or(|state| state.expected_exit);
                if killed { Ok(()) } else { self.bad_line(node, inc, &bytes, "it has no end") }
            }
            Output::Exited(exit) => {
                let Some(state) = self.nodes.get_mut(&node).filter(|state| state.inc == inc) else {
                    return Ok(());
                };
                let tolerated =
                    self.machines.get(&node).is_some_and(|machine| machine.tolerates(exit));
                // A tolerated end leaves a node to be restarted, as any other that was provoked.
                state.expected_exit |= tolerated;
                let expected = state.expected_exit;
                state.process = None;
                state.frozen = false;
                state.ready.send_replace(false);
                self.network.set_pid(node, None);
                let stderr = if expected { None } else { self.stderr_tail(node) };
                let (code, signal) = (exit.code, exit.signal);
                self.record(Body::Harness(HarnessEvent::Exit {
                    node,
                    inc,
                    code,
                    signal,
                    expected,
                    stderr,
                }))
            }
        }
    }

    fn handle_line(
        &mut self,
        node: NodeId,
        inc: u32,
        stream: Stream,
        line: &[u8],
        read_ns: u64,
    ) -> Result<(), Failure> {
        let Some(state) = self.nodes.get_mut(&node).filter(|state| state.inc == inc) else {
            return Ok(());
        };
        match state.reader.read(line, read_ns) {
            Reading::Record(record) => {
                let ours = matches!(&record.body, Body::Node(n) if n.node == node && n.inc == inc);
                if !ours {
                    return self.bad_line(node, inc, line, "it speaks for somebody else");
                }
                self.writer.push_line(line);
                self.seen(&record);
                if let Body::Node(NodeRecord { event: Event::Failpoint { point, act }, .. }) =
                    &record.body
                {
                    self.hit(node, point, act);
                }
                let started = matches!(&record.body,
                    Body::Node(node) if matches!(node.event, Event::NodeStart { .. }));
                if started { self.ready(node, inc) } else { Ok(()) }
            }
            Reading::Translated(records) => {
                state.keep(line)?;
                for record in records {
                    self.writer.push(&record);
                    self.seen(&record);
                }
                Ok(())
            }
            Reading::Serves => {
                state.keep(line)?;
                self.ready(node, inc)
            }
            Reading::Bad(error) if stream == Stream::Stdout => {
                self.bad_line(node, inc, line, &error)
            }
            Reading::Bad(_) => Ok(()),
        }
    }

    /// A node is at a failpoint. If it crashes there, that was asked for.
    fn hit(&mut self, node: NodeId, point: &str, act: &str) {
        self.machines.entry(node).or_default().hit(point);
        if let Some(state) = self.nodes.get_mut(&node) {
            state.expected_exit |= act == "crash";
        }
    }

    /// Takes note of a record that has just been written.
    fn seen(&mut self, record: &Record) {
        self.scheduler.observe(record);
        self.following.observe(record);
        self.reporter.record(record);
    }

    /// A node answers.
    fn ready(&mut self, node: NodeId, inc: u32) -> Result<(), Failure> {
        if let Some(state) = self.nodes.get(&node) {
            state.ready.send_replace(true);
        }
        self.machines.entry(node).or_default().came_up();
        self.record(Body::Harness(HarnessEvent::Ready { node, inc }))
    }

    fn bad_line(
        &mut self,
        node: NodeId,
        inc: u32,
        line: &[u8],
        error: &str,
    ) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(&line[..line.len().min(400)]).into_owned();
        let error = error.to_owned();
        self.record(Body::Harness(HarnessEvent::BadLine { node, inc, error, text }))
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

    /// Starts the next incarnation of a node.
    pub(crate) fn spawn(&mut self, node: NodeId) -> Result<(), Failure> {
        let inc = self.nodes.get(&node).map_or(1, |state| state.inc + 1);
        let folder = self.dir.node(node)?;
        let machine = self.machines.entry(node).or_default();
        let conditions = machine.start();
        let launch = self.system.launch(&NodeSpec {
            plan: self.plan,
            node,
            inc,
            network: &self.network,
            clock: self.clock,
            run: &self.dir.name(),
            data: &self.dir.data(node),
            control: &control_name(self.clock.origin_ns(), node, inc),
            conditions: &conditions,
            after_power: machine.power_lost,
        })?;
        let open = |name: &str| {
            let path = folder.join(name);
            let file = File::options().append(true).create(true).open(&path);
            let file = file.with_context(|| format!("cannot open `{}`", path.display()));
            file.map_err(Failure::harness)
        };
        let (stdout, stderr) = (open("stdout.log")?, open("stderr.log")?);
        let mut command = Command::new(&launch.program);
        command.args(&launch.args);
        let log = match launch.events {
            Stream::Stdout => {
                command.stdout(std::process::Stdio::piped()).stderr(stderr);
                stdout
            }
            Stream::Stderr => {
                command.stderr(std::process::Stdio::piped()).stdout(stdout);
                stderr
            }
        };
        let clock = self.clock;
        let wrap = move |output| Incoming::Output { node, inc, output, read_ns: clock.now_ns() };
        let process = Process::spawn(command, self.sender.clone(), wrap)
            .with_context(|| format!("cannot start `{}`", launch.program.display()))
            .map_err(Failure::harness)?;
        let pid = process.pid();
        self.network.set_pid(node, Some(pid));
        let state = NodeState {
            inc,
            process: Some(process),
            frozen: false,
            expected_exit: false,
            ready: watch::Sender::new(false),
            reader: self.system.reader(node, inc),
            log,
        };
        self.nodes.insert(node, state);
        self.record(Body::Harness(HarnessEvent::Spawn { node, inc, pid }))
    }

    /// Begins the steps whose time has come.
    fn begin_due(&mut self) -> Result<(), Failure> {
        for due in self.scheduler.due(self.clock.now_ns()) {
            let Due { index, step, trigger, resolved } = due;
            self.begin(Some(index), &step, trigger, resolved)?;
        }
        Ok(())
    }

    /// Begins one step: records it, then does it in a task that reports its end.
    fn begin(
        &mut self,
        index: Option<usize>,
        step: &Step,
        trigger: Option<Trigger>,
        resolved: Result<Resolved, String>,
    ) -> Result<(), Failure> {
        self.steps_begun += 1;
        let info = step.fault.info();
        let asked = resolved.clone().unwrap_or_default();
        let (nodes, misfit) = step.fault.fitting(&asked.nodes, self);
        let on_links = info.needs == Needs::Links || step.effect() == Effect::Cut;
        let no_link =
            (on_links && asked.links.is_empty()).then(|| "there is no such link".to_owned());
        let unable = self.plan.skip.get(&step.fault).cloned();
        let reason = unable.or(resolved.err()).or(misfit).or(no_link);
        let record = FaultRecord {
            id: self.steps_begun,
            phase: Phase::Begin,
            fault: info.name.to_owned(),
            effect: step.effect(),
            aspect: step.fault.aspect().map(str::to_owned),
            nodes: if reason.is_some() { asked.nodes } else { nodes.clone() },
            links: asked.links.clone(),
            args: act::args(step),
            trigger,
            outcome: None,
            acted: None,
            proof: None,
            reason: None,
        };
        self.steps_open += 1;
        if let (Some(index), Some(why)) = (index, self.plan.skip.get(&step.fault))
            && !step.optional
        {
            // What was to be provoked is not put to the test.
            let (number, fault) = (index + 1, step.fault);
            let waits_for = format!("a machine that can do it: {why}");
            let step = format!("step {number}: {fault}");
            self.record(Body::Harness(HarnessEvent::StepMissed { step, waits_for }))?;
        }
        if let Some(reason) = reason {
            self.record(Body::Fault(record.clone()))?;
            return self.handle_ended(act::skipped(index, record, reason));
        }
        // The act comes before its record's way to the disk: a trigger must not wait for that. The
        // record's time is taken first, all the same.
        let begun = Record::new(self.clock.now_ns(), Body::Fault(record.clone()));
        let act = Act { step: step.clone(), nodes, links: asked.links, clock: self.clock };
        let pending =
            step.fault.begin(&act, self).map_err(|error| Failure::harness(anyhow!(error)))?;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let ended = Box::new(act::seen(index, record, pending.await));
            // The loop outlives its tasks, except when it is dropped with them.
            let _ = sender.send(Incoming::Ended(ended)).await;
        });
        self.writer.append(&begun).map_err(Failure::harness)?;
        self.seen(&begun);
        Ok(())
    }

    fn handle_ended(&mut self, ended: Ended) -> Result<(), Failure> {
        self.steps_open -= 1;
        let aspect = ended.record.aspect.as_deref().and_then(Aspect::from_name);
        if let (Effect::Restored, Some(aspect)) = (ended.record.effect, aspect) {
            let done = ended.record.outcome == Some(Outcome::Installed);
            for node in &ended.record.nodes {
                self.machines.entry(*node).or_default().restored(aspect, done);
            }
        }
        for op in ended.ops {
            self.record(Body::Op(op))?;
        }
        self.record(Body::Fault(ended.record))?;
        if let Some(index) = ended.index {
            self.scheduler.ended(index);
        }
        Ok(())
    }

    fn record_missed(&mut self) -> Result<(), Failure> {
        for missed in self.scheduler.missed() {
            if !self.interrupted && !missed.optional {
                let (step, waits_for) = (missed.step, missed.waits_for);
                self.record(Body::Harness(HarnessEvent::StepMissed { step, waits_for }))?;
            }
        }
        Ok(())
    }

    /// Undoes every fault that is in force, and waits until that is proven.
    async fn heal(&mut self) -> Result<(), Failure> {
        self.phase("heal")?;
        self.scheduler.give_up();
        // Steps that are still under way end first, so that nothing is broken behind our back.
        let quiet = |c: &Self| c.steps_open == 0;
        if !self.until(quiet, HEAL_MAX).await? {
            return Err(Failure::harness(anyhow!("a fault step did not end in {HEAL_MAX:?}")));
        }
        let faulty = self.network.faulty_links();
        let frozen = self.nodes_where(|state| state.frozen);
        self.undo(Fault::Heal, Resolved { nodes: Vec::new(), links: faulty })?;
        self.undo(Fault::Resume, Resolved { nodes: frozen, links: Vec::new() })?;
        // A stopped process cannot be told anything, so this comes after it runs.
        let mut healed = self.until(quiet, HEAL_MAX).await?;
        for (aspect, fault) in RESTORES {
            let nodes = self.bent(aspect);
            self.undo(fault, Resolved { nodes, links: Vec::new() })?;
        }
        healed &= self.until(quiet, HEAL_MAX).await?;
        // Who stood still when it was told to stop does so now.
        let ending = |state: &NodeState| state.process.is_some() && state.expected_exit;
        self.until(|c| !c.nodes.values().any(ending), STOP_MAX).await?;
        let down = self.nodes_where(|state| state.process.is_none() && state.expected_exit);
        self.undo(Fault::Restart, Resolved { nodes: down, links: Vec::new() })?;
        healed &= self.until(quiet, HEAL_MAX).await?;
        // A node may have been started on a disk that stalled, and come up only now.
        let up = |state: &NodeState| state.process.is_none() || *state.ready.borrow();
        self.until(|c| c.nodes.values().all(up), READY_MAX).await?;
        let bent: Vec<_> = RESTORES.iter().flat_map(|(aspect, _)| self.bent(*aspect)).collect();
        let frozen = self.nodes_where(|state| state.frozen);
        let down = self.nodes_where(|state| {
            state.expected_exit && (state.process.is_none() || !*state.ready.borrow())
        });
        let right = frozen.is_empty() && down.is_empty() && bent.is_empty();
        if healed && right && self.network.faulty_links().is_empty() {
            return Ok(());
        }
        let left: Vec<_> =
            frozen.iter().chain(&down).chain(&bent).map(ToString::to_string).collect();
        let error = anyhow!("could not heal the cluster in {HEAL_MAX:?}: {}", left.join(", "));
        let hint = down.first().and_then(|node| self.log_hint(*node));
        Err(match hint {
            Some(hint) => Failure::harness(error).with_hint(hint),
            None => Failure::harness(error),
        })
    }

    /// Begins to undo a fault, if there is any of it.
    fn undo(&mut self, fault: Fault, resolved: Resolved) -> Result<(), Failure> {
        if resolved.nodes.is_empty() && resolved.links.is_empty() {
            return Ok(());
        }
        self.begin(None, &Step::new(fault, None), Some(Trigger::Heal), Ok(resolved))
    }

    /// The nodes whose machine is bent in an aspect.
    fn bent(&self, aspect: Aspect) -> Vec<NodeId> {
        let bent = self.machines.iter().filter(|(_, machine)| machine.is_bent(aspect));
        bent.map(|(node, _)| *node).collect()
    }

    fn nodes_where(&self, wanted: impl Fn(&NodeState) -> bool) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, state)| wanted(state)).map(|(node, _)| *node).collect()
    }

    /// Ends every node, first kindly. A history that cannot be written any more does not keep a node
    /// alive: that error comes after.
    async fn stop(&mut self) -> Result<(), Failure> {
        let recorded = self.phase("stop");
        let mut running = Vec::new();
        for state in self.nodes.values_mut() {
            state.expected_exit = true;
            running.extend(state.process.clone());
        }
        for process in &running {
            // A process that has ended needs no signal. A stopped one must run to hear it.
            let _ = process.signal(Signal::SIGTERM).await;
            let _ = process.signal(Signal::SIGCONT).await;
        }
        let mut drained = Ok(());
        if !self.drain_until_gone(&mut drained).await {
            for process in &running {
                let _ = process.signal(Signal::SIGKILL).await;
            }
            if !self.drain_until_gone(&mut drained).await {
                return Err(Failure::harness(anyhow!("a node survived SIGKILL")));
            }
        }
        recorded.and(drained)?;
        self.phase("end")?;
        self.writer.sync().map_err(Failure::harness)
    }

    /// Handles what comes until no process is left, and keeps the first error.
    async fn drain_until_gone(&mut self, first_error: &mut Result<(), Failure>) -> bool {
        let work = async {
            while self.nodes.values().any(|state| state.process.is_some()) {
                let incoming = self.receiver.recv().await.expect("we hold a sender ourselves");
                let handled = self.handle(incoming).and_then(|()| self.flush());
                if first_error.is_ok() {
                    *first_error = handled;
                }
            }
        };
        timeout(STOP_MAX, work).await.is_ok()
    }

    fn never_ready(&self) -> Failure {
        let mut late = self.nodes.iter().filter(|(_, state)| !*state.ready.borrow());
        // One that has ended says more than one that is slow.
        let late = late.clone().find(|(_, state)| state.process.is_none()).or(late.next());
        let Some((node, state)) = late else {
            return Failure::harness(anyhow!("the cluster did not become ready"));
        };
        let what = match &state.process {
            Some(_) => format!("node `{node}` did not become ready in {READY_MAX:?}"),
            None => format!("node `{node}` ended before it was ready"),
        };
        let failure = Failure::harness(anyhow!(what));
        match self.log_hint(*node) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }

    fn log_hint(&self, node: NodeId) -> Option<String> {
        let tail = self.stderr_tail(node)?;
        let log = self.dir.path().join(format!("nodes/{node}/stderr.log"));
        Some(format!("its log ends with `{tail}`; see {}", log.display()))
    }

    /// The last lines of a node's standard error.
    fn stderr_tail(&self, node: NodeId) -> Option<String> {
        let path = self.dir.path().join(format!("nodes/{node}/stderr.log"));
        let bytes = std::fs::read(path).ok()?;
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n");
        (!tail.is_empty()).then_some(tail)
    }
}

/// What the clients did, for whoever judges their operations.
fn in_header(workload: &Workload) -> (String, Value) {
    let workload = serde_json::to_value(workload).expect("a workload is plain data");
    ("workload".to_owned(), workload)
}

/// Waits until somebody asks the run to stop. Never returns when nobody can.
async fn interrupted(interrupt: &mut watch::Receiver<Option<&'static str>>) -> &'static str {
    match interrupt.wait_for(Option::is_some).await {
        Ok(signal) => signal.expect("waited for Some"),
        Err(_) => std::future::pending().await,
    }
}
