//! Hash tables that grow in small steps.
//!
//! To double one large table takes as long as a look at the budget must never be put off. A large
//! table here is divided into parts that grow one by one.

/// What a table holds.
pub(crate) trait Entry: Copy {
    /// Of round 0.
    const BLANK: Self;

    fn hash(&self) -> u64;

    /// The round in which it was put; entries of an older one are as good as absent.
    fn round(&self) -> u32;

    fn set_round(&mut self, round: u32);
}

/// Entries by their hash.
#[derive(Debug)]
pub(crate) struct Table<E> {
    /// One, or [`PARTS`] of them.
    parts: Vec<Part<E>>,
    round: u32,
    /// Comparisons so far: a measure of time that needs no clock.
    pub(crate) compared: usize,
}

#[derive(Debug)]
struct Part<E> {
    places: Vec<E>,
    len: usize,
    /// The round that `len` is about.
    round: u32,
}

/// Where an entry belongs that is not there yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    part: usize,
    place: usize,
}

const PLACES_MIN: usize = 64;
/// A table of so many places is divided before it grows.
const PLACES_UNDIVIDED: usize = 1 << 14;
const PARTS: usize = 64;

#[expect(clippy::cast_possible_truncation, reason = "the mask keeps the low bits anyway")]
fn masked(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

impl<E: Entry> Table<E> {
    pub(crate) fn new() -> Self {
        Self { parts: vec![Part::new(0)], round: 1, compared: 0 }
    }

    /// Empties it. What it took much memory for is given back.
    pub(crate) fn reset(&mut self) {
        if self.parts.len() > 1 || self.parts[0].places.len() > 8 * PLACES_MIN {
            self.parts = vec![Part::new(0)];
        }
        self.clear();
    }

    /// Empties it, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        if self.round == u32::MAX {
            self.parts = vec![Part::new(0)];
            self.round = 0;
        }
        self.round += 1;
    }

    /// The entry with this hash of which `is` is true, or else where it belongs, until the next
    /// call.
    #[inline]
    pub(crate) fn seek(&mut self, hash: u64, mut is: impl FnMut(&E) -> bool) -> Result<E, Slot> {
        let mut at = self.part_of(hash);
        let part = &mut self.parts[at];
        if part.round != self.round {
            (part.round, part.len) = (self.round, 0);
        }
        if part.len * 8 >= part.places.len() * 5 {
            self.grow(at);
            at = self.part_of(hash);
        }
        let places = &self.parts[at].places;
        let mask = places.len() - 1;
        let mut place = masked(hash, mask);
        loop {
            let entry = &places[place];
            if entry.round() != self.round {
                return Err(Slot { part: at, place });
            }
            self.compared += 1;
            if is(entry) {
                return Ok(*entry);
            }
            place = (place + 1) & mask;
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, slot: Slot, mut entry: E) {
        entry.set_round(self.round);
        let part = &mut self.parts[slot.part];
        part.places[slot.place] = entry;
        part.len += 1;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.places.len() * size_of::<E>()).sum()
    }

    fn part_of(&self, hash: u64) -> usize {
        // Places within a part go by the lower bits.
        masked(hash >> 48, self.parts.len() - 1)
    }

    fn grow(&mut self, at: usize) {
        let old = std::mem::replace(&mut self.parts[at], Part::new(0));
        self.compared += old.len;
        if self.parts.len() == 1 && old.places.len() >= PLACES_UNDIVIDED {
            self.parts = (0..PARTS).map(|_| Part::new(2 * old.places.len() / PARTS)).collect();
        } else {
            self.parts[at] = Part::new((2 * old.places.len()).max(PLACES_MIN));
        }
        self.parts.iter_mut().for_each(|part| part.round = self.round);
        for entry in old.places {
            if entry.round() == self.round {
                let part = self.part_of(entry.hash());
                self.parts[part].add(entry);
            }
        }
    }
}

