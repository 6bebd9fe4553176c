//! Real node processes on loopback, and their events as they come.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{self, Child, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use usurper_history::{
    Body, Clock, Event, NodeId, NodeRecord, Persisted, Record, control::Command,
};
use usurper_node::{
    client::Client,
    machine::{ControlError, call},
};

/// Far more than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Cluster {
    directory: TempDir,
    /// `fle`, unless a test wants another.
    pub(crate) system: &'static str,
    pub(crate) clock: Clock,
    addresses: BTreeMap<NodeId, SocketAddr>,
    options: Vec<String>,
    running: BTreeMap<NodeId, Child>,
    incs: BTreeMap<NodeId, u32>,
    sender: Sender<(u64, NodeRecord)>,
    receiver: Receiver<(u64, NodeRecord)>,
    /// Every event so far, in the order of arrival.
    pub(crate) events: Vec<(u64, NodeRecord)>,
}

impl Cluster {
    pub(crate) fn new(count: u8, options: &[&str]) -> Self {
        // An address of its own, which no connection is made from: a port that nobody holds while its
        // node is down stays free.
        static CLUSTERS: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high, low, CLUSTERS.fetch_add(1, Ordering::Relaxed));
        // Held together, so that the kernel gives out as many different ports.
        let listeners: Vec<_> =
            NodeId::all(count).map(|id| (id, TcpListener::bind((host, 0)).unwrap())).collect();
        let (sender, receiver) = channel();
        Self {
            directory: tempfile::tempdir().unwrap(),
            system: "fle",
            clock: Clock::start(),
            addresses: listeners
                .iter()
                .map(|(id, listener)| (*id, listener.local_addr().unwrap()))
                .collect(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            running: BTreeMap::new(),
            incs: BTreeMap::new(),
            sender,
            receiver,
            events: Vec::new(),
        }
    }

    pub(crate) fn started(count: u8, options: &[&str]) -> Self {
        let mut cluster = Self::new(count, options);
        for id in NodeId::all(count) {
            cluster.start(id, &[]);
        }
        cluster
    }

    pub(crate) fn address(&self, id: NodeId) -> SocketAddr {
        self.addresses[&id]
    }

    pub(crate) fn command(&mut self, id: NodeId, more: &[&str]) -> process::Command {
        let inc = self.incs.entry(id).or_insert(0);
        *inc += 1;
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_usurper-node"));
        command
            .args([self.system, "--id", &id.to_string(), "--inc", &inc.to_string()])
            .args(["--origin-ns", &self.clock.origin_ns().to_string()])
            .args(["--cluster", "test", "--seed", "1"])
            .args(["--control", &control_name(self.clock, id, *inc)])
            .args(["--listen", &self.addresses[&id].to_string()])
            .arg("--data")
            .arg(self.data(id))
            .args(&self.options)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (peer, address) in self.addresses.iter().filter(|(peer, _)| **peer != id) {
            command.arg("--peer").arg(format!("{peer}={address}"));
        }
        command
    }

