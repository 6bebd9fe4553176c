//! What the link faults share: putting links under a condition, and seeing that it holds.

use std::sync::Arc;

use tokio::{
    task::JoinSet,
    time::{Duration, sleep},
};
use usurper_history::{Effect, Link};

use super::{Act, Host, Pending, Seen};
use crate::{
    deadline::within,
    link::{Chance, Condition, Kinds, LinkStats},
    network::{Answer, Network},
    schedule::Step,
};

/// Links that a proof names one by one.
const NAMED_MAX: usize = 8;
/// How long a blackhole may take to swallow a knock, and connections to be reset.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// How often a figure that nobody announces is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// How a condition is seen to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A knock is refused.
    Refuses,
    /// A knock is taken and not answered.
    Hangs,
    /// The link itself says so, and what it has carried since will show it.
    InForce,
}

/// Puts the step's links under a condition, and sees that it is in force.
pub(super) fn install(act: &Act, host: &dyn Host, condition: Condition, proof: Proof) -> Pending {
    let network = host.network();
    let links = act.links.clone();
    let clock = act.clock;
    let knocks: Vec<_> = links.iter().map(|link| network.knocks_unanswered(*link)).collect();
    // The conditions are the network's own state, which is what healing starts from.
    let installed = network.install(&links, &condition);
    let mut seen = Seen::new(clock.now_ns());
    Box::pin(async move {
        if let Err(error) = installed {
            seen.refused = Some(error.to_string());
            return seen;
        }
        match proof {
            Proof::Refuses => {
                let refused = knock(&network, &links, Answer::Refused, &mut seen).await;
                seen.proofs.push(format!("{refused} links refuse a knock"));
            }
            Proof::Hangs => hangs(&network, &links, &knocks, &mut seen).await,
            Proof::InForce => {
                let lacks = |link: &&Link| !network.conditions(**link).contains(&condition);
                let lacking =
                    links.iter().filter(lacks).map(|link| format!("{link} is healed again"));
                seen.unclear.extend(lacking);
                seen.proofs.push(format!("in force: {condition}"));
                seen.proofs.push(listed(&links, |link| {
                    let (open, held) = (network.connections(link), network.held(link));
                    let held =
                        if held > 0 { format!(", {held} frames held") } else { String::new() };
                    Some(format!("{link} has {open} connections{held}"))
                }));
            }
        }
        seen
    })
}

/// Cuts the step's links, or what they carry of some kinds.
pub(super) fn cut(act: &Act, host: &dyn Host) -> Pending {
    let kinds = kinds(&act.step);
    let proof = if kinds.is_all() { Proof::Refuses } else { Proof::InForce };
    install(act, host, Condition::Cut { kinds }, proof)
}

/// Ends every condition of the step's links; each must let a knock in then.
pub(super) fn heal(act: &Act, host: &dyn Host) -> Pending {
    let network = host.network();
    let done = network.heal(&act.links);
    let (links, clock) = (act.links.clone(), act.clock);
    let mut seen = Seen::new(clock.now_ns());
    Box::pin(async move {
        // A knock needs both directions, so a link whose other half lets none in cannot be proven.
        let whole = |link: &&Link| network.lets_in(**link);
        let whole: Vec<_> = links.iter().filter(whole).copied().collect();
        let open = knock(&network, &whole, Answer::LetIn, &mut seen).await;
        seen.proofs.push(format!("{open} links let a knock in"));
        let stats = listed(&links, |link| {
            let (_, stats) = done.iter().find(|(healed, _)| *healed == link)?;
            (!stats.is_zero()).then(|| format!("{link}: {stats}"))
        });
        let mut total = LinkStats::default();
        done.iter().for_each(|(_, stats)| total.add(stats));
        let figures = if total.is_zero() { "nothing was harmed".to_owned() } else { stats };
        seen.proofs.push(figures);
        // What other steps have done since is theirs to undo: these conditions were ended all the same.
        let again = links.iter().filter(|link| !network.conditions(**link).is_empty());
        seen.proofs.extend(again.map(|link| format!("{link} is under a new condition")));
        if total.overflowed > 0 {
            seen.unclear.push(format!("{} frames were too many to hold", total.overflowed));
        }
        seen
    })
}

