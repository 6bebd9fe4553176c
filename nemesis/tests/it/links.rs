//! Each condition of a link bites, and heals.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};
use usurper_history::{Link, frame::Kind};
use usurper_nemesis::{Answer, Chance, Condition, Kinds, Network};

use super::wires::{
    BACK, N1, N2, N3, PATIENCE, Pair, TO, always, dial, eventually, is_silent, pair, read_end,
    read_frame, read_indexes, refused, send,
};

const LATE: Duration = Duration::from_millis(150);

fn delay(delay: Duration, jitter: Duration, kinds: Kinds) -> Condition {
    Condition::Delay { delay, jitter, kinds }
}

fn hold(kinds: impl IntoIterator<Item = Kind>) -> Condition {
    Condition::Hold { kinds: Kinds::of(kinds) }
}

/// A delay that no test waits for.
fn for_ever() -> Condition {
    delay(Duration::from_secs(300), Duration::ZERO, Kinds::ALL)
}

async fn held(pair: &Pair, count: u64) {
    eventually("the frames are held", || pair.network.held(TO) == count).await;
}

#[tokio::test]
async fn a_blackhole_swallows_frames_ends_and_new_connections_until_it_heals() {
    let mut pair = pair().await;
    pair.install(TO, &Condition::Blackhole);
    send(&mut pair.dialler, Kind::Heartbeat, 1).await;
    let network = &pair.network;
    eventually("the frame is swallowed", || network.stats(TO).dropped == 1).await;
    // Half open: the dialler goes, and the other end is not told.
    drop(pair.dialler);
    let mut waiting = dial(network, N2, N1).await;
    eventually("a new one is not answered", || network.stats(TO).unanswered == 1).await;
    assert!(is_silent(&waiting) && is_silent(&pair.server));
    assert_eq!(network.connections(TO), 1, "the one that was there stands");
    network.heal(&[TO]);
    // What a handshake would have repeated gets through now, and so does the end of the old one.
    let (mut server, _) = timeout(PATIENCE, pair.listener.accept()).await.unwrap().unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello);
    send(&mut waiting, Kind::Heartbeat, 2).await;
    assert_eq!(read_frame(&mut server).await.unwrap().index, 2);
    let _ = read_end(&mut pair.server).await;
}

#[tokio::test]
async fn who_stops_waiting_at_a_blackhole_leaves_nothing_behind() {
    let pair = pair().await;
    pair.install(BACK, &Condition::Blackhole);
    for _ in 0..5 {
        drop(dial(&pair.network, N2, N1).await);
    }
    eventually("all were taken", || pair.network.stats(TO).unanswered == 5).await;
    // Only a knocker that is still there is let in when it heals.
    let waiting = dial(&pair.network, N2, N1).await;
    eventually("it was taken", || pair.network.stats(TO).unanswered == 6).await;
    pair.network.heal(&[TO, BACK]);
    let (mut server, _) = timeout(PATIENCE, pair.listener.accept()).await.unwrap().unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello);
    drop(waiting);
}

#[tokio::test]
async fn a_reset_breaks_what_is_open_and_lets_in_what_is_new() {
    let mut pair = pair().await;
    let mut other = dial(&pair.network, N3, N1).await;
    let (mut other_server, _) = pair.listener.accept().await.unwrap();
    read_frame(&mut other_server).await.unwrap();
    assert_eq!(timeout(PATIENCE, pair.network.reset(&[BACK])).await.unwrap(), 1);
    assert!(read_end(&mut pair.dialler).await.is_err(), "a reset is no ordinary end");
    assert!(read_end(&mut pair.server).await.is_err());
    send(&mut other, Kind::Heartbeat, 1).await;
    assert_eq!(read_frame(&mut other_server).await.unwrap().index, 1, "n3 is not touched");
    let _again = dial(&pair.network, N2, N1).await;
    let (mut server, _) = pair.listener.accept().await.unwrap();
    assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello);
    assert_eq!(pair.network.faulty_links(), []);
}

