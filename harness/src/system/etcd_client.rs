//! A client of etcd, over its documented JSON gateway (`/v3/kv/…`), one HTTP connection to one server.
//!
//! Values are the JSON text of what the workload writes. Everything but a plain read or write is one
//! transaction that compares first: etcd answers whether the comparison held, and a no is the plain
//! no of an operation. Lists, counters and sets are read and then put back if nobody else was faster.
//!
//! An error that etcd answers to anything but a read is taken as unknown: a server that lost its
//! leader cannot tell what becomes of a proposal.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use usurper_history::OpType;

use super::{Client, ClientOptions, Operated, Operating, Operation, base64};
use crate::workload::{Kind, Reads};

/// A longer answer is none that was asked for.
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(super) struct EtcdClient {
    options: ClientOptions,
    connection: Option<TcpStream>,
}

/// Why there is no answer.
enum Trouble {
    /// Nothing was sent.
    Unsent(String),
    /// It was sent, and may have been done.
    Unknown(String),
    /// The server answered with an error.
    Refused(String),
}

impl EtcdClient {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self { options, connection: None }
    }

    async fn ask(&mut self, operation: &Operation, deadline: Instant) -> Operated {
        let Operation { f, key: Some(key), value } = operation else {
            return Operated::fail(format!("etcd has no client operation `{}`", operation.f));
        };
        let name = base64::encode(key.as_bytes());
        let put = |value: &Value| {
            let value = base64::encode(value.to_string().as_bytes());
            json!({"key": name, "value": value})
        };
        let done = match (*f, value) {
            ("read", _) => return self.read(&name, deadline).await,
            ("write", Some(value)) => {
                self.post("put", &put(value), deadline).await.map(|_| Operated::new(OpType::Ok))
            }
            ("cas", Some(Value::Array(pair))) if pair.len() == 2 => {
                let then = json!({"requestPut": put(&pair[1])});
                let compare = match &pair[0] {
                    Value::Null => json!({"key": name, "target": "VERSION", "version": "0"}),
                    value => json!({
                        "key": name,
                        "target": "VALUE",
                        "value": base64::encode(value.to_string().as_bytes()),
                    }),
                };
                self.transaction(&compare, &then, deadline).await.map(|(operated, _)| operated)
            }
            ("acquire", _) => {
                let compare = json!({"key": name, "target": "VERSION", "version": "0"});
                let then = json!({"requestPut": put(&json!("held"))});
                // The revision of the taking grows with each change of anything.
                let taken = self.transaction(&compare, &then, deadline).await;
                taken.map(|(operated, revision)| Operated {
                    value: Some(json!(revision)),
                    ..operated
                })
            }
            ("release", Some(token)) => {
                let token = token.to_string();
                let compare = json!({"key": name, "target": "MOD", "modRevision": token});
                let then = json!({"requestDeleteRange": {"key": name}});
                self.transaction(&compare, &then, deadline).await.map(|(operated, _)| operated)
            }
            ("append" | "add", Some(value)) => {
                let (held, revision) = match self.get(&name, false, deadline).await {
                    Ok(held) => held,
                    // Nothing was changed so far.
                    Err(trouble) => return Operated::fail(trouble.text()),
                };
                let Some(next) = self.added(held, value) else {
                    return Operated::fail(format!("`{key}` is not what the workload wrote"));
                };
                let revision = revision.to_string();
                let compare = json!({"key": name, "target": "MOD", "modRevision": revision});
                let then = json!({"requestPut": put(&next)});
                self.transaction(&compare, &then, deadline).await.map(|(operated, _)| operated)
            }
            _ => return Operated::fail(format!("etcd has no client operation `{f}`")),
        };
        done.unwrap_or_else(|trouble| match trouble {
            Trouble::Unsent(error) => Operated::fail(error),
            Trouble::Unknown(error) | Trouble::Refused(error) => Operated::info(error),
        })
    }

    async fn read(&mut self, name: &str, deadline: Instant) -> Operated {
        let serializable = self.options.reads == Reads::Serializable;
        match self.get(name, serializable, deadline).await {
            Ok((value, _)) => Operated {
                value: Some(match (self.options.kind, value) {
                    (Some(Kind::Counter), Value::Null) => json!(0),
                    (Some(Kind::List | Kind::Set), Value::Null) => json!([]),
                    (_, value) => value,
                }),
                ..Operated::new(OpType::Ok)
            },
            // A read has no effect that could come later; but a process that was not answered is over.
            Err(Trouble::Unknown(error)) => Operated::info(error),
            Err(trouble) => Operated::fail(trouble.text()),
        }
    }

    /// What a key holds (nothing: null), and the revision at which it was changed last.
    async fn get(
        &mut self,
        name: &str,
        serializable: bool,
        deadline: Instant,
    ) -> Result<(Value, u64), Trouble> {
        let body = json!({"key": name, "serializable": serializable});
        let answer = self.post("range", &body, deadline).await?;
        let held = &answer["kvs"][0];
        if held.is_null() {
            return Ok((Value::Null, 0));
        }
        let bytes = base64::decode(held["value"].as_str().unwrap_or_default());
        let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match (value, number(&held["mod_revision"])) {
            (Some(value), Some(revision)) => Ok((value, revision)),
            _ => Err(Trouble::Refused(format!("an answer that nobody asked for: {answer}"))),
        }
    }

    /// Does `then` if the comparison holds. With the revision of the answer.
    async fn transaction(
        &mut self,
        compare: &Value,
        then: &Value,
        deadline: Instant,
    ) -> Result<(Operated, u64), Trouble> {
        let body = json!({"compare": [compare], "success": [then]});
        let answer = self.post("txn", &body, deadline).await?;
        let Some(revision) = number(&answer["header"]["revision"]) else {
            return Err(Trouble::Unknown(format!("an answer that nobody asked for: {answer}")));
        };
        // What is false is left out.
        let held = answer["succeeded"].as_bool().unwrap_or(false);
        Ok((Operated::new(if held { OpType::Ok } else { OpType::Fail }), revision))
    }

    /// What a list, a set or a counter is once something was added to it.
    fn added(&self, held: Value, more: &Value) -> Option<Value> {
        if self.options.kind == Some(Kind::Counter) {
            let held = if held.is_null() { 0 } else { held.as_i64()? };
            return Some(json!(held.checked_add(more.as_i64()?)?));
        }
        let mut list = match held {
            Value::Null => Vec::new(),
            Value::Array(list) => list,
            _ => return None,
        };
        list.push(more.clone());
        Some(Value::Array(list))
    }

    /// Asks the gateway, over the connection there is or over a new one.
    async fn post(
        &mut self,
        what: &str,
        body: &Value,
        deadline: Instant,
    ) -> Result<Value, Trouble> {
        let server = self.options.server;
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => {
                let connected = match timeout_at(deadline, TcpStream::connect(server)).await {
                    Ok(connected) => connected.and_then(|stream| {
                        stream.set_nodelay(true)?;
                        Ok(stream)
                    }),
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                };
                let unsent =
                    |error| Trouble::Unsent(format!("cannot connect to {server}: {error}"));
                connected.map_err(unsent)?
            }
        };
        if is_closed(&stream) {
            return Err(Trouble::Unsent(format!("not sent: {server} has closed the connection")));
        }
        let body = body.to_string();
        let request = format!(
            "POST /v3/kv/{what} HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            read_answer(&mut stream).await
        };
        let (status, body) = match timeout_at(deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Trouble::Unknown(error.to_string())),
            Err(_) => return Err(Trouble::Unknown("no answer in time".to_owned())),
        };
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|error| Trouble::Unknown(format!("an answer that is no JSON: {error}")))?;
        self.connection = Some(stream);
        if status == 200 {
            Ok(answer)
        } else {
            let said = answer["error"].as_str().unwrap_or("no reason");
            Err(Trouble::Refused(format!("{status}: {said}")))
        }
    }
}

