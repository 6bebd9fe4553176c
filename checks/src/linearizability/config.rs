//! Configurations of a search, and the sets they are kept in.
//!
//! A configuration is a state, which of the open operations have taken effect, and how many of the
//! operations with unknown outcome were used to get there. It does not grow with the history.

use super::{
    model::{hash, mix},
    tables::{Entry, Numbers, Table},
};

/// What a search has done so far, as far as it matters for what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config<const W: usize> {
    pub(crate) state: u32,
    /// What was used of the groups of unknown outcome, as a number of [`Usages`].
    pub(crate) usage: u32,
    /// Open operations that have taken effect, by slot.
    pub(crate) done: [u64; W],
}

impl<const W: usize> Config<W> {
    pub(crate) fn new(state: u32) -> Self {
        Self { state, usage: 0, done: [0; W] }
    }

    #[inline]
    pub(crate) fn has(&self, slot: u32) -> bool {
        self.done[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    #[inline]
    pub(crate) fn set(&mut self, slot: u32) {
        self.done[slot as usize / 64] |= 1 << (slot % 64);
    }

    #[inline]
    pub(crate) fn clear(&mut self, slot: u32) {
        self.done[slot as usize / 64] &= !(1 << (slot % 64));
    }

    fn hash(&self, level: u32) -> u64 {
        let mut hash = mix(u64::from(level), u64::from(self.state));
        for word in self.done {
            hash = mix(hash, word);
        }
        hash
    }
}

/// How many were used of each group, hash-consed: 0 is none of any.
#[derive(Debug)]
pub(crate) struct Usages {
    /// Group and count, by group.
    counts: Vec<Box<[(u32, u32)]>>,
    totals: Vec<u32>,
    numbers: Numbers,
    next: Table<Next>,
    bytes: usize,
}

/// What one more of a group makes of a usage.
#[derive(Clone, Copy, Debug)]
struct Next {
    usage: u32,
    group: u32,
    number: u32,
    round: u32,
}

impl Entry for Next {
    const BLANK: Self = Self { usage: 0, group: 0, number: 0, round: 0 };

    fn hash(&self) -> u64 {
        mix(u64::from(self.usage), u64::from(self.group))
    }

    fn round(&self) -> u32 {
        self.round
    }

    fn set_round(&mut self, round: u32) {
        self.round = round;
    }
}

impl Usages {
    pub(crate) fn new() -> Self {
        let mut usages = Self {
            counts: Vec::new(),
            totals: Vec::new(),
            numbers: Numbers::new(),
            next: Table::new(),
            bytes: 0,
        };
        usages.number(Box::default(), 0);
        usages
    }

    /// Forgets all but that nothing was used.
    pub(crate) fn reset(&mut self) {
        if self.counts.len() > 1 {
            self.counts.clear();
            self.totals.clear();
            self.numbers.reset();
            self.next.reset();
            self.bytes = 0;
            self.number(Box::default(), 0);
        }
    }

    pub(crate) fn total(&self, usage: u32) -> u32 {
        self.totals[usage as usize]
    }

    /// How many of a group were used.
    pub(crate) fn used(&self, usage: u32, group: u32) -> u32 {
        let counts = &self.counts[usage as usize];
        counts.binary_search_by_key(&group, |(group, _)| *group).map_or(0, |at| counts[at].1)
    }

    /// One more of a group.
    pub(crate) fn plus(&mut self, usage: u32, group: u32) -> u32 {
        let next = Next { usage, group, number: 0, round: 0 };
        let is = |known: &Next| (known.usage, known.group) == (usage, group);
        let slot = match self.next.seek(next.hash(), is) {
            Ok(known) => return known.number,
            Err(slot) => slot,
        };
        let before = &self.counts[usage as usize];
        let mut counts = Vec::with_capacity(before.len() + 1); // and no larger, as most are kept
        let at = before.partition_point(|(known, _)| *known < group);
        counts.extend_from_slice(&before[..at]);
        match before.get(at) {
            Some((known, count)) if *known == group => {
                counts.push((group, count + 1));
                counts.extend_from_slice(&before[at + 1..]);
            }
            _ => {
                counts.push((group, 1));
                counts.extend_from_slice(&before[at..]);
            }
        }
        let number = self.number(counts.into_boxed_slice(), self.totals[usage as usize] + 1);
        self.next.put(slot, Next { number, ..next });
        number
    }

    fn number(&mut self, counts: Box<[(u32, u32)]>, total: u32) -> u32 {
        let next = self.counts.len();
        let number = self.numbers.of(hash(&counts), next, |at| self.counts[at] == counts);
        if number as usize == next {
            self.bytes += counts.len() * 8 + 20 + Numbers::BYTES;
            self.counts.push(counts);
            self.totals.push(total);
        }
        number
    }

    /// Whether `less` used no more of any group than `more`.
    pub(crate) fn within(&self, less: u32, more: u32) -> bool {
        if less == more || less == 0 {
            return true;
        }
        if self.total(less) >= self.total(more) {
            return false; // equal totals of different usages are never within each other
        }
        let mut rest = self.counts[more as usize].iter();
        self.counts[less as usize].iter().all(|(group, count)| {
            rest.find(|(other, _)| other >= group)
                .is_some_and(|(other, most)| other == group && most >= count)
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.next.bytes()
    }
}

/// A set of configurations in which one that used less makes one that used more superfluous:
/// whatever the latter can still do, the former can, too.
#[derive(Debug)]
pub(crate) struct Configs<const W: usize>(Table<Seen<W>>);

#[derive(Clone, Copy, Debug)]
struct Seen<const W: usize> {
    config: Config<W>,
    level: u32,
    round: u32,
}

impl<const W: usize> Entry for Seen<W> {
    const BLANK: Self =
        Self { config: Config { state: 0, usage: 0, done: [0; W] }, level: 0, round: 0 };

    fn hash(&self) -> u64 {
        self.config.hash(self.level)
    }

    fn round(&self) -> u32 {
        self.round
    }

    fn set_round(&mut self, round: u32) {
        self.round = round;
    }
}

impl<const W: usize> Configs<W> {
    pub(crate) fn new() -> Self {
        Self(Table::new())
    }

    /// Empties it. What it took much memory for is given back.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// Empties it, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a configuration unless it, or one that used less, is there already.
    pub(crate) fn insert(&mut self, config: Config<W>, level: u32, usages: &Usages) -> bool {
        let seen = Seen { config, level, round: 0 };
        let covers = |seen: &Seen<W>| {
            seen.config.state == config.state
                && seen.config.done == config.done
                && seen.level == level
                && usages.within(seen.config.usage, config.usage)
        };
        match self.0.seek(seen.hash(), covers) {
            Ok(_) => false,
            Err(slot) => {
                self.0.put(slot, seen);
                true
            }
        }
    }

    /// Comparisons so far.
    pub(crate) fn compared(&self) -> usize {
        self.0.compared
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Configs, Usages};

    #[test]
    fn a_configuration_that_used_less_makes_one_that_used_more_superfluous() {
        let mut usages = Usages::new();
        let (one, two) = (usages.plus(0, 3), usages.plus(0, 5));
        let both = usages.plus(one, 5);
        assert_eq!(both, usages.plus(two, 3));
        assert!(usages.within(one, both) && usages.within(0, two) && !usages.within(both, one));
        assert!(!usages.within(one, two) && !usages.within(two, one));
        assert_eq!((usages.used(both, 3), usages.used(both, 4), usages.used(both, 5)), (1, 0, 1));

        let config = |usage| Config::<1> { state: 7, usage, done: [2] };
        let mut configs = Configs::new();
        assert!(configs.insert(config(one), 0, &usages));
        assert!(!configs.insert(config(both), 0, &usages), "it used more");
        assert!(configs.insert(config(two), 0, &usages), "it used something else");
        assert!(configs.insert(config(both), 1, &usages), "another level");
        configs.clear();
        assert!(configs.insert(config(both), 0, &usages));
    }
}
