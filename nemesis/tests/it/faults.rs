//! What the link faults say of themselves: what was seen, what was not, and what is left.

use std::{path::PathBuf, sync::Arc};

use serde_json::Value;
use tokio::time::timeout;
use usurper_history::{Clock, Effect, Link, NodeId, control::Command, frame::Kind};
use usurper_nemesis::{
    Act, Bending, Damage, Exit, Fault, Host, HostError, Network, NetworkOptions, Operating,
    Process, Seen, Starting, Step, Wire,
};

use super::wires::{BACK, N1, N2, N3, PATIENCE, TO, eventually, pair, read_indexes, send};

/// A host that has a network and nothing else.
struct OnlyLinks(Arc<Network>);

impl Host for OnlyLinks {
    fn process(&self, _: NodeId) -> Option<Process> {
        None
    }

    fn is_frozen(&self, _: NodeId) -> bool {
        false
    }

    fn set_frozen(&mut self, _: NodeId, _: bool) {}

    fn expect_exit(&mut self, _: NodeId) {}

    fn start(&mut self, _: NodeId) -> Result<Starting, HostError> {
        Err("there is nothing to start".into())
    }

    fn network(&self) -> Arc<Network> {
        Arc::clone(&self.0)
    }

    fn tolerate(&mut self, _: NodeId, _: Exit) {}

    fn lose_power(&mut self, _: NodeId) {}

    fn bend(&mut self, _: NodeId, _: &Command) -> Bending {
        Box::pin(std::future::ready(Err("there is nothing to bend".to_owned())))
    }

    fn data(&self, _: NodeId) -> PathBuf {
        PathBuf::new()
    }

    fn log(&self, _: NodeId) -> PathBuf {
        PathBuf::new()
    }

    fn note_damage(&mut self, _: NodeId, _: Damage) {}

    fn take_damage(&mut self, _: NodeId) -> Vec<Damage> {
        Vec::new()
    }

    fn operate(&mut self, _: NodeId, _: &'static str, _: Value) -> Result<Operating, HostError> {
        Err("there is nothing to operate".into())
    }
}

/// Does a step, given as TOML without its links.
async fn done(network: &Arc<Network>, step: &str, links: &[Link]) -> Seen {
    let names: Vec<_> = links.iter().map(|link| format!("'{link}'")).collect();
    let text = format!("{step}\nlinks = [{}]", names.join(", "));
    let step: Step = toml::from_str(&text).unwrap();
    assert_eq!(step.fault.info().name, step.fault.to_string());
    let act = Act { links: links.to_vec(), step, nodes: Vec::new(), clock: Clock::start() };
    let pending = act.step.fault.begin(&act, &mut OnlyLinks(Arc::clone(network))).unwrap();
    timeout(PATIENCE, pending).await.expect("seen in time")
}

fn proofs(seen: &Seen) -> String {
    assert_eq!((&seen.unclear, &seen.refused), (&vec![], &None), "{seen:?}");
    seen.proofs.join("; ")
}

#[tokio::test]
async fn each_condition_is_seen_to_be_in_force_and_a_heal_to_end_it() {
    for (step, seen) in [
        ("do = 'cut'", "1 links refuse a knock"),
        ("do = 'cut'\nkinds = ['notification']", "in force: cut notification"),
        ("do = 'blackhole'", "1 links leave a knock without an answer"),
        ("do = 'refuse'", "1 links refuse a knock"),
        ("do = 'delay'\ndelay = '1s'", "in force: delay every message by 1s and up to 0ns more"),
        ("do = 'loss'\nprobability = 0.5", "in force: lose every message with probability 0.5"),
        ("do = 'throttle'\nrate = '5KB'", "in force: throttle to 5KB/s"),
        ("do = 'duplicate'\ncount = 2", "duplicate every message with probability 1, 2 at most"),
        ("do = 'reorder'", "in force: reorder every message with probability 1 within 100ms"),
        ("do = 'corrupt'\nkinds = ['reply']", "in force: corrupt reply with probability 1"),
        ("do = 'hold'\nkinds = ['notification', 'hello']", "in force: hold hello, notification"),
    ] {
        let network = Arc::new(Network::open(&[N1, N2, N3], 60).await.unwrap());
        let proof = proofs(&done(&network, step, &[TO]).await);
        assert!(proof.contains(seen), "{step}: {proof}");
        assert_eq!(network.faulty_links(), [TO], "{step}");
        let healed = proofs(&done(&network, "do = 'heal'", &[TO, BACK]).await);
        assert_eq!(healed, "2 links let a knock in; nothing was harmed", "{step}");
        assert_eq!(network.faulty_links(), []);
    }
}

