//! Configurations of a search, and the sets they are kept in.
//!
//! A configuration is a state, which of the open operations have taken effect, and how many of the
//! operations with unknown outcome were used to get there. It does not grow with the history.

use super::model::{FastMap, mix};

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
    numbers: FastMap<Box<[(u32, u32)]>, u32>,
    next: FastMap<(u32, u32), u32>,
    bytes: usize,
}

impl Usages {
    pub(crate) fn new() -> Self {
        let mut numbers = FastMap::default();
        numbers.insert(Box::default(), 0);
        Self {
            counts: vec![Box::default()],
            totals: vec![0],
            numbers,
            next: FastMap::default(),
            bytes: 0,
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
        if let Some(next) = self.next.get(&(usage, group)) {
            return *next;
        }
        let mut counts = self.counts[usage as usize].to_vec();
        match counts.binary_search_by_key(&group, |(group, _)| *group) {
            Ok(at) => counts[at].1 += 1,
            Err(at) => counts.insert(at, (group, 1)),
        }
        let counts = counts.into_boxed_slice();
        let number = match self.numbers.get(&counts) {
            Some(number) => *number,
            None => {
                let number = super::operation::narrow(self.counts.len());
                self.bytes += 2 * (counts.len() * 8 + 24);
                self.numbers.insert(counts.clone(), number);
                self.counts.push(counts);
                self.totals.push(self.totals[usage as usize] + 1);
                number
            }
        };
        self.next.insert((usage, group), number);
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
        self.bytes + self.next.len() * 24
    }
}

/// A set of configurations in which one that used less makes one that used more superfluous:
/// whatever the latter can still do, the former can, too.
#[derive(Debug)]
pub(crate) struct Configs<const W: usize> {
    places: Vec<Place<W>>,
    /// Places of an older round are empty.
    round: u32,
    len: usize,
    /// Comparisons so far: a measure of time that needs no clock.
    pub(crate) compared: usize,
}

#[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low bits anyway")]
fn place_of(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

#[derive(Clone, Copy, Debug)]
struct Place<const W: usize> {
    config: Config<W>,
    level: u32,
    round: u32,
}

impl<const W: usize> Configs<W> {
    pub(crate) fn new() -> Self {
        Self { places: vec![Self::empty(); 64], round: 1, len: 0, compared: 0 }
    }

    fn empty() -> Place<W> {
        Place { config: Config::new(0), level: 0, round: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
        if self.round == u32::MAX {
            self.places.fill(Self::empty());
            self.round = 0;
        }
        self.round += 1;
    }

    /// Adds a configuration unless it, or one that used less, is there already.
    pub(crate) fn insert(&mut self, config: Config<W>, level: u32, usages: &Usages) -> bool {
        if self.len * 8 >= self.places.len() * 5 {
            self.grow();
        }
        let mask = self.places.len() - 1;
        let mut at = place_of(config.hash(level), mask);
        loop {
            let place = &self.places[at];
            if place.round != self.round {
                break;
            }
            self.compared += 1;
            if place.config.state == config.state
                && place.config.done == config.done
                && place.level == level
                && usages.within(place.config.usage, config.usage)
            {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.places[at] = Place { config, level, round: self.round };
        self.len += 1;
        true
    }

    fn grow(&mut self) {
        let larger = vec![Self::empty(); self.places.len() * 2];
        let old = std::mem::replace(&mut self.places, larger);
        let mask = self.places.len() - 1;
        for place in old.into_iter().filter(|place| place.round == self.round) {
            let mut at = place_of(place.config.hash(place.level), mask);
            while self.places[at].round == self.round {
                at = (at + 1) & mask;
            }
            self.places[at] = place;
        }
    }

    /// The bytes it takes, those of its growth included.
    pub(crate) fn bytes(&self) -> usize {
        self.places.len() * size_of::<Place<W>>()
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

    #[test]
    fn a_set_keeps_what_it_holds_while_it_grows() {
        let usages = Usages::new();
        let mut configs = Configs::<2>::new();
        let config = |state: u32| Config { state, usage: 0, done: [u64::from(state % 7), 1] };
        for state in 0..10_000 {
            assert!(configs.insert(config(state), 0, &usages));
        }
        for state in 0..10_000 {
            assert!(!configs.insert(config(state), 0, &usages));
        }
    }
}
