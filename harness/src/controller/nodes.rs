//! The nodes' part of a run: their processes are started and ended, and what they write is read.

use std::{fs::File, io::Write, process::Command};

use anyhow::{Context, anyhow};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use usurper_history::{Body, Event, HarnessEvent, NodeId, NodeRecord};
use usurper_nemesis::{Output, Process, Stream, within};

use super::{Controller, Incoming, READY_MAX, STOP_MAX};
use crate::{
    failure::Failure,
    machine::control_name,
    system::{LineReader, NodeSpec, Reading},
};

/// Lines of a dead node's standard error that are kept as evidence.
const STDERR_LINES: usize = 5;

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

impl Controller<'_> {
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
            control: &control_name(self.number, node, inc),
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

    pub(super) fn handle_output(
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

    /// Ends every node, first kindly. A history that cannot be written any more does not keep a node
    /// alive: that error comes after.
    pub(super) async fn stop(&mut self) -> Result<(), Failure> {
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
        self.record_stalls();
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
        within(STOP_MAX, work).await.is_some()
    }

    pub(super) fn nodes_where(&self, wanted: impl Fn(&NodeState) -> bool) -> Vec<NodeId> {
        self.nodes.iter().filter(|(_, state)| wanted(state)).map(|(node, _)| *node).collect()
    }

    pub(super) fn never_ready(&self) -> Failure {
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

    pub(super) fn log_hint(&self, node: NodeId) -> Option<String> {
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
