//! Acknowledged writes per second of three `raft` nodes under the whole harness, and beside it the
//! same workload on etcd's own gRPC interface, in turn on one machine, all data on a tmpfs.
//!
//! `cargo bench -p usurper --bench throughput -- [seconds] [rounds]`
//!
//! `raft` pays for the events of its nodes, and for a history in which every write stands twice. etcd
//! pays for neither: its client only counts. That client is a bare HTTP/2 one (RFC 9113) over a few
//! connections to the leader, each of which carries many streams, as gRPC clients do. Each client, of
//! either system, has one write open at a time.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const KEYS: u32 = 100;
const CLIENTS: [u32; 2] = [60, 240];
const CONNECTIONS: u32 = 4;
/// How long anything may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let mut number = |default: u32| args.next().and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (seconds, rounds) = (number(5), number(3));
    let place = PathBuf::from(format!("/dev/shm/usurper-throughput-{}", std::process::id()));
    fs::create_dir_all(&place).expect("a tmpfs at /dev/shm");
    for clients in CLIENTS {
        let (mut raft, mut etcd) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            raft.push(raft_writes(&place, clients, seconds, round));
            etcd.push(etcd_writes(&place, clients, seconds));
            let (raft, etcd) = (raft[raft.len() - 1], etcd[etcd.len() - 1]);
            println!("{clients} clients, round {round}: raft {raft:.0}/s, etcd {etcd:.0}/s");
        }
        let (raft, etcd) = (median(&mut raft), median(&mut etcd));
        let ratio = raft / etcd;
        println!("{clients} clients: raft {raft:.0}/s, etcd {etcd:.0}/s, ratio {ratio:.2}");
    }
    fs::remove_dir_all(&place).expect("it was made above");
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Runs the workload on `raft` and counts in the history what was acknowledged.
fn raft_writes(place: &Path, clients: u32, seconds: u32, seed: u32) -> f64 {
    let store = place.join("store");
    let words = format!(
        "run --system raft --workload register --op-mix write=1 --op-rate max --servers leader \
         --clients {clients} --keys {KEYS} --faults none --time {seconds}s --settle 0s --seed {seed}"
    );
    let ended = Command::new(env!("CARGO_BIN_EXE_usurper"))
        .args(words.split_whitespace())
        .args(["--store".into(), store.clone()])
        .output()
        .expect("usurper can be run");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    let history = fs::read_to_string(store.join("latest/history.jsonl")).expect("a history");
    let (mut invoked, mut ended, mut first, mut last, mut acknowledged) = (0, 0, None, 0, 0);
    for line in history.lines().filter(|line| line.contains("\"record\":\"op\"")) {
        let record: Value = serde_json::from_str(line).expect("a record");
        invoked += u64::from(record["type"] == "invoke");
        ended += u64::from(record["type"] != "invoke");
        if record["type"] == "ok" && record["f"] == "write" {
            let t = record["t"].as_u64().expect("a time");
            first.get_or_insert(t);
            (last, acknowledged) = (t, acknowledged + 1);
        }
    }
    assert_eq!(invoked, ended, "an operation without an end");
    fs::remove_dir_all(store).expect("the store");
    rate(acknowledged, Duration::from_nanos(last - first.expect("a write was acknowledged")))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Three etcd servers, killed when dropped.
struct Etcd {
    servers: Vec<Child>,
    data: PathBuf,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // One that has ended needs no signal.
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn host(server: u32) -> String {
    format!("127.97.{}.{server}", std::process::id() % 250 + 1)
}

fn start_etcd(place: &Path) -> Etcd {
    let data = place.join("etcd");
    let peers: Vec<_> = (1..=3).map(|n| format!("n{n}=http://{}:2380", host(n))).collect();
    let servers = (1..=3).map(|n| {
        let (client, peer) =
            (format!("http://{}:2379", host(n)), format!("http://{}:2380", host(n)));
        Command::new("etcd")
            .arg(format!("--name=n{n}"))
            .arg(format!("--data-dir={}", data.join(n.to_string()).display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .args(["--logger=zap", "--log-level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed")
    });
    Etcd { servers: servers.collect(), data }
}

/// Asks one server by its JSON gateway whether it leads.
fn leads(server: u32) -> io::Result<bool> {
    let mut stream = TcpStream::connect((host(server), 2379))?;
    stream.write_all(
        b"POST /v3/maintenance/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
          Content-Length: 2\r\n\r\n{}",
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status: Value = serde_json::from_str(body)?;
    let leader = status["leader"].as_str();
    Ok(leader.is_some_and(|id| id != "0") && leader == status["header"]["member_id"].as_str())
}

/// Runs the workload on etcd's leader, over gRPC.
fn etcd_writes(place: &Path, clients: u32, seconds: u32) -> f64 {
    let _etcd = start_etcd(place);
    let start = Instant::now();
    let leader = loop {
        if let Some(server) = (1..=3).find(|server| leads(*server).unwrap_or(false)) {
            break server;
        }
        assert!(start.elapsed() < PATIENCE, "etcd elects no leader");
        thread::sleep(Duration::from_millis(20));
    };
    let time = Duration::from_secs(u64::from(seconds));
    let start = Instant::now();
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let streams = clients / CONNECTIONS;
            thread::spawn(move || {
                let stream = TcpStream::connect((host(leader), 2379)).expect("etcd listens");
                Grpc::new(stream, &host(leader)).write_for(streams, number, start + time)
            })
        })
        .collect();
    let counts = connections.into_iter().map(|it| it.join().expect("a connection of ours"));
    let acknowledged: u64 = counts.map(|count| count.expect("etcd answers")).sum();
    rate(acknowledged, start.elapsed())
}

/// One HTTP/2 connection that only puts.
struct Grpc {
    stream: TcpStream,
    /// The header block of every request: nothing of it is indexed, so that it needs no state.
    headers: Vec<u8>,
    out: Vec<u8>,
    input: Vec<u8>,
    /// Bytes of data that the server still takes.
    window: i64,
    next_stream: u32,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

impl Grpc {
    fn new(stream: TcpStream, authority: &str) -> Self {
        stream.set_nodelay(true).expect("a socket of ours");
        // POST, http, and then literals whose names stand in the static table of RFC 7541.
        let mut headers = vec![0x83, 0x86];
        let mut text = |name: &[u8], value: &str| {
            headers.extend_from_slice(name);
            headers.push(u8::try_from(value.len()).expect("short"));
            headers.extend_from_slice(value.as_bytes());
        };
        text(&[0x04], "/etcdserverpb.KV/Put");
        text(&[0x01], authority);
        text(&[0x0f, 0x10], "application/grpc");
        text(&[0x00, 2, b't', b'e'], "trailers");
        let mut grpc = Self {
            stream,
            headers,
            out: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            input: Vec::new(),
            window: 65_535,
            next_stream: 1,
        };
        grpc.frame(SETTINGS, 0, 0, &[]);
        // Answers are small, and there is room for all of them.
        grpc.frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
        grpc
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        self.out.extend_from_slice(&length[1..]);
        self.out.extend_from_slice(&[kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
        self.out.extend_from_slice(body);
    }

    fn put(&mut self, key: &str, value: &str) -> u32 {
        let mut message = Vec::new();
        for (tag, text) in [(0x0a, key), (0x12, value)] {
            message.extend_from_slice(&[tag, u8::try_from(text.len()).expect("short")]);
            message.extend_from_slice(text.as_bytes());
        }
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
        body.extend_from_slice(&message);
        let stream = self.next_stream;
        self.next_stream += 2;
        let headers = self.headers.clone();
        self.frame(HEADERS, END_HEADERS, stream, &headers);
        self.frame(DATA, END_STREAM, stream, &body);
        self.window -= i64::try_from(body.len()).expect("short");
        stream
    }

    /// Keeps so many puts under way until the end, and counts those that were acknowledged.
    fn write_for(mut self, streams: u32, number: u32, end: Instant) -> io::Result<u64> {
        let (mut acknowledged, mut value, mut free) = (0, u64::from(number), streams);
        // By stream: whether it has had an answer.
        let mut open: HashMap<u32, bool> = HashMap::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let over = Instant::now() >= end;
            while free > 0 && !over && self.window > 1024 {
                value += u64::from(CONNECTIONS);
                let stream = self.put(&format!("k{}", value % u64::from(KEYS)), &value.to_string());
                open.insert(stream, false);
                free -= 1;
            }
            self.stream.write_all(&self.out)?;
            self.out.clear();
            if over && open.is_empty() {
                return Ok(acknowledged);
            }
            let count = self.stream.read(&mut buffer)?;
            assert!(count > 0, "etcd has closed the connection");
            self.input.extend_from_slice(&buffer[..count]);
            let mut at = 0;
            while let Some((kind, flags, stream, body)) = next_frame(&self.input[at..]) {
                let (start, length) = (at + 9, body);
                at = start + length;
                match kind {
                    DATA if length > 5 => {
                        open.insert(stream, true);
                    }
                    SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
                    PING if flags & ACK == 0 => {
                        let body = self.input[start..at].to_vec();
                        self.frame(PING, ACK, 0, &body);
                    }
                    WINDOW_UPDATE if stream == 0 => {
                        let bytes = self.input[start..at].try_into().expect("four bytes");
                        self.window += i64::from(u32::from_be_bytes(bytes));
                    }
                    _ => {}
                }
                if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                    let answered = open.remove(&stream).expect("a stream of ours");
                    // A refusal has trailers and nothing else.
                    acknowledged += u64::from(answered);
                    free += 1;
                }
            }
            self.input.drain(..at);
        }
    }
}

/// The frame that starts these bytes: its kind, flags, stream and the length of its body.
fn next_frame(bytes: &[u8]) -> Option<(u8, u8, u32, usize)> {
    let head = bytes.get(..9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    (bytes.len() >= 9 + length).then_some((head[3], head[4], stream, length))
}
