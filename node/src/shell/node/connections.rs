//! A node's connections: who is let in, what they send, and what becomes of them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, sync::oneshot};
use usurper_history::{
    NodeId,
    frame::{Frame, Kind},
};

use super::{Node, ShellError};
use crate::{
    protocol::{ClientId, Input, Message, Protocol, Tick},
    shell::{
        connection::{Connection, Task},
        dialer::dial_for_ever,
        listener::listen,
    },
    wire::{Hello, Stream, StreamError, Welcome},
};

const CLIENTS_MAX: usize = 256;
/// Strangers' garbage is noted once in this time, and counted in between.
const BAD_FRAME_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Installed {
    who: Who,
    pub(super) connection: Connection,
    /// Tells the dialer when it is dropped.
    _held: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Peer { id: NodeId, inc: u32 },
    Client,
}

#[derive(Default)]
pub(super) struct BadFrames {
    noted_at: Option<Tick>,
    since: u64,
}

impl<P: Protocol> Node<P> {
    pub(super) fn connect(
        &mut self,
        listener: TcpListener,
        addresses: &BTreeMap<NodeId, SocketAddr>,
        seed: u64,
    ) {
        let gives_up = self.defects.listener_gives_up;
        self.tasks.push(Task::spawn(listen(listener, self.incoming.clone(), gives_up)));
        for (peer, address) in addresses {
            // The larger id owns the connection of a pair, whoever was there first.
            if *peer > self.id && !self.defects.no_dial_owner {
                continue;
            }
            let hello = Hello::Node { id: self.id, inc: self.inc, cluster: self.cluster.clone() };
            let seed = seed ^ u64::from(self.id.0) << 8 ^ u64::from(peer.0);
            let back_off = !self.defects.no_dial_owner;
            let incoming = self.incoming.clone();
            let dialer = dial_for_ever(*peer, *address, hello, seed, back_off, incoming);
            self.tasks.push(Task::spawn(dialer));
        }
    }

    pub(super) async fn greeted(&mut self, stream: Stream, hello: Hello) -> Result<(), ShellError> {
        let (who, cluster) = match hello {
            Hello::Node { id, inc, cluster } => (Who::Peer { id, inc }, cluster),
            Hello::Client { cluster } => (Who::Client, cluster),
        };
        if let Err(reason) = self.admit(who, &cluster) {
            let peer = match who {
                Who::Peer { id, .. } => Some(id),
                Who::Client => None,
            };
            self.note("drop", peer, Some(&format!("hello refused: {reason}")));
            return self.flush();
        }
        let number = self.install(who, stream, None, "accept").await?;
        let welcome = Welcome { id: self.id, inc: self.inc };
        if let Some(installed) = self.connections.get_mut(&number) {
            installed.connection.send(welcome.to_frame());
        }
        match who {
            Who::Peer { id, .. } => self.input(Input::Connected(id)),
            Who::Client => Ok(()),
        }
    }

    fn admit(&self, who: Who, cluster: &str) -> Result<(), String> {
        if cluster != self.cluster {
            return Err(format!("cluster `{cluster}`, not `{}`", self.cluster));
        }
        match who {
            Who::Client => {
                let clients =
                    self.connections.values().filter(|installed| installed.who == Who::Client);
                if clients.count() >= CLIENTS_MAX {
                    return Err(format!("more than {CLIENTS_MAX} clients"));
                }
            }
            Who::Peer { id, inc } => {
                let Some(connection) = self.peers.get(&id) else {
                    return Err("not a configured peer".to_owned());
                };
                if id < self.id && !self.defects.no_dial_owner {
                    return Err("the larger id dials".to_owned());
                }
                let before = connection.and_then(|number| self.connections.get(&number));
                if let Some(Who::Peer { inc: before, .. }) = before.map(|installed| installed.who)
                    && inc < before
                {
                    return Err(format!("incarnation {inc} after {before}"));
                }
            }
        }
        Ok(())
    }

