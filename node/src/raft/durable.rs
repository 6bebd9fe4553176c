//! What a `raft` node must not forget: its term, its vote in it, its snapshot and its log.

use std::mem;

use serde::{Deserialize, Serialize};
use usurper_history::{EntryId, NodeId};

use super::{
    command::Entry,
    log::Log,
    snapshot::{Content, Snapshot},
};
use crate::protocol::RecoverError;

/// One durable change, as a record of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Hard(HardState),
    /// These entries came after the last.
    Append(Vec<Entry>),
    /// The log ends before this index.
    Truncate(u64),
    /// The next bytes of a snapshot.
    Piece(Vec<u8>),
    /// The pieces are a snapshot, and the log begins after this place.
    Snapshot {
        base: EntryId,
    },
}

/// The term, and whom the node voted for in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HardState {
    pub(crate) term: u64,
    pub(crate) vote: Option<NodeId>,
}

/// What the records add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Durable {
    pub(crate) hard: HardState,
    pub(crate) log: Log,
    pub(crate) snapshot: Option<(Snapshot, Content)>,
    pieces: Vec<u8>,
}

impl Durable {
    /// # Errors
    /// When a record is unreadable, or the records say what no node wrote.
    pub(crate) fn recover(records: &[Vec<u8>]) -> Result<Self, RecoverError> {
        let mut durable = Self::default();
        for (index, record) in records.iter().enumerate() {
            let change = postcard::from_bytes(record)
                .map_err(|_| RecoverError::Record { system: "raft", index })?;
            durable.apply(change)?;
        }
        let (term, last) = (durable.hard.term, durable.log.last());
        if let Some((snapshot, _)) = &durable.snapshot
            && last.index < snapshot.last.index
        {
            let snapshot = snapshot.last;
            return Err(contradiction(format!("the log ends at {last}, before {snapshot}")));
        }
        if last.term > term {
            return Err(contradiction(format!("the log ends at {last}, but the term is {term}")));
        }
        Ok(durable)
    }

    fn apply(&mut self, change: Change) -> Result<(), RecoverError> {
        match change {
            Change::Hard(hard) => {
                if hard.term < self.hard.term {
                    let (from, to) = (self.hard.term, hard.term);
                    return Err(contradiction(format!("the term goes back from {from} to {to}")));
                }
                self.hard = hard;
            }
            Change::Append(entries) => {
                for entry in entries {
                    let last = self.log.last();
                    if entry.id.index != last.index + 1 || entry.id.term < last.term {
                        let id = entry.id;
                        return Err(contradiction(format!("the entry {id} follows {last}")));
                    }
                    self.log.push(entry);
                }
            }
            Change::Truncate(from) => self.log.truncate(from),
            Change::Piece(piece) => self.pieces.extend(piece),
            Change::Snapshot { base } => {
                let (snapshot, content) = Snapshot::from_bytes(mem::take(&mut self.pieces))?;
                if base.index > snapshot.last.index {
                    let last = snapshot.last;
                    return Err(contradiction(format!("the log begins after {base}, not {last}")));
                }
                self.log = Log::after(base);
                self.snapshot = Some((snapshot, content));
            }
        }
        Ok(())
    }
}

fn contradiction(text: String) -> RecoverError {
    RecoverError::Contradiction(text)
}

impl Change {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a change is plain data")
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::{EntryId, NodeId};

    use super::{Change, Durable, HardState};
    use crate::raft::{Command, Entry};

    fn recover(changes: &[Change]) -> Result<Durable, String> {
        let records: Vec<_> = changes.iter().map(Change::encode).collect();
        Durable::recover(&records).map_err(|error| error.to_string())
    }

    fn entry(term: u64, index: u64) -> Entry {
        Entry { id: EntryId { term, index }, command: Command::Noop }
    }

    fn hard(term: u64, vote: Option<NodeId>) -> Change {
        Change::Hard(HardState { term, vote })
    }

    #[test]
    fn the_log_is_what_was_appended_and_not_truncated() {
        let durable = recover(&[
            hard(1, Some(NodeId(2))),
            Change::Append(vec![entry(1, 1), entry(1, 2)]),
            hard(2, None),
            Change::Truncate(2),
            Change::Append(vec![entry(2, 2)]),
        ])
        .unwrap();
        assert_eq!(durable.hard, HardState { term: 2, vote: None });
        assert_eq!(durable.log.from(1, 9), [entry(1, 1), entry(2, 2)]);
    }

    #[test]
    fn a_gap_in_the_log_is_refused() {
        let error = recover(&[hard(1, None), Change::Append(vec![entry(1, 2)])]).unwrap_err();
        assert_eq!(error, "the log contradicts itself: the entry (1, 2) follows (0, 0)");
    }

    #[test]
    fn a_term_that_goes_back_is_refused() {
        assert!(recover(&[hard(2, None), hard(1, None)]).is_err());
        assert!(recover(&[Change::Append(vec![entry(1, 1)])]).is_err());
    }

    #[test]
    fn a_record_of_something_else_is_refused_by_its_place() {
        let error = Durable::recover(&[hard(0, None).encode(), vec![9, 9]]).unwrap_err();
        assert_eq!(error.to_string(), "record 1 of the log is not one of `raft`");
    }
}
