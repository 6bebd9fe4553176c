//! One installed connection: a task that reads, a task that writes, and a bounded queue before it.

use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};
use usurper_history::frame::Frame;

use super::node::Incoming;
use crate::wire::{FrameReader, Stream, StreamError};

/// Messages that wait for a peer that does not read. Votes and heartbeats are repeated, so those
/// beyond it are dropped.
const QUEUE_FRAMES_MAX: usize = 256;

/// A task that ends when its handle is dropped.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Ends the task and waits until what it held is closed.
    async fn end(mut self) {
        self.0.abort();
        // An aborted task is what is wanted here.
        let _aborted = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    /// The queue is full. `first`: it was not when the message before was queued.
    Full {
        first: bool,
    },
}

#[derive(Debug)]
pub(super) struct Connection {
    queue: mpsc::Sender<Frame>,
    full: bool,
    tasks: [Task; 2],
}

impl Connection {
    /// Starts both tasks. `number` names the connection in what it reports.
    pub(super) fn start(number: u64, stream: Stream, incoming: mpsc::Sender<Incoming>) -> Self {
        let (queue, frames) = mpsc::channel(QUEUE_FRAMES_MAX);
        let reader = Task::spawn(read(number, stream.reader, incoming.clone()));
        let writer = Task::spawn(write(number, stream.writer, frames, incoming));
        Self { queue, full: false, tasks: [reader, writer] }
    }

    pub(super) fn send(&mut self, frame: Frame) -> Queued {
        match self.queue.try_send(frame) {
            // A closed queue has a writer that failed, which reports itself.
            Ok(()) | Err(TrySendError::Closed(_)) => {
                self.full = false;
                Queued::Yes
            }
            Err(TrySendError::Full(_)) => {
                Queued::Full { first: !std::mem::replace(&mut self.full, true) }
            }
        }
    }

    /// Closes it before another takes its place.
    pub(super) async fn close(self) {
        for task in self.tasks {
            task.end().await;
        }
    }
}

async fn read(connection: u64, mut reader: FrameReader, incoming: mpsc::Sender<Incoming>) {
    loop {
        let item = match reader.next().await {
            Ok(frame) => Incoming::Frame { connection, frame },
            Err(error) => {
                // Nobody to tell means that the node is stopping.
                let _stopping = incoming.send(Incoming::Closed { connection, error }).await;
                return;
            }
        };
        if incoming.send(item).await.is_err() {
            return;
        }
    }
}

async fn write(
    connection: u64,
    mut half: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Frame>,
    incoming: mpsc::Sender<Incoming>,
) {
    let mut bytes = Vec::new();
    while let Some(frame) = frames.recv().await {
        bytes.clear();
        bytes.extend_from_slice(&frame.encode());
        while let Ok(frame) = frames.try_recv() {
            bytes.extend_from_slice(&frame.encode());
        }
        if let Err(error) = half.write_all(&bytes).await {
            let error = StreamError::Io(error);
            let _stopping = incoming.send(Incoming::Closed { connection, error }).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };
    use usurper_history::frame::{Frame, Kind};

    use super::{Connection, QUEUE_FRAMES_MAX, Queued};
    use crate::wire::Stream;

    #[tokio::test]
    async fn a_peer_that_does_not_read_costs_a_full_queue_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let (incoming, _incoming) = mpsc::channel(1);
        let mut connection = Connection::start(1, Stream::new(near).unwrap(), incoming);
        let frame = Frame { kind: Kind::Heartbeat, term: 1, index: 1, body: vec![0; 1 << 16] };
        let mut sent = 0;
        while connection.send(frame.clone()) == Queued::Yes {
            sent += 1;
            assert!(sent < 100 * QUEUE_FRAMES_MAX, "the queue has no bound");
            tokio::task::yield_now().await;
        }
        assert_eq!(connection.send(frame.clone()), Queued::Full { first: false });
        // What was queued arrives once the peer reads, and then there is room again.
        let mut far = Stream::new(far).unwrap();
        for _ in 0..sent {
            far.reader.next().await.unwrap();
        }
        assert_eq!(connection.send(frame), Queued::Yes);
        connection.close().await;
        // The last one may have left before the close; either way the stream has an end.
        while far.reader.next().await.is_ok() {}
    }
}
