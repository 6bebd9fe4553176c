//! What the front door costs: round trips and throughput through one link, beside a direct
//! connection in the same process on the same runtime.
//!
//! `cargo bench -p usurper-nemesis --bench front_door`. The figures of a machine are in
//! `docs/front-door.md`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tokio::time::Instant;
use usurper_history::{
    Link, NodeId,
    frame::{Frame, Kind},
};
use usurper_nemesis::{Condition, Kinds, Network};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const ROUNDS: usize = 5;
const TRIPS: usize = 5_000;
const SMALL_BYTES: usize = 100;
const LARGE_BYTES: usize = 1 << 20;
const VOLUME_BYTES: usize = 2 << 30;

fn main() {
    // The door runs as it does in a run: on one thread of its own, with nothing else on it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let network = runtime.block_on(Network::open(&[N1, N2], 1)).expect("a network");
    let (server, door) = (network.server(N1), network.door(N1));
    thread::spawn(move || serve(&TcpListener::bind(server).expect("the node's own address")));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let measuring = thread::spawn(move || {
        let figures = measure(server, door);
        // The other thread waits for nothing else.
        let _ = stop.send(());
        figures
    });
    runtime.block_on(async {
        let _ = stopped.await;
    });
    report("untouched link", &measuring.join().expect("measured"));

    // A condition that no message meets: the price of looking at each.
    let condition = Condition::Hold { kinds: Kinds::of([Kind::EpochAck]) };
    let links = [Link { from: N2, to: N1 }, Link { from: N1, to: N2 }];
    network.install(&links, &condition).expect("installed");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let measuring = thread::spawn(move || {
        let figures = measure(server, door);
        let _ = stop.send(());
        figures
    });
    runtime.block_on(async {
        let _ = stopped.await;
    });
    report("link under a hold of another kind", &measuring.join().expect("measured"));
}

/// Medians over the rounds, of a direct connection and of one through the door.
struct Figures {
    trip: [Duration; 2],
    bytes_per_second: [f64; 2],
}

fn measure(server: SocketAddr, door: SocketAddr) -> Figures {
    let (mut trips, mut rates) = ([vec![], vec![]], [vec![], vec![]]);
    // Both in turn, so that a disturbance of the machine meets both.
    for _ in 0..ROUNDS {
        for (place, address) in [server, door].into_iter().enumerate() {
            trips[place].push(median_trip(address));
            rates[place].push(throughput(address));
        }
    }
    Figures {
        trip: trips.map(|mut trips| {
            trips.sort_unstable();
            trips[ROUNDS / 2]
        }),
        bytes_per_second: rates.map(|mut rates| {
            rates.sort_unstable_by(f64::total_cmp);
            rates[ROUNDS / 2]
        }),
    }
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn report(what: &str, figures: &Figures) {
    let [direct, through] = figures.trip;
    println!("{what}");
    println!(
        "  round trip of {SMALL_BYTES} bytes, median: direct {direct:?}, through the door \
         {through:?}, added {:?}",
        through.saturating_sub(direct)
    );
    let [direct, through] = figures.bytes_per_second.map(|rate| rate / 1e9);
    println!(
        "  throughput of {LARGE_BYTES} byte frames: direct {direct:.2} GB/s, through the door \
         {through:.2} GB/s, ratio {:.2}",
        through / direct
    );
}

fn frame(kind: Kind, bytes: usize) -> Vec<u8> {
    Frame { kind, term: 1, index: 2, body: vec![7; bytes] }.encode()
}

fn dial(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.write_all(&frame(Kind::Hello, 0)).expect("sent");
    stream
}

fn median_trip(address: SocketAddr) -> Duration {
    let mut stream = dial(address);
    let request = frame(Kind::Request, SMALL_BYTES);
    let mut reply = vec![0; request.len()];
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        stream.write_all(&request).expect("sent");
        stream.read_exact(&mut reply).expect("answered");
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[TRIPS / 2]
}

fn throughput(address: SocketAddr) -> f64 {
    let mut stream = dial(address);
    let large = frame(Kind::Reply, LARGE_BYTES);
    let start = Instant::now();
    let mut sent = 0;
    while sent < VOLUME_BYTES {
        stream.write_all(&large).expect("sent");
        sent += large.len();
    }
    // The answer comes when all of it has arrived.
    stream.write_all(&frame(Kind::Request, SMALL_BYTES)).expect("sent");
    let mut reply = vec![0; frame(Kind::Request, SMALL_BYTES).len()];
    stream.read_exact(&mut reply).expect("answered");
    u32::try_from(sent >> 10).map_or(f64::MAX, f64::from) * 1024.0 / start.elapsed().as_secs_f64()
}

/// Sends requests back and throws everything else away.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            // A connection that ends is how every measurement ends.
            let _ = answer(stream);
        });
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 18];
    // Bytes of the frame under way that are still to come.
    let (mut held, mut rest) = (0, 0);
    loop {
        let read = stream.read(&mut buffer[held..])?;
        if read == 0 {
            return Ok(());
        }
        let end = held + read;
        let mut at = 0;
        loop {
            let skip = rest.min(end - at);
            at += skip;
            rest -= skip;
            let Ok(Some(length)) = Frame::length(&buffer[at..end]) else { break };
            let is_request = Kind::from_byte(buffer[at + 3]) == Some(Kind::Request);
            if !is_request {
                rest = length;
            } else if end - at >= length {
                stream.write_all(&buffer[at..at + length])?;
                at += length;
            } else {
                break;
            }
            if at == end {
                break;
            }
        }
        buffer.copy_within(at..end, 0);
        held = end - at;
    }
}
