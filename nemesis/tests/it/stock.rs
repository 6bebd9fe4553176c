//! A stock server program that knows nothing of us: it takes lines and answers each with itself, and
//! dials where it is told to. This test binary is started again as that program.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use usurper_history::{Link, NodeId, frame::Kind};
use usurper_nemesis::{
    Answer, Chance, Condition, InstallError, Kinds, Network, NetworkOptions, Output, Process,
    Stream, Wire,
};

use super::wires::{N1, N2, N3, PATIENCE, always, cut_all, eventually};

/// By which the program knows that it is one: where it listens, and whom it dials.
const LISTEN: &str = "STOCK_LISTEN";
const DIAL: &str = "STOCK_DIAL";

/// Not a test: the program, if it was started as one. It ends when it is killed.
#[test]
fn stock_program() {
    let Ok(listen) = std::env::var(LISTEN) else { return };
    let listener = TcpListener::bind(listen).unwrap();
    if let Ok(dial) = std::env::var(DIAL) {
        thread::spawn(move || dial_for_ever(dial.parse().unwrap()));
    }
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::spawn(move || {
            let mut answers = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if answers.write_all(format!("{line}\n").as_bytes()).is_err() {
                    return;
                }
            }
        });
    }
}

/// Says one number after the other and waits for each to come back; dials again after an error.
fn dial_for_ever(to: SocketAddr) {
    let mut number = 0_u64;
    loop {
        let mut exchange = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(to)?;
            let mut answers = BufReader::new(stream.try_clone()?);
            println!("connected");
            loop {
                number += 1;
                stream.write_all(format!("{number}\n").as_bytes())?;
                let mut answer = String::new();
                if answers.read_line(&mut answer)? == 0 {
                    return Ok(());
                }
                println!("answer {}", answer.trim());
            }
        };
        if let Err(error) = exchange() {
            println!("error {:?}", error.kind());
        }
        // A program that dials in a loop without a pause would drown the test.
        thread::park_timeout(Duration::from_millis(5));
    }
}

const ARGS: [&str; 4] = ["--exact", "stock::stock_program", "--nocapture", "--test-threads=1"];

/// Two such programs, of which n2 dials n1 through its door.
struct Stock {
    network: Network,
    server: Process,
    dialler: Process,
    lines: mpsc::Receiver<Output>,
}

const TO: Link = Link { from: N2, to: N1 };
const BACK: Link = Link { from: N1, to: N2 };

fn start(
    network: &Network,
    node: NodeId,
    dial: Option<NodeId>,
) -> (Process, mpsc::Receiver<Output>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ARGS);
    start_as(network, node, dial, command)
}

