//! Messages that wait for their time.
//!
//! Messages under the same delays stay in order, whatever the jitter, as TCP would keep them; only
//! messages under different delays (which takes a delay of some kinds only) and those that were
//! picked to be reordered can be overtaken. When a delay ends, what waited for it leaves at once, in
//! the order of arrival.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};
use usurper_history::frame::Kind;

/// A full queue makes its connection's sender wait, as a full window of TCP would.
const FRAMES_MAX: usize = 4096;
const BYTES_MAX: usize = 16 << 20;

/// One message on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Option<Kind>,
    pub(super) bytes: Vec<u8>,
    arrived: Instant,
    /// The delays that it is under, by their rules' numbers.
    waits: Vec<(u64, Duration)>,
    due: Instant,
    /// Until when it waits to be overtaken.
    overtakable: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= FRAMES_MAX || self.bytes >= BYTES_MAX
    }

    /// Whether the last message waits to be overtaken by the next one.
    pub(super) fn awaits_overtaking(&self) -> bool {
        self.items.back().is_some_and(|item| item.overtakable.is_some())
    }

    pub(super) fn push(
        &mut self,
        now: Instant,
        kind: Option<Kind>,
        bytes: Vec<u8>,
        waits: Vec<(u64, Duration)>,
        overtakable: Option<Instant>,
    ) {
        self.bytes += bytes.len();
        let due = self.due(self.items.len(), now, &waits);
        self.items.push_back(Item { kind, bytes, arrived: now, waits, due, overtakable });
    }

    /// Forgets the delays that are no more.
    pub(super) fn revise(&mut self, in_force: impl Fn(u64) -> bool) {
        for index in 0..self.items.len() {
            let mut waits = std::mem::take(&mut self.items[index].waits);
            waits.retain(|(rule, _)| in_force(*rule));
            self.items[index].due = self.due(index, self.items[index].arrived, &waits);
            self.items[index].waits = waits;
        }
    }

    /// Nothing waits to be overtaken any more.
    pub(super) fn stop_reordering(&mut self) {
        self.items.iter_mut().for_each(|item| item.overtakable = None);
    }

    /// The message that leaves next, by its place, and when.
    pub(super) fn next(&self) -> Option<(usize, Instant)> {
        let ready = |item: &Item| item.overtakable.map_or(item.due, |until| until.max(item.due));
        let times = self.items.iter().enumerate().map(|(index, item)| (ready(item), index));
        times.min().map(|(due, index)| (index, due))
    }

    pub(super) fn peek(&self, index: usize) -> &Item {
        &self.items[index]
    }

    /// Takes a message out; those before it have been overtaken.
    pub(super) fn take(&mut self, index: usize) -> Item {
        self.items.range_mut(..index).for_each(|item| item.overtakable = None);
        let item = self.items.remove(index).expect("a place that `next` gave");
        self.bytes -= item.bytes.len();
        item
    }

    /// Cuts a message of bytes in two, so that no more than `most` of it leave at once.
    pub(super) fn split(&mut self, index: usize, most: usize) -> Vec<u8> {
        let rest = self.items[index].bytes.split_off(most);
        self.bytes -= most;
        std::mem::replace(&mut self.items[index].bytes, rest)
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }

    /// When a message at this place may leave: not before those ahead of it under the same delays.
    fn due(&self, index: usize, arrived: Instant, waits: &[(u64, Duration)]) -> Instant {
        let due = arrived + waits.iter().map(|(_, wait)| *wait).sum::<Duration>();
        let same = |item: &&Item| {
            let rules = item.waits.iter().map(|(rule, _)| rule);
            rules.eq(waits.iter().map(|(rule, _)| rule))
        };
        let ahead = self.items.range(..index).rev().find(same);
        ahead.map_or(due, |ahead| ahead.due.max(due))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant};

    use super::Queue;

    const SECOND: Duration = Duration::from_secs(1);

    /// What leaves, by its first byte, with when it does.
    fn drain(queue: &mut Queue, start: Instant) -> Vec<(u8, Duration)> {
        let mut left = Vec::new();
        while let Some((index, due)) = queue.next() {
            left.push((queue.take(index).bytes[0], due - start));
        }
        left
    }

    #[test]
    fn jitter_does_not_reorder() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        for (name, wait) in [(1, 5), (2, 1), (3, 7)] {
            queue.push(start, None, vec![name], vec![(1, SECOND * wait)], None);
        }
        let expected = [(1, SECOND * 5), (2, SECOND * 5), (3, SECOND * 7)];
        assert_eq!(drain(&mut queue, start), expected);
    }

    #[test]
    fn delays_add_up_and_other_kinds_pass() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(start, None, vec![1], vec![(1, SECOND), (2, SECOND)], None);
        queue.push(start, None, vec![2], vec![(1, SECOND)], None);
        assert_eq!(drain(&mut queue, start), [(2, SECOND), (1, SECOND * 2)]);
    }

    #[test]
    fn the_end_of_a_delay_frees_what_waited_in_order() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(start, None, vec![1], vec![(1, SECOND), (2, SECOND)], None);
        queue.push(start, None, vec![2], vec![(1, SECOND)], None);
        queue.revise(|_| false);
        assert_eq!(drain(&mut queue, start), [(1, Duration::ZERO), (2, Duration::ZERO)]);
    }

    #[test]
    fn one_that_waits_to_be_overtaken_is_or_gives_up() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(start, None, vec![1], vec![], Some(start + SECOND));
        assert!(queue.awaits_overtaking());
        queue.push(start, None, vec![2], vec![], None);
        assert_eq!(drain(&mut queue, start), [(2, Duration::ZERO), (1, Duration::ZERO)]);
        queue.push(start, None, vec![3], vec![], Some(start + SECOND));
        assert_eq!(drain(&mut queue, start), [(3, SECOND)]);
    }

    #[test]
    fn a_message_of_bytes_leaves_in_parts() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.push(start, None, vec![1, 2, 3], vec![], None);
        assert_eq!(queue.split(0, 2), [1, 2]);
        assert_eq!(queue.take(0).bytes, [3]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }
}
