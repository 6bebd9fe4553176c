//! The log in memory. Index 0 is before the first entry; it has term 0 and matches everywhere.

use usurper_history::EntryId;

use super::command::Entry;

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
}

impl Log {
    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(EntryId::default(), |entry| entry.id)
    }

    pub(crate) fn first(&self) -> Option<EntryId> {
        self.entries.first().map(|entry| entry.id)
    }

    /// The term at this index, if the log reaches so far.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == 0 {
            return Some(0);
        }
        self.get(index).map(|entry| entry.id.term)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        let place = usize::try_from(index.checked_sub(1)?).ok()?;
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
        let start = usize::try_from(index.saturating_sub(1)).unwrap_or(usize::MAX);
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
        let keep = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
    }

    /// The last place at or before `index` whose term is not above `term`: with this a leader and a
    /// follower skip a whole term of each other's log at a time.
    pub(crate) fn last_not_above(&self, index: u64, term: u64) -> EntryId {
        let mut index = index.min(self.last().index);
        while self.term(index).is_some_and(|own| own > term) {
            index -= 1;
        }
        self.id(index)
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
