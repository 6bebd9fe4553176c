use std::{io, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use usurper_history::{
    Link, NodeId,
    frame::{Frame, HEADER_BYTES, Kind},
};
use usurper_nemesis::Network;

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);
const PATIENCE: Duration = Duration::from_secs(10);

fn link(from: NodeId, to: NodeId) -> Link {
    Link { from, to }
}

fn frame(kind: Kind, index: u64) -> Frame {
    Frame { kind, term: 1, index, body: vec![7; 100] }
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut bytes = vec![0; HEADER_BYTES + 100];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("a frame in time")?;
    Ok(Frame::decode(&bytes).unwrap().unwrap().0)
}

/// A network of three nodes of which n1 has a listener, and a connection from n2 through its door.
struct Pair {
    network: Network,
    listener: TcpListener,
    dialler: TcpStream,
    server: TcpStream,
}

async fn dial(network: &Network, from: NodeId, to: NodeId) -> TcpStream {
    let mut stream = TcpStream::connect(network.door(to)).await.unwrap();
    stream.write_all(&frame(Kind::Hello, u64::from(from.0)).encode()).await.unwrap();
    stream
}

async fn pair() -> Pair {
    let network = Network::open(&[N1, N2, N3], 5).await.unwrap();
    let listener = TcpListener::bind(network.server(N1)).await.unwrap();
    let dialler = dial(&network, N2, N1).await;
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap(), frame(Kind::Hello, 2));
    Pair { network, listener, dialler, server }
}

async fn refused(network: &Network, from: NodeId, to: NodeId) -> bool {
    let mut stream = dial(network, from, to).await;
    let read = timeout(PATIENCE, stream.read(&mut [0])).await.expect("an answer in time");
    matches!(read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_cut_drops_frames_in_its_direction_only_and_heals_on_the_same_connection() {
    let mut pair = pair().await;
    pair.network.cut(&[link(N2, N1)]);
    pair.dialler.write_all(&frame(Kind::Heartbeat, 10).encode()).await.unwrap();
    // The other direction still carries, and what it carries comes after the drop in time.
    pair.server.write_all(&frame(Kind::HeartbeatReply, 11).encode()).await.unwrap();
    assert_eq!(read_frame(&mut pair.dialler).await.unwrap().index, 11);
    let dropped = async {
        while pair.network.frames_dropped() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, dropped).await.expect("the frame is dropped");
    pair.network.heal(&[link(N2, N1)]);
    pair.dialler.write_all(&frame(Kind::Heartbeat, 12).encode()).await.unwrap();
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 12, "10 is gone for good");
    assert_eq!(pair.network.frames_dropped(), 1);
}

#[tokio::test]
async fn a_cut_in_either_direction_refuses_new_connections_until_it_heals() {
    let pair = pair().await;
    for cut in [link(N2, N1), link(N1, N2)] {
        pair.network.cut(&[cut]);
        assert!(refused(&pair.network, N2, N1).await, "{cut}");
        assert!(!Network::knock(pair.network.door(N1), link(N2, N1)).await.unwrap());
        assert!(
            Network::knock(pair.network.door(N1), link(N3, N1)).await.unwrap(),
            "n3 is not cut"
        );
        pair.network.heal(&[cut]);
        assert!(Network::knock(pair.network.door(N1), link(N2, N1)).await.unwrap());
    }
    let mut again = dial(&pair.network, N2, N1).await;
    let (mut server, _) = pair.listener.accept().await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello);
    again.write_all(&frame(Kind::Heartbeat, 5).encode()).await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().index, 5);
}

#[tokio::test]
async fn garbage_at_a_door_is_counted_and_dropped_and_others_pass() {
    let mut pair = pair().await;
    let mut stranger = TcpStream::connect(pair.network.door(N1)).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\nfiller to fill a header").await.unwrap();
    let end = timeout(PATIENCE, stranger.read(&mut [0])).await.expect("closed in time");
    assert!(matches!(end, Err(_) | Ok(0)));
    // A node that does not exist is a stranger, too.
    assert!(refused(&pair.network, NodeId(9), N1).await);
    let counters = pair.network.counters(N1).unwrap();
    assert_eq!(counters.garbage.load(Ordering::Relaxed), 2);
    pair.dialler.write_all(&frame(Kind::Heartbeat, 3).encode()).await.unwrap();
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 3);
}

#[tokio::test]
async fn garbage_after_the_hello_ends_that_connection_only() {
    let mut pair = pair().await;
    let mut other = dial(&pair.network, N3, N1).await;
    let (mut other_server, _) = pair.listener.accept().await.unwrap();
    read_frame(&mut other_server).await.unwrap();
    pair.dialler.write_all(b"no frame at all, for certain").await.unwrap();
    let end = timeout(PATIENCE, pair.server.read(&mut [0])).await.expect("closed in time");
    assert!(matches!(end, Err(_) | Ok(0)), "not a byte of it arrives");
    other.write_all(&frame(Kind::Heartbeat, 4).encode()).await.unwrap();
    assert_eq!(read_frame(&mut other_server).await.unwrap().index, 4);
}

#[tokio::test]
async fn a_door_before_a_dead_node_refuses() {
    let network = Network::open(&[N1, N2], 6).await.unwrap();
    assert!(refused(&network, N2, N1).await);
}
