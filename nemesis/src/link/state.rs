//! What all connections over one directed link share.
//!
//! The nemesis changes the conditions from one side while connections carry from many others, so
//! the state stands behind a lock. It is held for one batch of messages, never over an await; a link
//! without conditions is carried without it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt, rngs::StdRng};
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};
use usurper_history::{
    Link,
    frame::{HEADER_BYTES, Kind},
};

use super::{
    Wire,
    kinds::Kinds,
    queue::Queue,
    rate::ByteRate,
    rule::{Condition, Luck, Summary},
    stats::LinkStats,
};

/// Conditions that one link can be under.
const RULES_MAX: usize = 64;
/// Messages that one link can hold; more are dropped, and counted as such.
const HELD_FRAMES_MAX: usize = 10_000;
const HELD_BYTES_MAX: usize = 64 << 20;

/// A link has as many conditions as it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is under {RULES_MAX} conditions already")]
pub struct TooMany(Link);

/// What a release found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Some of the messages that it names were being held, or would have been.
    pub was_held: bool,
    /// Messages that are on their way now.
    pub frames: u64,
    /// Messages that are still held.
    pub left: u64,
    /// Messages that the hold was too full for, and that are gone, since the link was last healed.
    pub overflowed: u64,
}

#[derive(Debug)]
pub(crate) struct LinkState {
    link: Link,
    wire: Wire,
    seed: u64,
    summary: watch::Sender<Summary>,
    /// The connections that are open over it, by number.
    connections: watch::Sender<BTreeSet<u64>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    rules: Vec<Rule>,
    rules_made: u64,
    resets: u64,
    connections_made: u64,
    held: VecDeque<Message>,
    held_bytes: usize,
    /// Messages on their way from the hold, by connection.
    released: BTreeMap<u64, VecDeque<Message>>,
    /// Before this, a throttled link carries nothing.
    free_at: Option<Instant>,
    knocks_unanswered: u64,
    stats: LinkStats,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    condition: Condition,
    /// How often it can still happen.
    left: Option<u64>,
}

#[derive(Debug)]
struct Message {
    connection: u64,
    kind: Option<Kind>,
    bytes: Vec<u8>,
}

/// What may become of a message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Pass,
    /// No more than so many bytes of it.
    PassPart(usize),
    Swallow,
    Until(Instant),
    /// Not before something changes.
    Shut,
}