fn start_as(
    network: &Network,
    node: NodeId,
    dial: Option<NodeId>,
    mut command: Command,
) -> (Process, mpsc::Receiver<Output>) {
    let (sender, lines) = mpsc::channel(100);
    command.env(LISTEN, network.server(node).to_string());
    if let Some(to) = dial {
        command.env(DIAL, network.door(to).to_string());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let process = Process::spawn(command, sender, |output| output).unwrap();
    network.set_pid(node, Some(process.pid()));
    (process, lines)
}

async fn stock() -> Stock {
    let options = NetworkOptions { hint: 50, seed: 1, wire: Wire::Bytes };
    let network = Network::open_with(&[N1, N2, N3], options).await.unwrap();
    let (server, mut silent) = start(&network, N1, None);
    tokio::spawn(async move { while silent.recv().await.is_some() {} });
    let (dialler, lines) = start(&network, N2, Some(N1));
    let mut stock = Stock { network, server, dialler, lines };
    stock.waits_for("answer ").await;
    stock
}

impl Stock {
    /// The next line of the dialler that starts so.
    async fn waits_for(&mut self, start: &str) -> String {
        let find = async {
            loop {
                match self.lines.recv().await.expect("the program runs") {
                    Output::Line(Stream::Stdout, line) => {
                        let line = String::from_utf8(line).unwrap();
                        if line.starts_with(start) {
                            return line;
                        }
                    }
                    Output::Exited(exit) => panic!("the program ended with {exit}"),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no line `{start}…`"))
    }

    /// Reads whatever the dialler has said so far, until it says nothing for a while.
    async fn falls_silent(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if timeout(Duration::from_millis(200), self.lines.recv()).await.is_err() {
                return true;
            }
        }
        false
    }

    fn install(&self, link: Link, condition: &Condition) {
        self.network.install(&[link], condition).unwrap();
    }

    async fn knock(&self, link: Link) -> Answer {
        Network::knock(self.network.door(link.to), link).await.unwrap()
    }
}

fn number(answer: &str) -> u64 {
    answer.strip_prefix("answer ").and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_door_knows_who_knocks_without_a_hello() {
    let stock = stock().await;
    assert_eq!(stock.network.connections(TO), 1);
    assert_eq!(stock.network.connections(Link { from: N3, to: N1 }), 0);
}

#[tokio::test]
async fn a_child_of_a_node_s_process_knocks_as_that_node() {
    let stock = stock().await;
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\" & wait"]).arg(std::env::current_exe().unwrap()).args(ARGS);
    let (parent, mut lines) = start_as(&stock.network, N3, Some(N1), command);
    let drain = tokio::spawn(async move { while lines.recv().await.is_some() {} });
    let network = &stock.network;
    eventually("it is let in", || network.connections(Link { from: N3, to: N1 }) == 1).await;
    // The whole group: the child would outlive its shell.
    parent.signal(Signal::SIGKILL).await.unwrap();
    timeout(PATIENCE, parent.ended()).await.unwrap();
    drain.abort();
}

#[tokio::test]
async fn who_is_no_node_is_refused() {
    let stock = stock().await;
    let (stranger, mut lines) = start(&stock.network, N3, Some(N1));
    // From now on nobody knows whose its connections are.
    stock.network.set_pid(N3, None);
    stock.network.reset(&[Link { from: N3, to: N1 }]).await;
    let drain = tokio::spawn(async move { while lines.recv().await.is_some() {} });
    let counters = stock.network.counters(N1).unwrap();
    eventually("it is turned away", || counters.garbage.load(Ordering::Relaxed) > 1).await;
    assert_eq!(stock.network.connections(Link { from: N3, to: N1 }), 0);
    drain.abort();
    stranger.signal(Signal::SIGKILL).await.unwrap();
}

#[tokio::test]
async fn a_cut_stops_foreign_bytes_and_a_heal_carries_on_where_they_were() {
    let mut stock = stock().await;
    for cut in [TO, BACK] {
        stock.install(cut, &cut_all());
        assert!(stock.falls_silent().await, "{cut} is cut");
        assert_eq!(stock.knock(TO).await, Answer::Refused);
        assert_eq!(stock.network.connections(TO), 1, "neither end is told");
        stock.network.heal(&[cut]);
        // Not a byte was lost: the program compares nothing, but its next answer is the next number.
        let first = number(&stock.waits_for("answer ").await);
        let next = number(&stock.waits_for("answer ").await);
        assert_eq!(next, first + 1);
        assert_eq!(stock.knock(TO).await, Answer::LetIn);
    }
}

#[tokio::test]
async fn a_death_behind_a_cut_is_not_told_until_it_heals() {
    let mut stock = stock().await;
    stock.network.cut(&[TO, BACK]).unwrap();
    stock.server.signal(Signal::SIGKILL).await.unwrap();
    timeout(PATIENCE, stock.server.ended()).await.unwrap();
    assert!(stock.falls_silent().await);
    assert_eq!(stock.network.connections(BACK), 1);
    stock.network.heal(&[TO, BACK]);
    stock.waits_for("error ").await;
}

#[tokio::test]
async fn a_blackhole_leaves_new_connections_waiting_until_it_heals() {
    let mut stock = stock().await;
    stock.install(TO, &Condition::Blackhole);
    stock.network.reset(&[TO]).await;
    stock.waits_for("error ").await;
    stock.waits_for("connected").await;
    let network = &stock.network;
    eventually("nobody answers", || network.stats(TO).unanswered == 1).await;
    assert!(stock.falls_silent().await);
    stock.network.heal(&[TO]);
    stock.waits_for("answer ").await;
}

#[tokio::test]
async fn a_reset_and_a_refusal_reach_a_foreign_program() {
    let mut stock = stock().await;
    stock.install(TO, &Condition::Refuse);
    stock.waits_for("answer ").await;
    assert_eq!(timeout(PATIENCE, stock.network.reset(&[BACK])).await.unwrap(), 1);
    stock.waits_for("error ").await;
    let network = &stock.network;
    eventually("it is refused", || network.stats(TO).refused > 0).await;
    stock.network.heal(&[TO]);
    stock.waits_for("answer ").await;
}

#[tokio::test]
async fn delay_and_throttle_slow_foreign_bytes_down() {
    let mut stock = stock().await;
    let late = Duration::from_millis(100);
    stock.install(TO, &Condition::Delay { delay: late, jitter: late, kinds: Kinds::ALL });
    eventually("it is late", || stock.network.stats(TO).delayed > 0).await;
    // Each comes once the one before it was answered.
    let start = Instant::now();
    let before = stock.network.stats(TO).delayed;
    eventually("the next but one", || stock.network.stats(TO).delayed > before + 1).await;
    assert!(start.elapsed() >= late, "{:?}", start.elapsed());
    stock.network.heal(&[TO]);
    stock.install(BACK, &Condition::Throttle { rate: "20B".parse().unwrap() });
    eventually("it is slow", || stock.network.stats(BACK).throttled > 2).await;
    stock.network.heal(&[BACK]);
    stock.waits_for("answer ").await;
}

#[tokio::test]
async fn a_foreign_byte_can_be_flipped_and_its_messages_not_told_apart() {
    let mut stock = stock().await;
    stock.install(TO, &Condition::Corrupt(Chance { count: Some(1), ..always(Kinds::ALL) }));
    eventually("a byte is flipped", || stock.network.stats(TO).corrupted == 1).await;
    // It may have been the end of a line, for which the program waits for ever.
    stock.network.reset(&[TO]).await;
    stock.waits_for("connected").await;
    for condition in [
        Condition::Loss(always(Kinds::ALL)),
        Condition::Hold { kinds: Kinds::ALL },
        Condition::Duplicate(always(Kinds::ALL)),
        Condition::Cut { kinds: Kinds::of([Kind::Heartbeat]) },
    ] {
        assert_eq!(stock.network.install(&[TO], &condition), Err(InstallError::Bytes));
    }
    stock.dialler.signal(Signal::SIGKILL).await.unwrap();
}
