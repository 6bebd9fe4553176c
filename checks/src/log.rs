//! The log of one node: entries by index, above a place below which they are no longer held.

use std::{collections::VecDeque, rc::Rc};

use usurper_history::EntryId;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) digest: Rc<str>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The last index below the entries.
    base: u64,
    /// Its term, where it is known.
    base_term: Option<u64>,
    /// Up to here nobody saw what the log holds.
    unknown: u64,
    /// Not even where it ends is known.
    adrift: bool,
    entries: VecDeque<Entry>,
}

/// Whether a log holds an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
    Unknown,
}

impl Log {
    /// A log of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self { adrift: true, ..Self::default() }
    }

    /// A log of which only its end is known.
    pub(crate) fn unknown_until(last: EntryId) -> Self {
        Self {
            base: last.index,
            base_term: Some(last.term),
            unknown: last.index,
            ..Self::default()
        }
    }

    /// The last index that is not held as an entry: forgotten, in a snapshot, or never seen.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Whether an index is within what a snapshot covers or what was forgotten because all have it.
    pub(crate) fn is_settled(&self, index: u64) -> bool {
        !self.adrift && index <= self.base && index > self.unknown
    }

    /// The id of the end; zeros when empty.
    pub(crate) fn last(&self) -> EntryId {
        let index = self.base + self.entries.len() as u64;
        let term = self.entries.back().map(|entry| entry.term).or(self.base_term).unwrap_or(0);
        EntryId { term, index }
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base)?.checked_sub(1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The id at an index; that of 0 is zeros.
    pub(crate) fn id_at(&self, index: u64) -> Option<EntryId> {
        if index == 0 {
            return Some(EntryId::default());
        }
        let term = match self.get(index) {
            Some(entry) => Some(entry.term),
            None if index == self.base && !self.adrift => self.base_term,
            None => None,
        };
        term.map(|term| EntryId { term, index })
    }

    /// Whether it holds an entry, by its id and, where it is given, its digest. What a snapshot
    /// covers or what was forgotten is held.
    pub(crate) fn held(&self, id: EntryId, digest: Option<&Rc<str>>) -> Held {
        if self.adrift {
            return Held::Unknown;
        }
        if let Some(entry) = self.get(id.index) {
            let alike = digest.is_none_or(|digest| *digest == entry.digest);
            return if entry.term == id.term && alike { Held::Yes } else { Held::No };
        }
        if id.index > self.base {
            Held::No
        } else if id.index == self.base && self.base_term.is_some() {
            let unseen = digest.is_some() && id.index <= self.unknown;
            match self.base_term == Some(id.term) {
                true if unseen => Held::Unknown,
                true => Held::Yes,
                false => Held::No,
            }
        } else if id.index > 0 && id.index <= self.unknown {
            Held::Unknown
        } else {
            Held::Yes
        }
    }

    /// What stands where an entry goes, and where the log ends if the entry does not follow.
    pub(crate) fn place_for(
        &self,
        id: EntryId,
        digest: &Rc<str>,
    ) -> (Option<EntryId>, Option<EntryId>) {
        if self.adrift {
            return (None, None);
        }
        if let Some(there) = self.id_at(id.index).filter(|_| id.index > self.base) {
            let same = self.held(id, Some(digest)) == Held::Yes;
            return ((!same).then_some(there), None);
        }
        let last = self.last();
        (None, (id.index - 1 > last.index).then_some(last))
    }

    /// Puts an entry at the end. One that leaves a gap makes the part below it unknown.
    pub(crate) fn push(&mut self, id: EntryId, entry: Entry) {
        if id.index <= self.base {
            return;
        }
        if self.adrift || id.index - 1 != self.last().index {
            *self = Self { base: id.index - 1, unknown: id.index - 1, ..Self::default() };
        }
        self.entries.push_back(entry);
    }

    /// Removes the entries from an index on, and returns them.
    pub(crate) fn truncate(&mut self, from: u64) -> Vec<(EntryId, Rc<str>)> {
        let after = from.checked_sub(self.base).and_then(|it| it.checked_sub(1));
        let keep = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
        let base = self.base;
        let place = keep.min(self.entries.len());
        let removed = self.entries.drain(place..).enumerate().map(|(offset, entry)| {
            let index = base + 1 + (keep + offset) as u64;
            (EntryId { term: entry.term, index }, entry.digest)
        });
        let removed = removed.collect();
        if after.is_none() {
            // What no longer is held goes as well.
            (self.base, self.base_term) = (from.saturating_sub(1), None);
            self.unknown = self.unknown.min(self.base);
        }
        removed
    }

    /// A snapshot replaces what it covers; what follows it stays if it fits.
    pub(crate) fn install(&mut self, last: EntryId) {
        if last.index < self.base {
            return;
        }
        if !self.adrift && self.id_at(last.index) == Some(last) {
            self.forget(last.index);
            self.unknown = 0;
        } else {
            *self = Self { base: last.index, base_term: Some(last.term), ..Self::default() };
        }
    }

    /// Lets go of the entries up to an index, which stay in the log.
    pub(crate) fn forget(&mut self, up_to: u64) {
        let Some(term) = self.get(up_to).map(|entry| entry.term) else { return };
        let count = usize::try_from(up_to - self.base).unwrap_or(usize::MAX);
        self.entries.drain(..count.min(self.entries.len()));
        (self.base, self.base_term) = (up_to, Some(term));
    }
}