impl<E: Entry> Part<E> {
    fn new(places: usize) -> Self {
        Self { places: vec![E::BLANK; places], len: 0, round: 0 }
    }

    fn add(&mut self, entry: E) {
        let mask = self.places.len() - 1;
        let mut place = masked(entry.hash(), mask);
        while self.places[place].round() == entry.round() {
            place = (place + 1) & mask;
        }
        self.places[place] = entry;
        self.len += 1;
    }
}

/// Numbers of things that stand in a list of their own.
#[derive(Debug)]
pub(crate) struct Numbers(Table<Number>);

#[derive(Clone, Copy, Debug)]
struct Number {
    hash: u64,
    number: u32,
    round: u32,
}

impl Entry for Number {
    const BLANK: Self = Self { hash: 0, number: 0, round: 0 };

    fn hash(&self) -> u64 {
        self.hash
    }

    fn round(&self) -> u32 {
        self.round
    }

    fn set_round(&mut self, round: u32) {
        self.round = round;
    }
}

impl Numbers {
    /// What a number takes beside the thing itself.
    pub(crate) const BYTES: usize = 2 * size_of::<Number>();

    pub(crate) fn new() -> Self {
        Self(Table::new())
    }

    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// The number of a thing: one of which `is` is true, or else `next`, which it has from now on.
    #[inline]
    pub(crate) fn of(&mut self, hash: u64, next: usize, is: impl Fn(usize) -> bool) -> u32 {
        let found = self.0.seek(hash, |entry| entry.hash == hash && is(entry.number as usize));
        match found {
            Ok(entry) => entry.number,
            Err(slot) => {
                let number = super::operation::narrow(next);
                self.0.put(slot, Number { hash, number, round: 0 });
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Numbers, PARTS, PLACES_UNDIVIDED, Table};
    use crate::linearizability::hash;

    #[derive(Clone, Copy, Debug)]
    struct Plain {
        value: u64,
        round: u32,
    }

    impl Entry for Plain {
        const BLANK: Self = Self { value: 0, round: 0 };

        fn hash(&self) -> u64 {
            hash(&self.value)
        }

        fn round(&self) -> u32 {
            self.round
        }

        fn set_round(&mut self, round: u32) {
            self.round = round;
        }
    }

    fn add(table: &mut Table<Plain>, value: u64) -> bool {
        match table.seek(hash(&value), |entry| entry.value == value) {
            Ok(_) => false,
            Err(slot) => {
                table.put(slot, Plain { value, round: 0 });
                true
            }
        }
    }

    #[test]
    fn a_table_keeps_what_it_holds_while_it_grows_and_forgets_it_when_it_is_cleared() {
        let mut table = Table::new();
        for _ in 0..2 {
            for value in 0..100_000 {
                assert!(add(&mut table, value));
            }
            for value in 0..100_000 {
                assert!(!add(&mut table, value));
            }
            table.clear();
        }
        assert_eq!(table.parts.len(), PARTS);
        let large = table.bytes();
        table.reset();
        assert!(add(&mut table, 7) && !add(&mut table, 7));
        assert!(table.bytes() < large / 1000);
    }

    /// As `compared` counts what was moved.
    #[test]
    fn no_growth_moves_more_than_a_small_part_of_a_large_table() {
        let (mut table, mut last, mut most) = (Table::new(), 0, 0);
        for value in 0..1_000_000 {
            assert!(add(&mut table, value));
            most = most.max(table.compared - last);
            last = table.compared;
        }
        assert!(most < PLACES_UNDIVIDED, "{most} at once");
    }

    #[test]
    fn equal_things_have_one_number() {
        let (mut numbers, mut things) = (Numbers::new(), Vec::new());
        for thing in (0..1000_u64).chain(0..1000) {
            let number = numbers.of(hash(&thing), things.len(), |at| things[at] == thing);
            if number as usize == things.len() {
                things.push(thing);
            }
            assert_eq!(u64::from(number), thing);
        }
    }
}