impl LinkState {
    pub(crate) fn new(link: Link, wire: Wire, seed: u64) -> Self {
        Self {
            link,
            wire,
            seed,
            summary: watch::Sender::default(),
            connections: watch::Sender::default(),
            inner: Mutex::default(),
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    /// What is in force now, and every change of it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Summary> {
        self.summary.subscribe()
    }

    /// Puts the link under one more condition; a wall that stands already stays one.
    ///
    /// # Errors
    /// When it is under too many.
    pub(crate) fn install(&self, condition: Condition) -> Result<(), TooMany> {
        let mut inner = self.lock();
        let again = condition.count().is_none()
            && !matches!(condition, Condition::Delay { .. })
            && inner.rules.iter().any(|rule| rule.condition == condition);
        if again {
            return Ok(());
        }
        if inner.rules.len() >= RULES_MAX {
            return Err(TooMany(self.link));
        }
        inner.rules_made += 1;
        let (number, left) = (inner.rules_made, condition.count());
        inner.rules.push(Rule { number, condition, left });
        self.publish(&inner);
        Ok(())
    }

    /// Resets every connection that is open; says which those are.
    pub(crate) fn reset(&self) -> BTreeSet<u64> {
        let mut inner = self.lock();
        let open = self.connections.borrow().clone();
        inner.resets += 1;
        inner.stats.reset += open.len() as u64;
        self.publish(&inner);
        open
    }

    /// Waits until none of these connections is left.
    pub(crate) async fn closed(&self, connections: &BTreeSet<u64>) {
        let mut open = self.connections.subscribe();
        // An error means that the link is gone, and its connections with it.
        let _ = open.wait_for(|open| open.is_disjoint(connections)).await;
    }

    /// Lets held messages go, in the order in which they came. Without `count`, their hold ends.
    pub(crate) fn release(&self, kinds: &Kinds, count: Option<u64>) -> Released {
        let mut inner = self.lock();
        let meant = |rule: &Rule| matches!(&rule.condition, Condition::Hold { kinds: held } if held.meets(kinds));
        let was_held = inner.rules.iter().any(meant);
        if count.is_none() {
            inner.rules.retain_mut(|rule| match &mut rule.condition {
                Condition::Hold { kinds: held } => match held.without(kinds) {
                    Some(left) => {
                        *held = left;
                        true
                    }
                    None => false,
                },
                _ => true,
            });
        }
        let frames = inner.let_go(kinds, count.unwrap_or(u64::MAX));
        self.publish(&inner);
        let left = inner.held.iter().filter(|message| kinds.has(message.kind)).count() as u64;
        Released { was_held, frames, left, overflowed: inner.stats.overflowed }
    }

    /// Ends every condition and lets held messages go, in the order in which they came; says what
    /// the link did to its traffic.
    pub(crate) fn heal(&self) -> LinkStats {
        let mut inner = self.lock();
        inner.rules.clear();
        inner.free_at = None;
        inner.let_go(&Kinds::ALL, u64::MAX);
        self.publish(&inner);
        std::mem::take(&mut inner.stats)
    }

    /// What the link did to its traffic, since it was last healed.
    pub(crate) fn stats(&self) -> LinkStats {
        self.lock().stats
    }

    /// Messages that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.lock().held.len() as u64
    }

    /// How many connections are open over it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Whether it is under some condition.
    pub(crate) fn is_faulty(&self) -> bool {
        !self.lock().rules.is_empty()
    }