#[tokio::test]
async fn a_heal_tells_what_was_done_to_its_links_meanwhile() {
    let network = Arc::new(Network::open(&[N1, N2, N3], 61).await.unwrap());
    let step = Step::new(Fault::Heal, None);
    let act = Act { links: vec![TO], step, nodes: Vec::new(), clock: Clock::start() };
    let pending = Fault::Heal.begin(&act, &mut OnlyLinks(Arc::clone(&network))).unwrap();
    proofs(&done(&network, "do = 'delay'\ndelay = '1s'", &[TO]).await);
    let seen = pending.await;
    assert_eq!(seen.unclear, [""; 0]);
    assert!(seen.proofs.contains(&"n2->n1 is under a new condition".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn a_release_tells_what_went_and_whether_the_link_is_well_again() {
    let pair = pair().await;
    let network = Arc::new(pair.network);
    let (mut dialler, mut server) = (pair.dialler, pair.server);
    let nothing = done(&network, "do = 'release'", &[TO]).await;
    assert_eq!(nothing.refused.unwrap(), "these links do not hold every message");
    done(&network, "do = 'hold'\nkinds = ['notification']", &[TO]).await;
    let none_yet = done(&network, "do = 'release'\ncount = 1", &[TO]).await;
    assert_eq!(none_yet.refused.unwrap(), "no frame is held that could be released");
    for index in 0..3 {
        send(&mut dialler, Kind::Notification, index).await;
    }
    eventually("they are held", || network.held(TO) == 3).await;
    let one = done(&network, "do = 'release'\ncount = 1", &[TO]).await;
    assert_eq!(proofs(&one), "n2->n1: 1 frames released, 2 still held");
    assert_eq!(one.effect, None, "the hold goes on");
    assert_eq!(read_indexes(&mut server, 1).await, [0]);
    done(&network, "do = 'delay'\ndelay = '1ms'", &[TO]).await;
    done(&network, "do = 'hold'\nkinds = ['reply']", &[TO]).await;
    let all = done(&network, "do = 'release'\nkinds = ['notification']", &[TO]).await;
    assert_eq!(proofs(&all), "n2->n1: 2 frames released, 0 still held");
    assert_eq!(all.effect, None, "the link is under other conditions");
    assert_eq!(read_indexes(&mut server, 2).await, [1, 2]);
    let healed = proofs(&done(&network, "do = 'heal'", &[TO]).await);
    assert_eq!(healed, "1 links let a knock in; n2->n1: 3 held, 3 released, 2 delayed");
    done(&network, "do = 'hold'", &[TO]).await;
    let last = done(&network, "do = 'release'", &[TO]).await;
    assert_eq!(last.effect, Some(Effect::Restored));
}

#[tokio::test]
async fn a_reset_without_a_connection_is_not_called_done() {
    let pair = pair().await;
    let network = Arc::new(pair.network);
    let elsewhere = Link { from: N3, to: N1 };
    let none = done(&network, "do = 'reset'", &[elsewhere]).await;
    assert_eq!(none.refused.unwrap(), "there is no connection over these links");
    let both = done(&network, "do = 'reset'", &[TO, BACK]).await;
    assert_eq!(proofs(&both), "1 connections reset", "it is one connection, over two links");
    assert_eq!(both.effect, Some(Effect::Restored));
}

#[tokio::test]
async fn what_foreign_bytes_do_not_allow_is_skipped_with_the_reason() {
    let options = NetworkOptions { hint: 62, seed: 1, wire: Wire::Bytes };
    let network = Arc::new(Network::open_with(&[N1, N2], options).await.unwrap());
    let links = "links carry bytes of a foreign program here, not frames";
    for step in ["do = 'hold'", "do = 'loss'\nprobability = 1", "do = 'cut'\nkinds = ['reply']"] {
        assert_eq!(done(&network, step, &[TO]).await.refused.unwrap(), links, "{step}");
    }
    assert_eq!(network.faulty_links(), []);
    proofs(&done(&network, "do = 'cut'", &[TO]).await);
    proofs(&done(&network, "do = 'heal'", &[TO]).await);
}

#[tokio::test]
async fn many_links_are_summed_up() {
    let nodes: Vec<_> = NodeId::all(6).collect();
    let network = Arc::new(Network::open(&nodes, 63).await.unwrap());
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    let links: Vec<_> = pairs.filter(|(from, to)| from != to).map(Link::from).collect();
    let proof = proofs(&done(&network, "do = 'delay'\ndelay = '1ms'", &links).await);
    assert!(proof.ends_with("n2->n4 has 0 connections; and 22 links more"), "{proof}");
}
