//! The control socket of a node: one command per connection, one line each way.
//!
//! It is an abstract Unix socket: it needs no file, so no path is too long and none is left behind, and
//! it goes with the process. Whoever serves it is a thread that does nothing else, so that it answers
//! while the node stands still.

use std::{
    io::{self, Read, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use usurper_history::{
    Clock,
    control::{Answer, COMMAND_BYTES_MAX, Command},
};

use super::Machine;

/// How long a connection may take from its first byte to its last.
const EXCHANGE_MAX: Duration = Duration::from_secs(1);
/// How long a caller waits for the answer: others may be served first.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Serves commands until the process ends.
///
/// # Errors
/// When the name is taken or too long, or no thread can be started.
pub fn listen(name: &str, machine: Arc<Machine>) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    let serve = move || {
        for stream in listener.incoming() {
            // A caller that goes away, or sends what is none, is its own problem.
            if let Err(error) = stream.and_then(|stream| exchange(stream, &machine)) {
                tracing::warn!(%error, "a command could not be read or answered");
            }
        }
    };
    thread::Builder::new().name("control".to_owned()).spawn(serve)?;
    Ok(())
}

fn exchange(mut stream: UnixStream, machine: &Machine) -> io::Result<()> {
    stream.set_write_timeout(Some(EXCHANGE_MAX))?;
    let line = read_line(&mut stream)?;
    let answer = match serde_json::from_slice::<Command>(&line) {
        Ok(command) => machine.obey(&command),
        Err(error) => Answer { ok: false, text: format!("not a command: {error}") },
    };
    tracing::info!(command = %String::from_utf8_lossy(&line), ok = answer.ok, "control");
    let mut bytes = serde_json::to_vec(&answer).expect("plain data is JSON");
    bytes.push(b'\n');
    stream.write_all(&bytes)
}

/// The first line, without its newline, within a bounded time and length.
fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let clock = Clock::start();
    let mut line = Vec::new();
    loop {
        let passed = Duration::from_nanos(clock.now_ns());
        let left = EXCHANGE_MAX.saturating_sub(passed).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes)?;
        let end = bytes[..count].iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&bytes[..end.unwrap_or(count)]);
        if end.is_some() || count == 0 {
            return Ok(line);
        }
        if line.len() > COMMAND_BYTES_MAX {
            return Err(io::Error::other("a command without end"));
        }
        if passed >= EXCHANGE_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// Why a command is not known to be in force.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It certainly is not.
    #[error("{0}")]
    Refused(String),
    /// It may be.
    #[error("no answer: {0}")]
    NoAnswer(#[source] io::Error),
}

/// Tells the node that listens on this name. The answer says what is in force then.
///
/// # Errors
/// When it refuses, or does not answer within three seconds.
pub async fn call(name: &str, command: &Command) -> Result<String, ControlError> {
    let exchange = async {
        let mut stream = tokio::net::UnixStream::connect(format!("\0{name}")).await?;
        let mut line = serde_json::to_vec(command).map_err(io::Error::other)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        // More than any answer, but not more than that.
        stream.take(1 << 16).read_to_end(&mut answer).await?;
        serde_json::from_slice::<Answer>(&answer).map_err(io::Error::other)
    };
    let answer = tokio::time::timeout(ANSWER_MAX, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(ControlError::NoAnswer)?;
    if answer.ok { Ok(answer.text) } else { Err(ControlError::Refused(answer.text)) }
}