    /// Installs a connection. An older one with the same peer is closed first.
    pub(super) async fn install(
        &mut self,
        who: Who,
        stream: Stream,
        held: Option<oneshot::Sender<()>>,
        op: &str,
    ) -> Result<u64, ShellError> {
        self.connections_made += 1;
        let number = self.connections_made;
        if let Who::Peer { id, .. } = who {
            if let Some(old) = self.peers.insert(id, Some(number)).flatten()
                && let Some(installed) = self.connections.remove(&old)
            {
                self.note("replace", Some(id), None);
                if self.defects.no_dial_owner {
                    self.hit("no-dial-owner", "the newer connection wins");
                }
                installed.connection.close().await;
            }
            self.note(op, Some(id), None);
            self.flush()?;
        }
        let connection = Connection::start(number, stream, self.incoming.clone());
        self.connections.insert(number, Installed { who, connection, _held: held });
        Ok(number)
    }

    pub(super) async fn frame(&mut self, number: u64, frame: Frame) -> Result<(), ShellError> {
        // It may have been replaced with frames of it still on the way here.
        let Some(installed) = self.connections.get(&number) else { return Ok(()) };
        match installed.who {
            Who::Peer { id, .. } => match P::Message::from_frame(&frame) {
                Some(message) => self.input(Input::Message { from: id, message }),
                None => {
                    let error = StreamError::Unexpected("not a message of this system");
                    self.drop_connection(number, &error).await
                }
            },
            Who::Client => match serde_json::from_slice(&frame.body) {
                Ok(request) if frame.kind == Kind::Request => {
                    self.requests.push((ClientId(number), request));
                    Ok(())
                }
                _ => {
                    let error = StreamError::Unexpected("not a request");
                    self.drop_connection(number, &error).await
                }
            },
        }
    }

    pub(super) async fn drop_connection(
        &mut self,
        number: u64,
        error: &StreamError,
    ) -> Result<(), ShellError> {
        if self.defects.bad_frame_kills_receiver
            && error.is_bad_frame()
            && self.connections.get(&number).is_some_and(|it| it.who != Who::Client)
        {
            // Nobody reads it any more, and nobody makes a new one as long as it is open.
            self.hit("bad-frame-kills-receiver", "a frame that cannot be read");
            return self.flush();
        }
        let Some(installed) = self.connections.remove(&number) else { return Ok(()) };
        installed.connection.close().await;
        match installed.who {
            Who::Peer { id, .. } => {
                // By the id of the peer, which is what it was stored by.
                if self.defects.key_mismatch {
                    self.hit("key-mismatch", "its address is not in the map");
                } else {
                    self.peers.insert(id, None);
                }
                if self.defects.poller_stale_fd {
                    self.hit("poller-stale-fd", "a closed connection is still polled");
                    self.stale = true;
                }
                let op = if error.is_bad_frame() { "bad-frame" } else { "drop" };
                self.note(op, Some(id), Some(&error.to_string()));
                self.input(Input::Disconnected(id))?;
            }
            Who::Client if error.is_bad_frame() => self.stranger(error),
            Who::Client => {}
        }
        self.flush()
    }

    /// Notes garbage of somebody unknown, but not each time: a flood of it is one fact.
    pub(super) fn stranger(&mut self, error: &StreamError) {
        let now = self.now();
        let flood = &mut self.bad_frames;
        flood.since += 1;
        if flood.noted_at.is_some_and(|at| now < at + BAD_FRAME_INTERVAL) {
            return;
        }
        flood.noted_at = Some(now);
        let count = std::mem::take(&mut flood.since);
        let op = if error.is_bad_frame() { "bad-frame" } else { "drop" };
        let reason = match count {
            1 => error.to_string(),
            _ => format!("{error} ({count} such connections since the last note)"),
        };
        self.note(op, None, Some(&reason));
    }
}