impl Client for EtcdClient {
    fn operate<'a>(&'a mut self, operation: &'a Operation, timeout: Duration) -> Operating<'a> {
        Box::pin(async move { self.ask(operation, Instant::now() + timeout).await })
    }
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Self::Unsent(text) | Self::Unknown(text) | Self::Refused(text) => text,
        }
    }
}

/// Whether the server is known to have ended the connection; then nothing is sent over it.
fn is_closed(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// The gateway writes 64-bit numbers as strings.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// Reads one HTTP answer: its status and its body.
async fn read_answer(stream: &mut TcpStream) -> io::Result<(u16, Vec<u8>)> {
    let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(answer) = parse_answer(&bytes).map_err(bad)? {
            return Ok(answer);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(bad("an answer without end"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The answer at the start of these bytes; none while it is not complete.
fn parse_answer(bytes: &[u8]) -> Result<Option<(u16, Vec<u8>)>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is no text")?;
    let mut body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or("a head without a status")?;
    let header = |name: &str| {
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if header("transfer-encoding") != Some("chunked") {
        let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
        let length = length.ok_or("a body without a length")?;
        return Ok(body.get(..length).map(|body| (status, body.to_vec())));
    }
    let mut whole = Vec::new();
    loop {
        let Some(end) = find(body, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&body[..end]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let size = size.filter(|size| *size <= ANSWER_BYTES_MAX).ok_or("a chunk without a size")?;
        // Each chunk ends with a line end, the last one, which is empty, too.
        let Some(chunk) = body.get(end + 2..end + 2 + size + 2) else { return Ok(None) };
        if size == 0 {
            return Ok(Some((status, whole)));
        }
        whole.extend_from_slice(&chunk[..size]);
        body = &body[end + 2 + size + 2..];
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::parse_answer;

    #[test]
    fn an_answer_is_read_with_a_length_and_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse_answer(plain), Ok(Some((200, b"{}".to_vec()))));
        let chunked =
            b"HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        assert_eq!(parse_answer(chunked), Ok(Some((503, b"{}".to_vec()))));
        for answer in [&plain[..], &chunked[..]] {
            for length in 0..answer.len() {
                assert_eq!(parse_answer(&answer[..length]), Ok(None), "{length} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for answer in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(parse_answer(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
