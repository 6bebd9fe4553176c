//! What the link faults share: knocking at doors to see whether links are what they should be.

use std::sync::Arc;

use tokio::task::JoinSet;
use usurper_history::Link;

use super::{Act, Host, Pending, Seen};
use crate::network::Network;

/// Cuts the step's links; each must refuse a knock then.
pub(super) fn cut(act: &Act, host: &dyn Host) -> Pending {
    let network = host.network();
    network.cut(&act.links);
    let (links, clock) = (act.links.clone(), act.clock);
    Box::pin(async move {
        let mut seen = Seen::new(clock.now_ns());
        let refused = knock(&network, &links, false, &mut seen).await;
        seen.proofs.push(format!("{refused} links refuse a knock"));
        seen
    })
}

/// Heals the step's links; each must let a knock in then.
pub(super) fn heal(act: &Act, host: &dyn Host) -> Pending {
    let network = host.network();
    let dropped = network.frames_dropped();
    network.heal(&act.links);
    // A knock needs both directions, so a link whose other half stays cut cannot be proven so.
    let cut = network.cut_links();
    let whole = |link: &&Link| !cut.contains(&Link { from: link.to, to: link.from });
    let links: Vec<_> = act.links.iter().filter(whole).copied().collect();
    let clock = act.clock;
    Box::pin(async move {
        let mut seen = Seen::new(clock.now_ns());
        let open = knock(&network, &links, true, &mut seen).await;
        let frames = format!("{dropped} frames were dropped in this run until then");
        seen.proofs.push(format!("{open} links let a knock in; {frames}"));
        seen
    })
}

/// Knocks over each link at once; says how many answered as they should.
async fn knock(network: &Arc<Network>, links: &[Link], open: bool, seen: &mut Seen) -> usize {
    let mut answers = JoinSet::new();
    for link in links.iter().copied() {
        let door = network.door(link.to);
        answers.spawn(async move { (link, Network::knock(door, link).await) });
    }
    let mut right = 0;
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok((_, Ok(let_in))) if let_in == open => right += 1,
            Ok((link, Ok(true))) => seen.unclear.push(format!("{link} still lets a knock in")),
            Ok((link, Ok(false))) => seen.unclear.push(format!("{link} still refuses a knock")),
            Ok((link, Err(error))) => seen.unclear.push(format!("{link}: {error}")),
            Err(error) => seen.unclear.push(error.to_string()),
        }
    }
    right
}
