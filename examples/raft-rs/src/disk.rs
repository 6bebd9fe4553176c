//! What a node saves, as records of `usurper-node`'s store.
//!
//! What one `Ready` has to save is one record, so that a crash leaves all of it or nothing: a hard
//! state that commits what was not written would make raft-rs refuse to start.

use protobuf::Message;
use raft::eraftpb::{Entry, HardState, Snapshot};
use serde::{Deserialize, Serialize};
use usurper_history::EntryId;
use usurper_node::protocol::RecoverError;

use crate::log::{Log, place};

/// Entries in one record, when the log is written anew.
const ENTRIES_MAX: usize = 1000;

/// One record. Everything in it is as raft-rs encodes it.
#[derive(Debug, Serialize, Deserialize)]
enum Change {
    /// These entries, in place of what came from their index on, and then this hard state.
    Write { hard: Option<Vec<u8>>, entries: Vec<Vec<u8>> },
    /// The log begins anew, after this place, with this snapshot.
    Snapshot { base: EntryId, snapshot: Vec<u8> },
}

impl Change {
    fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a change is plain data")
    }
}

fn bytes(message: &impl Message) -> Vec<u8> {
    message.write_to_bytes().expect("a message of raft-rs is whole")
}

/// What a `Ready` has to save.
pub(crate) fn write(hard: Option<&HardState>, entries: &[Entry]) -> Vec<u8> {
    let entries = entries.iter().map(bytes).collect();
    Change::Write { hard: hard.map(bytes), entries }.encode()
}

/// All that is to be saved, from the beginning.
pub(crate) fn rewrite(log: &Log) -> Vec<Vec<u8>> {
    let snapshot = Change::Snapshot { base: log.base, snapshot: bytes(&log.snapshot) };
    let mut records = vec![snapshot.encode()];
    records.extend(log.entries.chunks(ENTRIES_MAX).map(|entries| write(None, entries)));
    records.push(write(Some(&log.hard), &[]));
    records
}

/// What the records add up to.
pub(crate) fn recover(voters: Vec<u64>, records: &[Vec<u8>]) -> Result<Log, RecoverError> {
    let mut log = Log { voters, ..Log::default() };
    for (index, record) in records.iter().enumerate() {
        let unreadable = || RecoverError::Record { system: "raft-rs", index };
        match postcard::from_bytes(record).map_err(|_| unreadable())? {
            Change::Write { hard, entries } => {
                let parsed = entries.iter().map(|bytes| Entry::parse_from_bytes(bytes));
                let entries: Vec<_> = parsed.collect::<Result<_, _>>().map_err(|_| unreadable())?;
                if let Some(first) = entries.first()
                    && (first.index <= log.base.index || first.index > log.last().index + 1)
                {
                    let (index, last) = (first.index, log.last());
                    let text = format!("the entry {index} follows {last}");
                    return Err(RecoverError::Contradiction(text));
                }
                log.append(&entries);
                if let Some(bytes) = hard {
                    log.hard = HardState::parse_from_bytes(&bytes).map_err(|_| unreadable())?;
                }
            }
            Change::Snapshot { base, snapshot } => {
                log.install(Snapshot::parse_from_bytes(&snapshot).map_err(|_| unreadable())?);
                log.base = base;
            }
        }
    }
    let (commit, last) = (log.hard.commit, log.last().index);
    if commit > last || commit < place(&log.snapshot).index {
        let text = format!("it is committed up to {commit}, and ends at {last}");
        return Err(RecoverError::Contradiction(text));
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, HardState, Snapshot};
    use usurper_history::EntryId;

    use super::{recover, rewrite, write};

    fn entry(term: u64, index: u64) -> Entry {
        Entry { term, index, ..Entry::default() }
    }

    fn hard(term: u64, vote: u64, commit: u64) -> HardState {
        HardState { term, vote, commit, ..HardState::default() }
    }

    #[test]
    fn what_was_written_is_found_again() {
        let records = [
            write(Some(&hard(1, 2, 0)), &[entry(1, 1), entry(1, 2)]),
            write(Some(&hard(2, 0, 1)), &[entry(2, 2)]),
        ];
        let log = recover(vec![1, 2, 3], &records).unwrap();
        assert_eq!(log.hard, hard(2, 0, 1));
        assert_eq!(log.entries, [entry(1, 1), entry(2, 2)]);
    }

    #[test]
    fn a_rewritten_log_is_the_same_behind_its_snapshot() {
        let mut log =
            recover(vec![1], &[write(Some(&hard(1, 1, 3)), &[1, 2, 3, 4].map(|it| entry(1, it)))])
                .unwrap();
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 3;
        snapshot.mut_metadata().term = 1;
        snapshot.set_data(vec![7].into());
        log.snapshot = snapshot;
        log.compact(2);
        let again = recover(vec![1], &rewrite(&log)).unwrap();
        assert_eq!(again.base, EntryId { term: 1, index: 2 });
        assert_eq!((again.entries, again.hard), (log.entries, log.hard));
        assert_eq!(again.snapshot, log.snapshot);
    }

    #[test]
    fn a_gap_and_a_commit_behind_the_end_are_refused() {
        let gap = recover(vec![1], &[write(None, &[entry(1, 2)])]).unwrap_err();
        assert_eq!(gap.to_string(), "the log contradicts itself: the entry 2 follows (0, 0)");
        assert!(recover(vec![1], &[write(Some(&hard(1, 1, 1)), &[])]).is_err());
        let error = recover(vec![1], &[vec![9]]).unwrap_err();
        assert_eq!(error.to_string(), "record 0 of the log is not one of `raft-rs`");
    }
}
