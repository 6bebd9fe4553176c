//! A client of one node: one connection, one operation at a time, no retry and no reconnect.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use usurper_history::{
    NodeId,
    frame::{Frame, Kind},
};

pub use crate::protocol::{Reply, Request, SessionOp};
use crate::wire::{Hello, Stream, StreamError, to_json};

/// What became of an operation, in Jepsen's words.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done.
    Ok(Value),
    /// It was looked at, and the answer is no: a compare-and-set met another value.
    No(String),
    /// It was certainly not done.
    Fail(String),
    /// It may have been done, or may be yet. The connection cannot be used any more.
    Info(String),
}

/// A connection could not be made. Nothing was asked of the node.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}: {reason}")]
pub struct ConnectError {
    pub address: SocketAddr,
    reason: StreamError,
}

/// A connection to one node.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    node: NodeId,
    inc: u32,
    serial: u64,
    broken: bool,
    leader_hint: Option<NodeId>,
}

impl Client {
    /// Connects to the node at this address, for at most a second.
    ///
    /// # Errors
    /// When nobody answers there, or not as a node of this cluster.
    pub async fn connect(address: SocketAddr, cluster: &str) -> Result<Self, ConnectError> {
        let hello = Hello::Client { cluster: cluster.to_owned() };
        let (stream, welcome) = Stream::dial(address, &hello)
            .await
            .map_err(|reason| ConnectError { address, reason })?;
        let (node, inc) = (welcome.id, welcome.inc);
        Ok(Self { stream, node, inc, serial: 0, broken: false, leader_hint: None })
    }

    /// The node that answered, and its incarnation.
    pub fn node(&self) -> (NodeId, u32) {
        (self.node, self.inc)
    }

    /// Nothing can be asked over this connection any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whom the node named when it refused the last operation: somebody else leads.
    pub fn leader_hint(&self) -> Option<NodeId> {
        self.leader_hint
    }

    /// Asks for `f` and waits for the answer.
    pub async fn call(
        &mut self,
        f: &str,
        key: Option<&str>,
        value: Option<Value>,
        timeout: Duration,
    ) -> Outcome {
        let (f, key) = (f.to_owned(), key.map(str::to_owned));
        self.ask(Request { serial: 0, f, key, value, session: None }, timeout).await
    }

    /// Asks as the request says, under the next serial of this connection, and waits for the answer.
    pub async fn ask(&mut self, request: Request, timeout: Duration) -> Outcome {
        self.ask_times(1, request, timeout).await
    }

    /// Sends the request twice, as somebody does who missed the answer, and waits for both answers:
    /// what one of them says was done was done.
    pub async fn ask_twice(&mut self, request: Request, timeout: Duration) -> Outcome {
        self.ask_times(2, request, timeout).await
    }

    async fn ask_times(&mut self, times: usize, request: Request, timeout: Duration) -> Outcome {
        let not_sent = |error: &str| Outcome::Fail(error.to_owned());
        self.leader_hint = None;
        if self.broken {
            return not_sent("not sent: the connection is broken");
        }
        if self.stream.reader.is_closed() {
            self.broken = true;
            return not_sent("not sent: the node has closed the connection");
        }
        self.serial += 1;
        let request = Request { serial: self.serial, ..request };
        let outcome = match tokio::time::timeout(timeout, self.exchange(times, &request)).await {
            Ok(Ok(Reply { ok: true, value, .. })) => Outcome::Ok(value.unwrap_or(Value::Null)),
            Ok(Ok(Reply { unknown: true, error, .. })) => Outcome::Info(error.unwrap_or_default()),
            Ok(Ok(Reply { denied: true, error, .. })) => Outcome::No(error.unwrap_or_default()),
            Ok(Ok(Reply { error, leader, .. })) => {
                self.leader_hint = leader;
                Outcome::Fail(error.unwrap_or_default())
            }
            // Once a byte may have left, nobody here knows.
            Ok(Err(error)) => Outcome::Info(error.to_string()),
            Err(_) => Outcome::Info(format!("no answer in {timeout:?}")),
        };
        // A late answer must not be taken for the next one's.
        self.broken = matches!(outcome, Outcome::Info(_));
        outcome
    }

    async fn exchange(&mut self, times: usize, request: &Request) -> Result<Reply, StreamError> {
        let body = to_json(request);
        let frame = Frame { kind: Kind::Request, term: 0, index: request.serial, body };
        self.stream.writer.write_all(&frame.encode().repeat(times)).await?;
        let mut reply = self.reply_to(request).await?;
        for _ in 1..times {
            let other = self.reply_to(request).await?;
            if certainty(&other) > certainty(&reply) {
                reply = other;
            }
        }
        Ok(reply)
    }

    async fn reply_to(&mut self, request: &Request) -> Result<Reply, StreamError> {
        let frame = self.stream.reader.next().await?;
        if frame.kind != Kind::Reply {
            return Err(StreamError::Unexpected("not a reply"));
        }
        let reply: Reply = serde_json::from_slice(&frame.body)
            .map_err(|_| StreamError::Unexpected("a reply that cannot be read"))?;
        if reply.serial != request.serial {
            return Err(StreamError::Unexpected("a reply to another request"));
        }
        Ok(reply)
    }
}

/// Which of two answers to one operation tells more of what became of it. A refusal is about the
/// attempt that it answers, and the other one may have come through.
fn certainty(reply: &Reply) -> u8 {
    match reply {
        Reply { ok: true, .. } => 3,
        Reply { denied: true, .. } => 2,
        Reply { unknown: true, .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use usurper_history::{NodeId, frame::Kind};

    use super::{Client, Outcome};
    use crate::wire::{Hello, Stream, Welcome};

    #[tokio::test]
    async fn what_is_not_sent_over_a_closed_connection_certainly_did_not_happen() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let welcome = async {
            let mut stream = Stream::new(listener.accept().await.unwrap().0).unwrap();
            let _hello: Hello = stream.reader.greeting(Kind::Hello).await.unwrap();
            let welcome = Welcome { id: NodeId(1), inc: 1 }.to_frame().encode();
            tokio::io::AsyncWriteExt::write_all(&mut stream.writer, &welcome).await.unwrap();
        };
        let (client, ()) = tokio::join!(Client::connect(address, "c"), welcome);
        let mut client = client.unwrap();
        client.stream.reader.readable().await;
        let outcome = client.call("write", Some("x"), None, Duration::from_secs(9)).await;
        let closed = "not sent: the node has closed the connection";
        assert_eq!(outcome, Outcome::Fail(closed.to_owned()));
        assert!(client.is_broken());
    }
}