#[tokio::test]
async fn a_reset_breaks_a_connection_whose_reader_has_stopped() {
    let mut pair = pair().await;
    // The door is in the middle of a write that cannot end.
    let fill = async {
        loop {
            send(&mut pair.dialler, Kind::Request, 1).await;
        }
    };
    assert!(timeout(LATE, fill).await.is_err());
    assert_eq!(timeout(PATIENCE, pair.network.reset(&[TO])).await.unwrap(), 1);
}

#[tokio::test]
async fn a_refusal_is_for_new_connections_of_one_dialler_only() {
    let mut pair = pair().await;
    pair.install(TO, &Condition::Refuse);
    assert!(refused(&pair.network, N2, N1).await);
    pair.carries(1).await;
    let knock =
        async |from, to| Network::knock(pair.network.door(to), Link { from, to }).await.unwrap();
    assert_eq!(knock(N1, N2).await, Answer::LetIn, "the direction is that of the dial");
    pair.network.heal(&[TO]);
    assert_eq!(knock(N2, N1).await, Answer::LetIn);
}

#[tokio::test]
async fn a_delay_is_a_lower_bound_keeps_the_order_and_ends_at_once() {
    let mut pair = pair().await;
    pair.install(TO, &delay(LATE, LATE, Kinds::ALL));
    let sent = Instant::now();
    for index in 0..20 {
        send(&mut pair.dialler, Kind::Heartbeat, index).await;
    }
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 0);
    assert!(sent.elapsed() >= LATE);
    assert_eq!(read_indexes(&mut pair.server, 19).await, (1..20).collect::<Vec<_>>());
    pair.install(TO, &for_ever());
    send(&mut pair.dialler, Kind::Heartbeat, 20).await;
    eventually("it is late", || pair.network.stats(TO).delayed == 21).await;
    pair.network.heal(&[TO]);
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 20);
    pair.carries(21).await;
}

#[tokio::test]
async fn a_delay_of_some_kinds_is_passed_by_the_others() {
    let mut pair = pair().await;
    let late = delay(Duration::from_secs(300), Duration::ZERO, Kinds::of([Kind::Notification]));
    pair.install(TO, &late);
    send(&mut pair.dialler, Kind::Notification, 1).await;
    pair.carries(2).await;
    pair.network.heal(&[TO]);
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 1);
}

#[tokio::test]
async fn a_delay_makes_the_end_late_too_and_loses_nothing_before_it() {
    let mut pair = pair().await;
    pair.install(TO, &delay(LATE, Duration::ZERO, Kinds::ALL));
    send(&mut pair.dialler, Kind::Heartbeat, 1).await;
    drop(pair.dialler);
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 1);
    let _ = read_end(&mut pair.server).await;
}

#[tokio::test]
async fn a_loss_takes_some_frames_and_heals() {
    let mut pair = pair().await;
    let chance = Chance { probability: 0.5, ..always(Kinds::of([Kind::Notification])) };
    pair.install(TO, &Condition::Loss(chance));
    for index in 0..200 {
        send(&mut pair.dialler, Kind::Notification, index).await;
    }
    send(&mut pair.dialler, Kind::Heartbeat, 1000).await;
    let mut arrived = Vec::new();
    loop {
        match read_frame(&mut pair.server).await.unwrap().index {
            1000 => break,
            index => arrived.push(index),
        }
    }
    assert!(arrived.is_sorted() && (40..160).contains(&arrived.len()), "{arrived:?}");
    assert_eq!(pair.network.stats(TO).lost, 200 - arrived.len() as u64);
    pair.network.heal(&[TO]);
    send(&mut pair.dialler, Kind::Notification, 7).await;
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 7);
}

#[tokio::test]
async fn the_same_seed_loses_the_same_frames() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut pair = pair().await;
        let chance = Chance { probability: 0.5, ..always(Kinds::of([Kind::Notification])) };
        pair.install(TO, &Condition::Loss(chance));
        for index in 0..64 {
            send(&mut pair.dialler, Kind::Notification, index).await;
        }
        send(&mut pair.dialler, Kind::Heartbeat, 1000).await;
        let mut arrived = Vec::new();
        while arrived.last() != Some(&1000) {
            arrived.push(read_frame(&mut pair.server).await.unwrap().index);
        }
        runs.push(arrived);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn a_count_bounds_what_happens_by_chance() {
    let mut pair = pair().await;
    pair.install(TO, &Condition::Loss(Chance { count: Some(2), ..always(Kinds::ALL) }));
    for index in 0..4 {
        send(&mut pair.dialler, Kind::Heartbeat, index).await;
    }
    assert_eq!(read_indexes(&mut pair.server, 2).await, [2, 3]);
}