    /// The conditions that are in force.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        self.lock().rules.iter().map(|rule| rule.condition.clone()).collect()
    }

    /// A new connection gets no answer; a knock of ours counts apart.
    pub(crate) fn leave_unanswered(&self, probe: bool) {
        let mut inner = self.lock();
        if probe {
            inner.knocks_unanswered += 1;
        } else {
            inner.stats.unanswered += 1;
        }
    }

    /// Knocks of ours that were left without an answer, ever.
    pub(crate) fn knocks_unanswered(&self) -> u64 {
        self.lock().knocks_unanswered
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut LinkStats)) {
        change(&mut self.lock().stats);
    }

    /// Takes note of a connection; gives the random numbers of its messages a seed.
    pub(crate) fn open(&self, connection: u64) -> u64 {
        let mut inner = self.lock();
        inner.connections_made += 1;
        self.connections.send_modify(|open| {
            open.insert(connection);
        });
        let Link { from, to } = self.link;
        // The same link's same connection gets the same numbers in every run of a seed.
        let place = u64::from(from.0) << 56 | u64::from(to.0) << 48 | inner.connections_made;
        self.seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// A connection has ended: what waited for it is gone.
    pub(crate) fn close(&self, connection: u64) {
        let mut inner = self.lock();
        let before = inner.held.len();
        inner.held.retain(|message| message.connection != connection);
        inner.held_bytes = inner.held.iter().map(|message| message.bytes.len()).sum();
        let released = inner.released.remove(&connection).map_or(0, |messages| messages.len());
        inner.stats.orphaned += (before - inner.held.len() + released) as u64;
        self.connections.send_modify(|open| {
            open.remove(&connection);
        });
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // No holder leaves it half changed, so a panic elsewhere does not make it worse.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the connections, while the lock keeps the order of such news.
    fn publish(&self, inner: &Inner) {
        let conditions = inner.rules.iter().map(|rule| &rule.condition);
        self.summary.send_replace(Summary::of(conditions, inner.resets));
    }
}

impl Inner {
    /// Moves held messages on, the oldest first.
    fn let_go(&mut self, kinds: &Kinds, most: u64) -> u64 {
        let mut frames = 0;
        let mut kept = VecDeque::with_capacity(self.held.len());
        for message in std::mem::take(&mut self.held) {
            if frames < most && kinds.has(message.kind) {
                frames += 1;
                self.held_bytes -= message.bytes.len();
                self.released.entry(message.connection).or_default().push_back(message);
            } else {
                kept.push_back(message);
            }
        }
        self.held = kept;
        self.stats.released += frames;
        frames
    }

    /// Brings a connection's queue in line with what is in force now.
    pub(super) fn settle(
        &mut self,
        connection: u64,
        queue: &mut Queue,
        random: &mut StdRng,
        now: Instant,
    ) {
        queue.revise(|number| self.rules.iter().any(|rule| rule.number == number));
        if !self.rules.iter().any(|rule| matches!(rule.condition, Condition::Reorder { .. })) {
            queue.stop_reordering();
        }
        for message in self.released.remove(&connection).unwrap_or_default() {
            self.enqueue(message.kind, message.bytes, queue, random, now);
        }
    }

    /// What a message meets when it arrives.
    pub(super) fn arrive(
        &mut self,
        connection: u64,
        kind: Option<Kind>,
        mut bytes: Vec<u8>,
        queue: &mut Queue,
        random: &mut StdRng,
        now: Instant,
    ) {
        // Bytes that are not frames are not read while they could be swallowed.
        if kind.is_some() && self.rules.iter().any(|rule| rule.condition.swallows(kind)) {
            self.stats.dropped += 1;
            return;
        }
        if self.happens(Luck::Loss, kind, random) {
            self.stats.lost += 1;
            return;
        }
        if self.happens(Luck::Corrupt, kind, random) {
            self.stats.corrupted += 1;
            flip(&mut bytes, kind.is_some(), random);
        }
        if self.happens(Luck::Duplicate, kind, random) {
            self.stats.duplicated += 1;
            self.hold_or_enqueue(connection, kind, bytes.clone(), queue, random, now);
        }
        self.hold_or_enqueue(connection, kind, bytes, queue, random, now);
    }

    fn hold_or_enqueue(
        &mut self,
        connection: u64,
        kind: Option<Kind>,
        bytes: Vec<u8>,
        queue: &mut Queue,
        random: &mut StdRng,
        now: Instant,
    ) {
        let holds = |rule: &Rule| matches!(&rule.condition, Condition::Hold { kinds } if kinds.has_beyond_greeting(kind));
        if !self.rules.iter().any(holds) {
            self.enqueue(kind, bytes, queue, random, now);
        } else if self.held.len() >= HELD_FRAMES_MAX
            || self.held_bytes + bytes.len() > HELD_BYTES_MAX
        {
            self.stats.overflowed += 1;
        } else {
            self.stats.held += 1;
            self.held_bytes += bytes.len();
            self.held.push_back(Message { connection, kind, bytes });
        }
    }

    fn enqueue(
        &mut self,
        kind: Option<Kind>,
        bytes: Vec<u8>,
        queue: &mut Queue,
        random: &mut StdRng,
        now: Instant,
    ) {
        let waits = self.waits(kind, random);
        self.stats.delayed += u64::from(!waits.is_empty());
        let mut overtakable = None;
        // The one that overtakes must not wait itself, or a link of which every message is to be
        // reordered would carry none.
        if !queue.awaits_overtaking() && self.happens(Luck::Reorder, kind, random) {
            let within = self.rules.iter().filter_map(|rule| match rule.condition {
                Condition::Reorder { within, .. } => Some(within),
                _ => None,
            });
            overtakable = within.max().map(|within| now + within);
            self.stats.reordered += 1;
        }
        queue.push(now, kind, bytes, waits, overtakable);
    }

    /// The delays that a message of this kind is under.
    pub(super) fn waits(&self, kind: Option<Kind>, random: &mut StdRng) -> Vec<(u64, Duration)> {
        let mut waits = Vec::new();
        for rule in &self.rules {
            if let Condition::Delay { delay, jitter, kinds } = &rule.condition
                && kinds.has(kind)
            {
                waits.push((rule.number, *delay + jitter.mul_f64(random.random_range(0.0..1.0))));
            }
        }
        waits
    }

    /// Whether chance strikes, by any rule of a sort.
    fn happens(&mut self, luck: Luck, kind: Option<Kind>, random: &mut StdRng) -> bool {
        for rule in &mut self.rules {
            let Some(chance) = rule.condition.chance(luck) else { continue };
            if rule.left != Some(0)
                && chance.kinds.has_beyond_greeting(kind)
                && random.random_bool(chance.probability)
            {
                rule.left = rule.left.map(|left| left - 1);
                return true;
            }
        }
        false
    }

    /// Whether a message that is due may leave; if it may, it counts as having left.
    pub(super) fn gate(&mut self, kind: Option<Kind>, bytes: usize, now: Instant) -> Gate {
        if self.rules.iter().any(|rule| rule.condition.swallows(kind)) {
            if kind.is_none() {
                return Gate::Shut;
            }
            self.stats.dropped += 1;
            return Gate::Swallow;
        }
        let rates = self.rules.iter().filter_map(|rule| match rule.condition {
            Condition::Throttle { rate } => Some(rate),
            _ => None,
        });
        let Some(rate) = rates.min() else { return Gate::Pass };
        if let Some(free_at) = self.free_at.filter(|free_at| *free_at > now) {
            return Gate::Until(free_at);
        }
        let part = if kind.is_some() { bytes } else { bytes.min(piece(rate)) };
        self.free_at = Some(now + rate.time_of(part));
        self.stats.throttled += 1;
        if part < bytes { Gate::PassPart(part) } else { Gate::Pass }
    }

    /// Whether the end of a connection may be told to its other side: it comes after everything that
    /// was sent before it, and not over a wall.
    pub(super) fn lets_end(&self, connection: u64) -> bool {
        !self.rules.iter().any(|rule| rule.condition.is_wall())
            && !self.held.iter().any(|message| message.connection == connection)
            && !self.released.contains_key(&connection)
    }

    /// Messages on their way are gone with their connection.
    pub(super) fn orphan(&mut self, messages: usize) {
        self.stats.orphaned += messages as u64;
    }
}

/// Bytes that a throttle lets pass at once: a twentieth of a second's.
fn piece(rate: ByteRate) -> usize {
    usize::try_from(rate.bytes_per_second() / 20).unwrap_or(usize::MAX).clamp(1, 1 << 16)
}

/// Changes one byte. Of a frame, never one of the length: its reader would wait for bytes that may
/// come much later, instead of seeing that this frame is bad.
fn flip(bytes: &mut [u8], is_frame: bool, random: &mut StdRng) {
    const LENGTH: std::ops::Range<usize> = 20..24;
    let mut at = random.random_range(0..bytes.len());
    if is_frame && LENGTH.contains(&at) {
        at = random.random_range(LENGTH.end..HEADER_BYTES);
    }
    bytes[at] ^= random.random_range(1..=u8::MAX);
}

/// A connection over a link and the one back, for as long as it is open.
#[derive(Debug)]
pub(crate) struct Open {
    connection: u64,
    links: [Arc<LinkState>; 2],
}

impl Open {
    pub(crate) fn new(connection: u64, links: [Arc<LinkState>; 2]) -> (Self, [u64; 2]) {
        let seeds = [links[0].open(connection), links[1].open(connection)];
        (Self { connection, links }, seeds)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.links.iter().for_each(|link| link.close(self.connection));
    }
}
