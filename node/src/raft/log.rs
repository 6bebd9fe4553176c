//! The log in memory, after what a snapshot replaced. Index 0 is before the first entry; it has term 0
//! and matches everywhere.

use usurper_history::EntryId;

use super::command::Entry;

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The last place before the entries.
    base: EntryId,
    entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, |entry| entry.id)
    }

    /// A log without entries that goes on after this place.
    pub(crate) fn after(base: EntryId) -> Self {
        Self { base, entries: Vec::new() }
    }

    /// The last place that the log has no entry for any more.
    pub(crate) fn base(&self) -> EntryId {
        self.base
    }

    pub(crate) fn first(&self) -> Option<EntryId> {
        self.entries.first().map(|entry| entry.id)
    }

    /// The term at this index, if the log reaches so far.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.id.term)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        let place = usize::try_from(index.checked_sub(self.base.index + 1)?).ok()?;
        self.entries.get(place)
    }

    /// The place of this index; the log must reach so far.
    pub(crate) fn id(&self, index: u64) -> EntryId {
        let term = self.term(index).expect("an index within the log");
        EntryId { term, index }
    }

    pub(crate) fn matches(&self, id: EntryId) -> bool {
        self.term(id.index) == Some(id.term)
    }

    /// At most `max` entries from this index on, and of so many bytes if there is more than one.
    pub(crate) fn batch(&self, index: u64, max: usize, bytes_max: usize) -> &[Entry] {
        let entries = self.from(index, max);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.bytes();
            bytes <= bytes_max
        };
        let count = entries.iter().take_while(fits).count().max(1);
        &entries[..count.min(entries.len())]
    }

    /// At most `max` entries from this index on.
    pub(crate) fn from(&self, index: u64, max: usize) -> &[Entry] {
        let start = self.place(index);
        let start = start.min(self.entries.len());
        &self.entries[start..self.entries.len().min(start.saturating_add(max))]
    }

    /// # Panics
    /// When the entry does not come right after the last, or is of an older term.
    pub(crate) fn push(&mut self, entry: Entry) {
        let last = self.last();
        assert!(
            entry.id.index == last.index + 1 && entry.id.term >= last.term,
            "the entry {} after {last}",
            entry.id
        );
        self.entries.push(entry);
    }

    /// Drops everything from this index on.
    pub(crate) fn truncate(&mut self, from: u64) {
        self.entries.truncate(self.place(from));
    }

    /// Drops everything up to this index, which the log must reach.
    pub(crate) fn compact(&mut self, up_to: u64) {
        self.base = self.id(up_to);
        self.entries.retain(|entry| entry.id.index > up_to);
    }

    /// All entries, in batches of about so many bytes at most.
    pub(crate) fn batches(&self, bytes_max: usize) -> impl Iterator<Item = Vec<Entry>> + '_ {
        let mut next = self.base.index + 1;
        std::iter::from_fn(move || {
            let batch = self.batch(next, usize::MAX, bytes_max).to_vec();
            next += batch.len() as u64;
            (!batch.is_empty()).then_some(batch)
        })
    }

    fn place(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.base.index + 1)).unwrap_or(usize::MAX)
    }

    /// The last place at or before `index` whose term is not above `term`: with this a leader and a
    /// follower skip a whole term of each other's log at a time. Before the entries nothing is skipped.
    pub(crate) fn last_not_above(&self, index: u64, term: u64) -> EntryId {
        let mut index = index.min(self.last().index);
        while index > self.base.index && self.term(index).is_some_and(|own| own > term) {
            index -= 1;
        }
        EntryId { term: self.term(index).unwrap_or(term), index }
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::EntryId;

    use super::Log;
    use crate::raft::{Command, Entry};

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (index, term) in (1..).zip(terms) {
            log.push(Entry { id: EntryId { term: *term, index }, command: Command::Noop });
        }
        log
    }

    #[test]
    fn before_the_first_entry_every_log_matches() {
        assert!(log(&[]).matches(EntryId::default()));
        assert!(log(&[1]).matches(EntryId::default()));
        assert_eq!(log(&[]).last(), EntryId::default());
    }

    #[test]
    fn a_place_matches_by_index_and_term() {
        let log = log(&[1, 1, 3]);
        assert!(log.matches(EntryId { term: 3, index: 3 }));
        assert!(!log.matches(EntryId { term: 2, index: 3 }));
        assert!(!log.matches(EntryId { term: 3, index: 4 }));
    }

    #[test]
    fn the_search_by_term_skips_what_cannot_match() {
        let log = log(&[1, 1, 4, 4, 5]);
        let at = |index, term| log.last_not_above(index, term).index;
        assert_eq!([at(9, 9), at(9, 4), at(9, 3), at(3, 5), at(5, 0)], [5, 4, 2, 3, 0]);
    }

    #[test]
    fn a_batch_has_one_entry_at_least_and_not_too_many_bytes() {
        let log = log(&[1, 1, 1]);
        let one = log.get(1).unwrap().bytes();
        let count = |bytes| log.batch(1, 9, bytes).len();
        assert_eq!([count(1), count(2 * one), count(9 * one)], [1, 2, 3]);
        assert_eq!(log.batch(1, 2, 9 * one).len(), 2);
        assert_eq!(log.batch(4, 2, 9 * one).len(), 0);
    }

    #[test]
    fn a_compacted_log_keeps_its_places() {
        let mut log = log(&[1, 1, 2, 3]);
        log.compact(2);
        assert_eq!(log.base(), EntryId { term: 1, index: 2 });
        assert_eq!([log.term(1), log.term(2), log.term(3)], [None, Some(1), Some(2)]);
        assert_eq!(log.from(1, 9).len(), 2);
        assert_eq!(log.from(4, 9).len(), 1);
        assert_eq!(log.last_not_above(4, 0).index, 2);
        assert_eq!(log.last_not_above(1, 0).index, 1);
        assert_eq!(log.batches(1).count(), 2);
        assert_eq!(log.batches(1 << 20).count(), 1);
        log.truncate(4);
        assert_eq!(log.last(), EntryId { term: 2, index: 3 });
        log.compact(3);
        assert_eq!((log.last(), log.first()), (EntryId { term: 2, index: 3 }, None));
        assert_eq!(log.batches(1).count(), 0);
    }

    #[test]
    fn a_truncated_log_goes_on_where_it_ends() {
        let mut log = log(&[1, 1, 2]);
        log.truncate(2);
        assert_eq!(log.last(), EntryId { term: 1, index: 1 });
        log.push(Entry { id: EntryId { term: 3, index: 2 }, command: Command::Noop });
        assert_eq!(log.from(1, 9).len(), 2);
        assert_eq!(log.from(2, 9).len(), 1);
        assert_eq!(log.from(3, 9).len(), 0);
    }
}