/// Resets the step's connections, once.
pub(super) fn reset(act: &Act, host: &dyn Host) -> Pending {
    let network = host.network();
    let (links, clock) = (act.links.clone(), act.clock);
    Box::pin(async move {
        let asked = async {
            let connections = network.reset(&links).await;
            (connections, clock.now_ns())
        };
        let Some((connections, acted_ns)) = within(PROOF_MAX, asked).await else {
            let mut seen = Seen::new(clock.now_ns());
            seen.unclear.push(format!("some connections are still open after {PROOF_MAX:?}"));
            return seen;
        };
        let mut seen = Seen::new(acted_ns);
        if connections == 0 {
            seen.refused = Some("there is no connection over these links".to_owned());
        } else {
            seen.proofs.push(format!("{connections} connections reset"));
            let clean = is_clean(&network, &links);
            seen.effect = Some(if clean { Effect::Restored } else { Effect::Degraded });
        }
        seen
    })
}

/// Lets held messages of the step's links go.
pub(super) fn release(act: &Act, host: &dyn Host) -> Pending {
    let network = host.network();
    let (links, kinds, count) = (act.links.clone(), kinds(&act.step), act.step.count);
    let done = network.release(&links, &kinds, count);
    let mut seen = Seen::new(act.clock.now_ns());
    Box::pin(async move {
        let frames: u64 = done.iter().map(|(_, released)| released.frames).sum();
        let overflowed: u64 = done.iter().map(|(_, released)| released.overflowed).sum();
        if !done.iter().any(|(_, released)| released.was_held) {
            seen.refused = Some(format!("these links do not hold {kinds}"));
        } else if frames == 0 && count.is_some() {
            seen.refused = Some("no frame is held that could be released".to_owned());
        } else {
            seen.proofs.push(listed(&links, |link| {
                let (_, released) = done.iter().find(|(named, _)| *named == link)?;
                let (frames, left) = (released.frames, released.left);
                Some(format!("{link}: {frames} frames released, {left} still held"))
            }));
            if overflowed > 0 {
                seen.unclear.push(format!("{overflowed} frames were too many to hold"));
            }
            seen.effect = is_clean(&network, &links).then_some(Effect::Restored);
        }
        seen
    })
}

/// The kinds of message that a step names; all if it names none.
pub(super) fn kinds(step: &Step) -> Kinds {
    Kinds::of(step.kinds.iter().map(|kind| kind.0))
}

/// What a step says about when something happens by chance.
pub(super) fn chance(step: &Step) -> Chance {
    Chance { probability: step.probability.unwrap_or(1.0), kinds: kinds(step), count: step.count }
}

/// Whether no link is under a condition any more.
fn is_clean(network: &Network, links: &[Link]) -> bool {
    links.iter().all(|link| network.conditions(*link).is_empty())
}

/// Says something about each link, as far as there is room.
fn listed(links: &[Link], say: impl Fn(Link) -> Option<String>) -> String {
    let all: Vec<_> = links.iter().filter_map(|link| say(*link)).collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let mut text = all[..all.len() - more].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} links more"));
    }
    text
}

/// Knocks over each link at once; says how many answered as they should.
async fn knock(network: &Arc<Network>, links: &[Link], expected: Answer, seen: &mut Seen) -> usize {
    let mut answers = JoinSet::new();
    for link in links.iter().copied() {
        let door = network.door(link.to);
        answers.spawn(async move { (link, Network::knock(door, link).await) });
    }
    let mut right = 0;
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok((_, Ok(answer))) if answer == expected => right += 1,
            Ok((link, Ok(answer))) => seen.unclear.push(format!("{link}: a knock is {answer}")),
            Ok((link, Err(error))) => seen.unclear.push(format!("{link}: {error}")),
            Err(error) => seen.unclear.push(error.to_string()),
        }
    }
    right
}

/// Knocks over each link, and sees that the knocks are taken and left without an answer.
async fn hangs(network: &Arc<Network>, links: &[Link], before: &[u64], seen: &mut Seen) {
    let mut knocks = JoinSet::new();
    for link in links.iter().copied() {
        let door = network.door(link.to);
        knocks.spawn(async move { (link, Network::knock(door, link).await) });
    }
    let swallowed = async {
        for (link, before) in links.iter().zip(before) {
            while network.knocks_unanswered(*link) <= *before {
                sleep(LOOK).await;
            }
        }
    };
    tokio::select! {
        _ = within(PROOF_MAX, swallowed) => {}
        // Before the doors have taken every knock, none of them can be without an answer for long.
        Some(Ok((link, answer))) = knocks.join_next() => {
            let text = answer.map_or_else(|error| error.to_string(), |answer| answer.to_string());
            seen.unclear.push(format!("{link}: a knock is {text}"));
        }
    }
    let silent = links.len() - seen.unclear.len();
    seen.proofs.push(format!("{silent} links leave a knock without an answer"));
}
