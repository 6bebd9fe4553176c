//! One node's process: started, watched, signalled and outlived by nobody.
//!
//! The task that waits for a process is also the only one that signals it, so a signal can never
//! reach a process that took over the number of a dead one. The kernel kills the process when the
//! thread that started it ends (`PR_SET_PDEATHSIG`), whatever ends it.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, killpg},
    },
    unistd::{Pid, getppid},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Child,
    sync::{mpsc, oneshot, watch},
    time::{Duration, timeout},
};
use usurper_history::LINE_BYTES_MAX;

/// For so long nothing more may come from the pipes of a dead process: only a child of its own could hold
/// them open.
const DRAIN_IDLE: Duration = Duration::from_secs(1);
/// So often something may come all the same.
const DRAINS_MAX: usize = 30;

/// One of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }
    }
}

/// What comes from a process, in order; [`Output::Exited`] is the last.
#[derive(Debug)]
pub enum Output {
    /// A whole line, without its newline.
    Line(Stream, Vec<u8>),
    /// Bytes after the last newline, when the stream ended.
    Torn(Stream, Vec<u8>),
    Exited(Exit),
}

type SignalRequest = (Signal, oneshot::Sender<io::Result<()>>);

/// A running process. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    signals: mpsc::Sender<SignalRequest>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Starts a process in a group of its own, with standard input closed.
    ///
    /// Streams that `command` has not redirected elsewhere must be set to [`Stdio::piped`] by the
    /// caller where it wants their lines; `sink` gets what `wrap` makes of each. Must be called on a
    /// thread that lives as long as the process should.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn<T: Send + 'static>(
        mut command: Command,
        sink: mpsc::Sender<T>,
        wrap: impl Fn(Output) -> T + Send + Sync + 'static,
    ) -> io::Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let parent = std::process::id();
        // SAFETY: both calls are async-signal-safe, and the closure allocates nothing.
        #[expect(unsafe_code, reason = "the kernel must kill the node if we die without a word")]
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                // We may have died before the kernel knew what to do then.
                if getppid().as_raw().unsigned_abs() == parent {
                    Ok(())
                } else {
                    Err(ErrorKind::BrokenPipe.into())
                }
            });
        }
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let (signals, requests) = mpsc::channel(16);
        let (exited, exit) = watch::channel(None);
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        tokio::spawn(async move {
            let told = AtomicU64::new(0);
            let streams = async {
                tokio::join!(
                    forward(stdout, Stream::Stdout, &sink, &wrap, &told),
                    forward(stderr, Stream::Stderr, &sink, &wrap, &told),
                );
            };
            tokio::pin!(streams);
            let (status, mut drained) = watch_child(child, requests, &mut streams).await;
            for _ in 0..DRAINS_MAX {
                if drained {
                    break;
                }
                let before = told.load(Ordering::Relaxed);
                drained = timeout(DRAIN_IDLE, &mut streams).await.is_ok();
                // A child of the process may hold the pipe open; what it says is not the node's. But this
                // machine may have stood still meanwhile, and whoever takes the lines may be slow.
                if told.load(Ordering::Relaxed) == before && sink.capacity() > 0 {
                    break;
                }
            }
            let exit = Exit { code: status.code(), signal: status.signal() };
            let _ = sink.send(wrap(Output::Exited(exit))).await;
            let _ = exited.send(Some(exit));
        });
        Ok(Self { pid, signals, exit })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How the process ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Sends a signal to the process and its children.
    ///
    /// # Errors
    /// `NotFound` when the process has ended.
    pub async fn signal(&self, signal: Signal) -> io::Result<()> {
        let gone = || io::Error::new(ErrorKind::NotFound, "the process has ended");
        let (reply, answer) = oneshot::channel();
        self.signals.send((signal, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the process has ended and its output has been handed on.
    pub async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => status.expect("waited for Some"),
            // The runtime is shutting down and dropped the task; the child was killed with it.
            Err(_) => Exit { code: None, signal: None },
        }
    }
}

/// Serves signals and output until the child has ended.
async fn watch_child(
    mut child: Child,
    mut requests: mpsc::Receiver<SignalRequest>,
    streams: &mut (impl Future<Output = ()> + Unpin),
) -> (ExitStatus, bool) {
    let mut drained = false;
    loop {
        tokio::select! {
            status = child.wait() => match status {
                Ok(status) => return (status, drained),
                // Only a programming error (somebody else reaped it) gets here.
                Err(error) => panic!("cannot wait for a process of ours: {error}"),
            },
            Some((signal, reply)) = requests.recv() => {
                // `id` is None once the child was reaped, so the number is still its own here.
                let sent = match child.id().and_then(|pid| i32::try_from(pid).ok()) {
                    Some(pid) => killpg(Pid::from_raw(pid), signal).map_err(io::Error::from),
                    None => Err(ErrorKind::NotFound.into()),
                };
                let _ = reply.send(sent);
            }
            () = &mut *streams, if !drained => drained = true,
        }
    }
}

async fn forward<T>(
    stream: Option<impl AsyncRead + Unpin>,
    which: Stream,
    sink: &mpsc::Sender<T>,
    wrap: &impl Fn(Output) -> T,
    told: &AtomicU64,
) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    loop {
        let mut line = Vec::new();
        // A read error of a pipe means what its end means: nothing more will come.
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if read.unwrap_or(0) == 0 {
            return;
        }
        let output = if line.last() == Some(&b'\n') {
            line.pop();
            Output::Line(which, line)
        } else {
            Output::Torn(which, line)
        };
        if sink.send(wrap(output)).await.is_err() {
            return;
        }
        told.fetch_add(1, Ordering::Relaxed);
    }
}

/// The state letter that the kernel shows for a process (`R`, `S`, `T` for stopped, `Z`, …), or
/// `None` when there is no such process.
pub fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, so look from the last one.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}
