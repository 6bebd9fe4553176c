//! raft-rs' view of what a node has saved: its trait `Storage`, over a copy in memory.

use raft::{
    GetEntriesContext, RaftState, Result, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
};
use usurper_history::EntryId;

/// What is on the disk, or written to it and not yet synced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) hard: HardState,
    pub(crate) voters: Vec<u64>,
    /// The last place that has no entry any more.
    pub(crate) base: EntryId,
    pub(crate) entries: Vec<Entry>,
    pub(crate) snapshot: Snapshot,
    /// The defect `snapshot-without-data`.
    pub(crate) forgets_data: bool,
}

pub(crate) fn id(entry: &Entry) -> EntryId {
    EntryId { term: entry.term, index: entry.index }
}

/// The place that a snapshot is of; index 0, if there is none.
pub(crate) fn place(snapshot: &Snapshot) -> EntryId {
    let metadata = snapshot.get_metadata();
    EntryId { term: metadata.term, index: metadata.index }
}

impl Log {
    pub(crate) fn last(&self) -> EntryId {
        self.entries.last().map_or(self.base, id)
    }

    pub(crate) fn first(&self) -> Option<EntryId> {
        self.entries.first().map(id)
    }

    /// The place of this index, if the log has it.
    pub(crate) fn at(&self, index: u64) -> Option<EntryId> {
        let after = index.checked_sub(self.base.index)?;
        match after {
            0 => Some(self.base),
            _ => self.entries.get(usize::try_from(after - 1).ok()?).map(id),
        }
    }

    /// Puts entries in the place of those from the first's index on.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let kept = self.place_of(first.index);
        assert!(kept <= self.entries.len(), "{} comes after {}", id(first), self.last());
        self.entries.truncate(kept);
        self.entries.extend_from_slice(entries);
    }

    /// A snapshot that came replaces everything.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        self.base = place(&snapshot);
        self.entries.clear();
        self.hard.commit = self.base.index;
        self.snapshot = snapshot;
    }

    /// Drops everything up to this index, which the log must have.
    pub(crate) fn compact(&mut self, up_to: u64) {
        let Some(base) = self.at(up_to) else { return };
        let dropped = self.place_of(up_to + 1);
        self.entries.drain(..dropped);
        self.base = base;
    }

    fn place_of(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.base.index + 1)).unwrap_or(usize::MAX)
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        let voters = ConfState { voters: self.voters.clone(), ..ConfState::default() };
        Ok(RaftState::new(self.hard.clone(), voters))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(StorageError::Compacted.into());
        }
        let mut entries = self.entries[self.place_of(low)..self.place_of(high)].to_vec();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        match self.at(index) {
            Some(id) => Ok(id.term),
            None if index < self.base.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().index)
    }

    fn snapshot(&self, request_index: u64, _: u64) -> Result<Snapshot> {
        if place(&self.snapshot).index < request_index.max(1) {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = self.snapshot.clone();
        if self.forgets_data {
            snapshot.clear_data();
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use raft::{GetEntriesContext, Storage, eraftpb::Entry};
    use usurper_history::EntryId;

    use super::Log;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::default();
        for (index, term) in (1..).zip(terms) {
            log.append(&[entry(*term, index)]);
        }
        log
    }

    fn entry(term: u64, index: u64) -> Entry {
        Entry { term, index, ..Entry::default() }
    }

    fn terms(log: &Log, low: u64, high: u64) -> Vec<u64> {
        let entries = log.entries(low, high, None, GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|entry| entry.term).collect()
    }

    #[test]
    fn entries_replace_those_from_their_index_on() {
        let mut log = log(&[1, 1, 2]);
        log.append(&[entry(3, 2)]);
        assert_eq!(terms(&log, 1, 3), [1, 3]);
        assert_eq!(log.last(), EntryId { term: 3, index: 2 });
    }

    #[test]
    fn a_compacted_log_keeps_its_places_and_the_term_before_them() {
        let mut log = log(&[1, 1, 2, 3]);
        log.compact(3);
        assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (4, 4));
        assert_eq!((log.term(3).unwrap(), log.term(4).unwrap()), (2, 3));
        assert!(log.term(2).is_err() && log.term(5).is_err());
        assert_eq!(terms(&log, 4, 5), [3]);
        assert!(log.entries(3, 5, None, GetEntriesContext::empty(false)).is_err());
        log.compact(4);
        assert_eq!((log.last(), log.first()), (EntryId { term: 3, index: 4 }, None));
        log.append(&[entry(4, 5)]);
        assert_eq!(terms(&log, 5, 6), [4]);
    }

    #[test]
    fn there_is_no_snapshot_before_one_was_taken() {
        assert!(log(&[1]).snapshot(0, 2).is_err());
    }
}