    pub(crate) fn start(&mut self, id: NodeId, more: &[&str]) {
        let mut child = self.command(id, more).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let sender = self.sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let record = Record::parse(line.unwrap().as_bytes()).expect("a record");
                let Body::Node(node) = record.body else { panic!("not an event of a node") };
                if sender.send((record.t, node)).is_err() {
                    return;
                }
            }
        });
        self.running.insert(id, child);
    }

    pub(crate) fn signal(&self, id: NodeId, signal: Signal) {
        let pid = Pid::from_raw(self.running[&id].id().cast_signed());
        kill(pid, signal).unwrap();
    }

    /// Kills the process and waits until it is gone.
    pub(crate) fn kill(&mut self, id: NodeId) {
        let mut child = self.running.remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self, id: NodeId) -> ExitStatus {
        self.signal(id, Signal::SIGTERM);
        self.running.remove(&id).unwrap().wait().unwrap()
    }

    /// Waits for an event, beginning with the events after the first `from`.
    #[track_caller]
    pub(crate) fn wait_from(
        &mut self,
        from: usize,
        what: &str,
        wanted: impl Fn(&NodeRecord) -> bool,
    ) -> usize {
        let deadline = self.clock.now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
        let mut next = from;
        loop {
            while next < self.events.len() {
                if wanted(&self.events[next].1) {
                    return next;
                }
                next += 1;
            }
            let left = deadline.saturating_sub(self.clock.now_ns());
            match self.receiver.recv_timeout(Duration::from_nanos(left)) {
                Ok(event) => self.events.push(event),
                Err(_) => {
                    let last: Vec<_> = self.events.iter().rev().take(5).collect();
                    panic!("waited in vain for {what}; the last events: {last:#?}");
                }
            }
        }
    }

    /// Waits for an event that is yet to come.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&NodeRecord) -> bool) -> usize {
        self.events.extend(self.receiver.try_iter());
        self.wait_from(self.events.len(), what, wanted)
    }

    /// Waits until each of these nodes takes heartbeats of one and the same leader, or sends them,
    /// in an epoch above `epoch`. Returns the leader and its epoch.
    #[track_caller]
    pub(crate) fn wait_for_leader(&mut self, nodes: &[NodeId], epoch: u64) -> (NodeId, u64) {
        let mut latest: BTreeMap<NodeId, (NodeId, u64)> = BTreeMap::new();
        self.events.extend(self.receiver.try_iter());
        let mut from = self.events.len();
        loop {
            from = self.wait_from(from, "a leader", |node| {
                matches!(&node.event, Event::Heartbeat { dir, msg_term, .. }
                    if *msg_term > epoch && dir != "rejected")
            });
            let (_, record) = &self.events[from];
            if let Event::Heartbeat { leader, msg_term, .. } = record.event {
                latest.insert(record.node, (leader, msg_term));
            }
            let mut known = nodes.iter().map(|node| latest.get(node));
            let first = known.next().flatten();
            if let Some(first) = first
                && known.all(|other| other == Some(first))
            {
                return *first;
            }
            from += 1;
        }
    }

    /// Waits until the process ends by itself.
    pub(crate) fn ended(&mut self, id: NodeId) -> ExitStatus {
        self.running.remove(&id).unwrap().wait().unwrap()
    }

    /// The name of the control socket of a running node.
    pub(crate) fn control_name(&self, id: NodeId) -> String {
        control_name(self.clock, id, self.incs[&id])
    }

    /// Tells a node about its machine.
    pub(crate) fn control(&self, id: NodeId, command: &Command) -> Result<String, ControlError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(call(&self.control_name(id), command))
    }

    /// Asks a node about its machine until the answer holds a text.
    #[track_caller]
    pub(crate) fn wait_until_says(&self, id: NodeId, wanted: &str) {
        let deadline = self.clock.now_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap();
        loop {
            let text = self.control(id, &Command::Status {}).unwrap();
            if text.contains(wanted) {
                return;
            }
            assert!(self.clock.now_ns() < deadline, "`{wanted}` never came; the last was `{text}`");
            thread::yield_now();
        }
    }

    /// What a node found on its disk at its latest start.
    #[track_caller]
    pub(crate) fn found(&mut self, id: NodeId) -> Persisted {
        let inc = self.incs[&id];
        let at = self.wait_from(0, "its start", |node| {
            node.node == id && node.inc == inc && matches!(node.event, Event::NodeStart { .. })
        });
        match &self.events[at].1.event {
            Event::NodeStart { persisted, .. } => persisted.clone(),
            _ => unreachable!("it was waited for"),
        }
    }

    /// Copies the data directory of one node to another.
    pub(crate) fn give_data(&self, from: NodeId, to: NodeId) {
        let (from, to) = (self.data(from), self.data(to));
        fs::create_dir_all(&to).unwrap();
        for name in ["log", "watermark"] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }

    /// Changes the log of a node.
    pub(crate) fn edit_log(&self, id: NodeId, edit: impl FnOnce(&mut [u8])) {
        let path = self.data(id).join("log");
        let mut bytes = fs::read(&path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// Writes something after the end of the log of a node.
    pub(crate) fn append_to_log(&self, id: NodeId, bytes: &[u8]) {
        let path = self.data(id).join("log");
        fs::write(&path, [fs::read(&path).unwrap(), bytes.to_vec()].concat()).unwrap();
    }

    fn data(&self, id: NodeId) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    pub(crate) fn with_client<T>(&self, id: NodeId, talk: impl AsyncFnOnce(&mut Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect(self.address(id), "test").await.unwrap();
            talk(&mut client).await
        })
    }
}

fn control_name(clock: Clock, id: NodeId, inc: u32) -> String {
    format!("usurper-test/{}/{}/{id}/{inc}", process::id(), clock.origin_ns())
}

/// The exit code of a node that does not start, and what it said.
pub(crate) fn failure(mut command: process::Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code();
    let said: Vec<_> = said.lines().filter(|line| !line.contains(" INFO ")).collect();
    (code, said.join("\n"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
        if thread::panicking() {
            self.directory.disable_cleanup(true);
            println!("data directories are kept in {}", self.directory.path().display());
        }
    }
}
