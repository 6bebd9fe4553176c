use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use usurper_history::{Link, NodeId, frame::Kind};
use usurper_nemesis::{Answer, Condition, InstallError, Kinds, Network};

use super::wires::{
    BACK, N1, N2, N3, PATIENCE, TO, cut_all, dial, eventually, is_silent, pair, read_end,
    read_frame, refused, send,
};

#[tokio::test]
async fn a_cut_drops_frames_in_its_direction_only_and_heals_on_the_same_connection() {
    let mut pair = pair().await;
    pair.network.cut(&[TO]).unwrap();
    send(&mut pair.dialler, Kind::Heartbeat, 10).await;
    send(&mut pair.server, Kind::HeartbeatReply, 11).await;
    assert_eq!(read_frame(&mut pair.dialler).await.unwrap().index, 11);
    eventually("the frame is dropped", || pair.network.stats(TO).dropped == 1).await;
    let healed = pair.network.heal(&[TO]);
    assert_eq!(healed[0].1.to_string(), "1 dropped");
    send(&mut pair.dialler, Kind::Heartbeat, 12).await;
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 12, "10 is gone for good");
}

#[tokio::test]
async fn a_cut_of_some_kinds_lets_the_others_and_new_connections_pass() {
    let mut pair = pair().await;
    let kinds = Kinds::of([Kind::Notification]);
    pair.install(TO, &Condition::Cut { kinds });
    send(&mut pair.dialler, Kind::Notification, 1).await;
    pair.carries(2).await;
    assert_eq!(pair.network.stats(TO).dropped, 1);
    assert_eq!(Network::knock(pair.network.door(N1), TO).await.unwrap(), Answer::LetIn);
    pair.network.heal(&[TO]);
    send(&mut pair.dialler, Kind::Notification, 3).await;
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 3);
}

#[tokio::test]
async fn a_cut_in_either_direction_refuses_new_connections_until_it_heals() {
    let pair = pair().await;
    let knock = async |link| Network::knock(pair.network.door(N1), link).await.unwrap();
    for cut in [TO, BACK] {
        pair.install(cut, &cut_all());
        assert!(refused(&pair.network, N2, N1).await, "{cut}");
        assert_eq!(knock(TO).await, Answer::Refused);
        assert_eq!(knock(Link { from: N3, to: N1 }).await, Answer::LetIn, "n3 is not cut");
        assert_eq!(pair.network.faulty_links(), [cut]);
        pair.network.heal(&[cut]);
        assert_eq!(knock(TO).await, Answer::LetIn);
        assert_eq!(pair.network.faulty_links(), []);
    }
    let mut again = dial(&pair.network, N2, N1).await;
    let (mut server, _) = pair.listener.accept().await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello);
    send(&mut again, Kind::Heartbeat, 5).await;
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
    pair.carries(3).await;
}

#[tokio::test]
async fn garbage_after_the_hello_ends_that_connection_only() {
    // The path of an untouched link, and that of one under a condition.
    let late = Condition::Delay {
        delay: Duration::from_millis(1),
        jitter: Duration::ZERO,
        kinds: Kinds::ALL,
    };
    for condition in [None, Some(late)] {
        let mut pair = pair().await;
        let mut other = dial(&pair.network, N3, N1).await;
        let (mut other_server, _) = pair.listener.accept().await.unwrap();
        read_frame(&mut other_server).await.unwrap();
        if let Some(condition) = condition {
            pair.install(TO, &condition);
        }
        pair.dialler.write_all(b"no frame at all, for certain").await.unwrap();
        let end = timeout(PATIENCE, pair.server.read(&mut [0])).await.expect("closed in time");
        assert!(matches!(end, Err(_) | Ok(0)), "not a byte of it arrives");
        send(&mut other, Kind::Heartbeat, 4).await;
        assert_eq!(read_frame(&mut other_server).await.unwrap().index, 4);
    }
}

#[tokio::test]
async fn a_door_before_a_dead_node_refuses() {
    let network = Network::open(&[N1, N2], 6).await.unwrap();
    assert!(refused(&network, N2, N1).await);
}

#[tokio::test]
async fn the_end_of_a_connection_does_not_cross_a_cut() {
    let mut pair = pair().await;
    pair.network.cut(&[TO]).unwrap();
    drop(pair.dialler);
    // What the other side sends meanwhile is sent in vain, and nothing tells it so.
    for index in 0..3 {
        send(&mut pair.server, Kind::Heartbeat, index).await;
    }
    assert_eq!(pair.network.connections(TO), 1, "the connection still stands");
    assert!(is_silent(&pair.server));
    pair.network.heal(&[TO]);
    let mut server = pair.server;
    // Now it is told, one way or the other.
    let _ = read_end(&mut server).await;
    let network = &pair.network;
    drop(server);
    eventually("the connection is gone", || network.connections(TO) == 0).await;
}

#[tokio::test]
async fn twenty_nodes_have_all_their_links_at_once() {
    const NODES: u8 = 20;
    let nodes: Vec<_> = NodeId::all(NODES).collect();
    let network = Network::open(&nodes, 20).await.unwrap();
    let mut connections = Vec::new();
    for to in nodes.iter().copied() {
        let listener = TcpListener::bind(network.server(to)).await.unwrap();
        for from in nodes.iter().copied().filter(|from| from.0 > to.0) {
            let dialler = dial(&network, from, to).await;
            let (mut server, _) = listener.accept().await.unwrap();
            assert_eq!(read_frame(&mut server).await.unwrap().index, u64::from(from.0));
            connections.push((from, to, dialler, server));
        }
    }
    assert_eq!(connections.len(), 190);
    let links: Vec<_> =
        connections.iter().map(|(from, to, ..)| Link { from: *from, to: *to }).collect();
    network.cut(&links).unwrap();
    for (_, _, dialler, _) in &mut connections {
        send(dialler, Kind::Heartbeat, 1).await;
    }
    eventually("every link dropped its frame", || {
        links.iter().all(|link| network.stats(*link).dropped == 1)
    })
    .await;
    network.heal(&links);
    for (from, to, dialler, server) in &mut connections {
        send(dialler, Kind::Heartbeat, 2).await;
        send(server, Kind::HeartbeatReply, 3).await;
        assert_eq!(read_frame(server).await.unwrap().index, 2, "{from}->{to}");
        assert_eq!(read_frame(dialler).await.unwrap().index, 3, "{to}->{from}");
    }
    connections.clear();
    eventually("nothing is left of them", || {
        links.iter().all(|link| network.connections(*link) == 0)
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_installed_is_refused() {
    let network = Network::open(&[N1, N2], 7).await.unwrap();
    let nowhere = Link { from: N1, to: NodeId(9) };
    assert_eq!(network.cut(&[nowhere]), Err(InstallError::NoLink(nowhere)));
    let late = |millis| Condition::Delay {
        delay: Duration::from_millis(millis),
        jitter: Duration::ZERO,
        kinds: Kinds::ALL,
    };
    let error = (0..1000).find_map(|millis| network.install(&[TO], &late(millis)).err());
    assert_eq!(error.unwrap().to_string(), "n2->n1 is under 64 conditions already");
}
