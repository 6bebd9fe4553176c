//! Accepting connections, and finding out who dials.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use usurper_history::frame::Kind;

use super::node::Incoming;
use crate::wire::{GREETING_TIMEOUT, Hello, Stream, StreamError};

/// Connections that have not said who they are. One more is refused.
const UNIDENTIFIED_MAX: usize = 64;
/// After an accept that failed, for example for want of descriptors.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// For the defect `listener-gives-up`, as in ZooKeeper: so many failures end it.
const FAILURES_MAX: u32 = 3;

/// Accepts until the node stops. An error is waited out: a listener that gives up makes a node
/// that nobody can reach.
pub(super) async fn listen(
    listener: TcpListener,
    incoming: mpsc::Sender<Incoming>,
    gives_up: bool,
) {
    let failures = Arc::new(Semaphore::new(0));
    tokio::select! {
        () = accept(listener, incoming.clone(), Arc::clone(&failures)) => {}
        _failed = failures.acquire_many(FAILURES_MAX), if gives_up => {
            // Nobody to tell means that the node is stopping.
            let _stopping = incoming.send(Incoming::Deaf).await;
        }
    }
}

async fn accept(listener: TcpListener, incoming: mpsc::Sender<Incoming>, failures: Arc<Semaphore>) {
    let unidentified = Arc::new(Semaphore::new(UNIDENTIFIED_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&unidentified).try_acquire_owned() else {
            tracing::warn!("too many connections without a greeting");
            continue;
        };
        let (incoming, failures) = (incoming.clone(), Arc::clone(&failures));
        tokio::spawn(async move {
            let greeted = tokio::time::timeout(GREETING_TIMEOUT, greet(stream)).await;
            drop(permit);
            let item = match greeted.unwrap_or(Err(StreamError::Late)) {
                Ok((stream, hello)) => Incoming::Greeted { stream, hello },
                Err(error) => {
                    failures.add_permits(1);
                    Incoming::Stranger(error)
                }
            };
            // Nobody to tell means that the node is stopping.
            let _stopping = incoming.send(item).await;
        });
    }
}

async fn greet(stream: TcpStream) -> Result<(Stream, Hello), StreamError> {
    let mut stream = Stream::new(stream)?;
    let hello = stream.reader.greeting(Kind::Hello).await?;
    Ok((stream, hello))
}