#[tokio::test]
async fn a_throttle_takes_its_time_and_heals() {
    let mut pair = pair().await;
    // A frame is 128 bytes long, so ten of them keep this link busy for half a second.
    pair.install(TO, &Condition::Throttle { rate: "2560B".parse().unwrap() });
    let sent = Instant::now();
    for index in 0..11 {
        send(&mut pair.dialler, Kind::Heartbeat, index).await;
    }
    assert_eq!(read_indexes(&mut pair.server, 11).await, (0..11).collect::<Vec<_>>());
    assert!(sent.elapsed() >= Duration::from_millis(500), "{:?}", sent.elapsed());
    pair.install(TO, &Condition::Throttle { rate: "1B".parse().unwrap() });
    for index in 11..20 {
        send(&mut pair.dialler, Kind::Heartbeat, index).await;
    }
    eventually("it is slow", || pair.network.stats(TO).throttled > 11).await;
    pair.network.heal(&[TO]);
    assert_eq!(read_indexes(&mut pair.server, 9).await, (11..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_duplicate_comes_right_after_its_original_and_heals() {
    let mut pair = pair().await;
    pair.install(TO, &Condition::Duplicate(always(Kinds::of([Kind::Notification]))));
    send(&mut pair.dialler, Kind::Notification, 1).await;
    send(&mut pair.dialler, Kind::Heartbeat, 2).await;
    send(&mut pair.dialler, Kind::Notification, 3).await;
    assert_eq!(read_indexes(&mut pair.server, 5).await, [1, 1, 2, 3, 3]);
    assert_eq!(pair.network.heal(&[TO])[0].1.duplicated, 2);
    send(&mut pair.dialler, Kind::Notification, 4).await;
    send(&mut pair.dialler, Kind::Notification, 5).await;
    assert_eq!(read_indexes(&mut pair.server, 2).await, [4, 5]);
}

#[tokio::test]
async fn a_reordered_frame_is_overtaken_by_one_or_gives_up_and_heals() {
    let mut pair = pair().await;
    let long = Duration::from_secs(300);
    pair.install(TO, &Condition::Reorder { chance: always(Kinds::ALL), within: long });
    for index in 0..4 {
        send(&mut pair.dialler, Kind::Heartbeat, index).await;
    }
    assert_eq!(read_indexes(&mut pair.server, 4).await, [1, 0, 3, 2]);
    send(&mut pair.dialler, Kind::Heartbeat, 4).await;
    eventually("it waits", || pair.network.stats(TO).reordered == 3).await;
    pair.network.heal(&[TO]);
    assert_eq!(read_indexes(&mut pair.server, 1).await, [4]);
    pair.install(TO, &Condition::Reorder { chance: always(Kinds::ALL), within: LATE });
    let sent = Instant::now();
    send(&mut pair.dialler, Kind::Heartbeat, 5).await;
    assert_eq!(read_indexes(&mut pair.server, 1).await, [5]);
    assert!(sent.elapsed() >= LATE, "nobody overtook it in all that time");
}

#[tokio::test]
async fn a_corrupt_frame_fails_its_checksum_and_the_next_connection_is_well() {
    for _ in 0..20 {
        let mut pair = pair().await;
        pair.install(TO, &Condition::Corrupt(Chance { count: Some(1), ..always(Kinds::ALL) }));
        send(&mut pair.dialler, Kind::Heartbeat, 1).await;
        assert!(read_frame(&mut pair.server).await.is_err());
        assert_eq!(pair.network.stats(TO).corrupted, 1);
        // Only that one: its length was left alone, so the next frame is found.
        pair.carries(2).await;
    }
}

#[tokio::test]
async fn held_frames_are_released_in_order_and_others_pass() {
    let mut pair = pair().await;
    pair.install(TO, &hold([Kind::Notification]));
    for index in 0..3 {
        send(&mut pair.dialler, Kind::Notification, index).await;
        pair.carries(100 + index).await;
    }
    held(&pair, 3).await;
    let released = pair.network.release(&[TO], &Kinds::ALL, Some(1))[0].1;
    assert_eq!((released.frames, released.left), (1, 2));
    assert_eq!(read_indexes(&mut pair.server, 1).await, [0], "one at a time, the oldest first");
    // The hold goes on.
    send(&mut pair.dialler, Kind::Notification, 3).await;
    held(&pair, 3).await;
    let released = pair.network.release(&[TO], &Kinds::of([Kind::Notification]), None)[0].1;
    assert_eq!((released.frames, released.left), (3, 0));
    send(&mut pair.dialler, Kind::Notification, 4).await;
    assert_eq!(read_indexes(&mut pair.server, 4).await, [1, 2, 3, 4]);
    assert_eq!(pair.network.faulty_links(), []);
}

#[tokio::test]
async fn releasing_one_kind_keeps_the_others_held() {
    let mut pair = pair().await;
    pair.install(TO, &hold([]));
    send(&mut pair.dialler, Kind::Notification, 1).await;
    send(&mut pair.dialler, Kind::Heartbeat, 2).await;
    send(&mut pair.dialler, Kind::Notification, 3).await;
    held(&pair, 3).await;
    let released = pair.network.release(&[TO], &Kinds::of([Kind::Heartbeat]), None)[0].1;
    assert_eq!((released.was_held, released.frames), (true, 1));
    assert_eq!(read_indexes(&mut pair.server, 1).await, [2]);
    pair.carries(4).await;
    assert_eq!(pair.network.held(TO), 2);
    pair.network.heal(&[TO]);
    assert_eq!(read_indexes(&mut pair.server, 2).await, [1, 3], "a heal releases in order");
    let nothing = pair.network.release(&[TO], &Kinds::ALL, None)[0].1;
    assert!(!nothing.was_held);
}

#[tokio::test]
async fn a_held_frame_is_delivered_after_its_sender_has_died() {
    let mut pair = pair().await;
    pair.install(TO, &hold([Kind::Notification]));
    send(&mut pair.dialler, Kind::Notification, 1).await;
    held(&pair, 1).await;
    drop(pair.dialler);
    // What is sent to the dead one does not break the connection.
    for index in 0..5 {
        send(&mut pair.server, Kind::Heartbeat, index).await;
    }
    assert!(is_silent(&pair.server));
    pair.network.release(&[TO], &Kinds::ALL, None);
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 1);
    let _ = read_end(&mut pair.server).await;
}

#[tokio::test]
async fn held_frames_go_with_their_receiver() {
    let mut pair = pair().await;
    pair.install(TO, &hold([Kind::Notification]));
    send(&mut pair.dialler, Kind::Notification, 1).await;
    held(&pair, 1).await;
    drop(pair.server);
    drop(pair.dialler);
    let network = &pair.network;
    // The link back is whole, so the dialler's side has been told; what was held ends with it once
    // the last byte of its own is known to be for nobody.
    network.release(&[TO], &Kinds::ALL, None);
    eventually("the connection is gone", || network.connections(TO) == 0).await;
}

#[tokio::test]
async fn a_full_hold_says_what_it_dropped() {
    let mut pair = pair().await;
    pair.install(TO, &hold([Kind::Notification]));
    let bytes: Vec<u8> = (0..1000)
        .flat_map(|index| super::wires::frame(Kind::Notification, index).encode())
        .collect();
    for _ in 0..11 {
        pair.dialler.write_all(&bytes).await.unwrap();
    }
    pair.carries(5).await;
    let released = pair.network.release(&[TO], &Kinds::ALL, None)[0].1;
    assert_eq!((released.frames, released.overflowed), (10_000, 1000));
    let mut sink = vec![0; 128 * 10_000];
    timeout(PATIENCE, pair.server.read_exact(&mut sink)).await.unwrap().unwrap();
    assert!(is_silent(&pair.server));
}

#[tokio::test]
async fn delay_and_loss_apply_together() {
    let mut pair = pair().await;
    let chance = Chance { count: Some(1), ..always(Kinds::of([Kind::Notification])) };
    pair.install(TO, &delay(LATE, Duration::ZERO, Kinds::ALL));
    pair.install(TO, &Condition::Loss(chance));
    let sent = Instant::now();
    send(&mut pair.dialler, Kind::Notification, 1).await;
    send(&mut pair.dialler, Kind::Notification, 2).await;
    assert_eq!(read_frame(&mut pair.server).await.unwrap().index, 2);
    assert!(sent.elapsed() >= LATE);
    let stats = pair.network.heal(&[TO])[0].1;
    assert_eq!((stats.lost, stats.delayed), (1, 1));
}

#[tokio::test]
async fn a_cut_swallows_what_was_late_and_keeps_what_is_held() {
    let mut pair = pair().await;
    pair.install(TO, &hold([Kind::Notification]));
    // Long enough for the cut to come before its end, also on a machine that stands still for a while.
    pair.install(TO, &delay(Duration::from_secs(4), Duration::ZERO, Kinds::ALL));
    send(&mut pair.dialler, Kind::Notification, 1).await;
    send(&mut pair.dialler, Kind::Heartbeat, 2).await;
    held(&pair, 1).await;
    eventually("it is on its way", || pair.network.stats(TO).delayed == 1).await;
    pair.network.cut(&[TO]).unwrap();
    eventually("it is swallowed", || pair.network.stats(TO).dropped == 1).await;
    assert_eq!(pair.network.held(TO), 1);
    pair.network.heal(&[TO]);
    assert_eq!(read_indexes(&mut pair.server, 1).await, [1]);
}

#[tokio::test]
async fn a_condition_in_the_middle_of_a_frame_lets_that_frame_end() {
    let mut pair = pair().await;
    let (first, second) =
        (super::wires::frame(Kind::Request, 1), super::wires::frame(Kind::Request, 2));
    let bytes = first.encode();
    pair.dialler.write_all(&bytes[..60]).await.unwrap();
    let mut head = vec![0; 60];
    timeout(PATIENCE, pair.server.read_exact(&mut head)).await.unwrap().unwrap();
    pair.network.cut(&[TO]).unwrap();
    pair.dialler.write_all(&bytes[60..]).await.unwrap();
    pair.dialler.write_all(&second.encode()).await.unwrap();
    let mut tail = vec![0; bytes.len() - 60];
    timeout(PATIENCE, pair.server.read_exact(&mut tail)).await.unwrap().unwrap();
    assert_eq!([head, tail].concat(), bytes);
    eventually("the next one is dropped", || pair.network.stats(TO).dropped == 1).await;
    pair.network.heal(&[TO]);
    pair.carries(3).await;
}

#[tokio::test]
async fn a_greeting_is_touched_only_if_it_is_named() {
    let pair = pair().await;
    for condition in [
        Condition::Loss(always(Kinds::ALL)),
        Condition::Duplicate(always(Kinds::ALL)),
        Condition::Corrupt(always(Kinds::ALL)),
        hold([]),
    ] {
        pair.install(TO, &condition);
        let mut dialler = dial(&pair.network, N2, N1).await;
        let (mut server, _) = timeout(PATIENCE, pair.listener.accept()).await.unwrap().unwrap();
        assert_eq!(read_frame(&mut server).await.unwrap().kind, Kind::Hello, "{condition}");
        send(&mut dialler, Kind::Heartbeat, 1).await;
        eventually("the next one is", || !pair.network.stats(TO).is_zero()).await;
        pair.network.heal(&[TO]);
    }
    pair.install(TO, &hold([Kind::Hello]));
    let _dialler = dial(&pair.network, N2, N1).await;
    held(&pair, 1).await;
}

#[tokio::test]
async fn a_heal_is_idempotent() {
    let mut pair = pair().await;
    pair.install(TO, &for_ever());
    pair.install(TO, &Condition::Blackhole);
    for _ in 0..3 {
        pair.network.heal(&[TO, BACK]);
        assert_eq!(pair.network.faulty_links(), []);
    }
    pair.carries(1).await;
}
