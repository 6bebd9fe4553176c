//! A client of a reference system, over its own frames.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use usurper_history::OpType;
use usurper_node::client::{self, Outcome, Request, SessionOp};

use super::{Client, ClientOptions, Operated, Operating, Operation};
use crate::workload::Kind;

pub(super) struct ReferenceClient {
    options: ClientOptions,
    connection: Option<client::Client>,
    /// The session, and the number of its last operation.
    session: Option<SessionOp>,
}

impl ReferenceClient {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self { options, connection: None, session: None }
    }

    async fn ask(&mut self, operation: &Operation, deadline: Instant) -> Operated {
        // Where nothing was asked yet, nothing was done.
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let (server, run) = (self.options.server, &self.options.run);
                let connecting = client::Client::connect(server, run);
                match tokio::time::timeout_at(deadline, connecting).await {
                    Ok(Ok(connection)) => none.insert(connection),
                    Ok(Err(error)) => return Operated::fail(error.to_string()),
                    Err(_) => return Operated::fail(format!("cannot connect to {server} in time")),
                }
            }
        };
        // A read changes nothing, so it may as well be done twice.
        let in_session = self.options.sessions && operation.f != "read";
        if in_session && self.session.is_none() {
            let opened = connection.call("register", None, None, left(deadline)).await;
            match opened {
                Outcome::Ok(id) if id.is_u64() => {
                    let id = id.as_u64().unwrap_or_default();
                    self.session = Some(SessionOp { id, serial: 0 });
                }
                other => {
                    let leader = connection.leader_hint();
                    return Operated { leader, ..Operated::fail(format!("no session: {other:?}")) };
                }
            }
        }
        let session = self.session.as_mut().filter(|_| in_session).map(|session| {
            session.serial += 1;
            *session
        });
        let request = Request {
            serial: 0,
            f: function(self.options.kind, operation.f).to_owned(),
            key: operation.key.clone(),
            value: operation.value.clone(),
            session,
        };
        let left = left(deadline);
        let outcome = match self.options.twice && in_session {
            true => connection.ask_twice(request, left).await,
            false => connection.ask(request, left).await,
        };
        let operated = match outcome {
            Outcome::Ok(value) => Operated {
                value: answer(self.options.kind, operation.f, value),
                ..Operated::new(OpType::Ok)
            },
            Outcome::No(_) => Operated::new(OpType::Fail),
            Outcome::Fail(error) => {
                let leader = connection.leader_hint();
                if leader.is_none() {
                    // The session may be what was refused. The next operation opens another.
                    self.session = None;
                }
                Operated { leader, ..Operated::fail(error) }
            }
            Outcome::Info(error) => Operated::info(error),
        };
        Operated { session: session.map(|session| (session.id, session.serial)), ..operated }
    }
}

/// What the system calls an operation.
fn function(kind: Option<Kind>, f: &'static str) -> &'static str {
    match (kind, f) {
        (Some(Kind::Set), "add") => "append",
        _ => f,
    }
}

/// What an answer says beyond what was asked. A key that was never used holds nothing.
fn answer(kind: Option<Kind>, f: &str, value: Value) -> Option<Value> {
    match (kind, f) {
        (Some(Kind::Counter), "read") if value.is_null() => Some(json!(0)),
        (Some(Kind::List | Kind::Set), "read") if value.is_null() => Some(json!([])),
        (None, _) | (_, "read" | "acquire") => Some(value),
        _ => None,
    }
}

impl Client for ReferenceClient {
    fn operate<'a>(&'a mut self, operation: &'a Operation, timeout: Duration) -> Operating<'a> {
        Box::pin(async move {
            let operated = self.ask(operation, Instant::now() + timeout).await;
            // The next operation makes a connection of its own, as everybody can see.
            if self.connection.as_ref().is_some_and(client::Client::is_broken) {
                self.connection = None;
            }
            operated
        })
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
