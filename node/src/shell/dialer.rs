//! Dialling one peer, for as long as the node lives.
//!
//! Of each pair the node with the larger id dials, and the other never does: who owns the
//! connection does not depend on who was first, or on what a restart forgot. One task per peer
//! makes sure that no more than one dial is in progress.

use std::{net::SocketAddr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::{mpsc, oneshot};
use usurper_history::{Clock, NodeId};

use super::node::Incoming;
use crate::wire::{Hello, Stream, StreamError};

const BACK_OFF_MIN: Duration = Duration::from_millis(20);
const BACK_OFF_MAX: Duration = Duration::from_millis(200);
/// A connection that lasted this long was a good one: dial again at once.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);

/// Dials `peer`, again whenever the connection is lost. `back_off` as long as they are lost quickly.
pub(super) async fn dial_for_ever(
    peer: NodeId,
    address: SocketAddr,
    hello: Hello,
    seed: u64,
    back_off: bool,
    incoming: mpsc::Sender<Incoming>,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = Clock::start();
    let mut wait = BACK_OFF_MIN;
    loop {
        let (dialling, over) = oneshot::channel();
        if incoming.send(Incoming::Dialling { peer, over }).await.is_err() {
            return;
        }
        let dialled = match Stream::dial(address, &hello).await {
            Ok((_, welcome)) if welcome.id != peer => Err(StreamError::WrongNode(welcome.id)),
            dialled => dialled,
        };
        drop(dialling);
        let up_at = clock.now_ns();
        match dialled {
            Ok((stream, welcome)) => {
                let (held, gone) = oneshot::channel();
                let item = Incoming::Dialled { peer, inc: welcome.inc, stream, held };
                if incoming.send(item).await.is_err() {
                    return;
                }
                // The node drops `held` together with the connection.
                let _dropped = gone.await;
                // For the defect `no-dial-owner`: whoever has lost its connection dials at once.
                if !back_off {
                    wait = BACK_OFF_MIN;
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "cannot dial"),
        }
        if Duration::from_nanos(clock.now_ns() - up_at) >= GOOD_CONNECTION {
            wait = BACK_OFF_MIN;
        }
        // Longer by up to a half, never shorter: the cap also bounds the dials per second.
        tokio::time::sleep(wait.mul_f64(rng.random_range(1.0..1.5))).await;
        wait = (wait * 2).min(BACK_OFF_MAX);
    }
}
