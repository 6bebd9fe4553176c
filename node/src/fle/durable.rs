//! What an `fle` node must not forget.

use serde::{Deserialize, Serialize};
use usurper_history::{NodeId, Persisted, Zxid};

use crate::protocol::RecoverError;

/// One durable change, as a record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// The promise of one leader per epoch, and of no epoch below it.
    Accepted { epoch: u64, leader: NodeId },
    /// An established leader of this epoch was followed, or this node became one.
    CurrentEpoch(u64),
    /// The last logged transaction.
    Zxid(Zxid),
    /// For the defect `round-stored-not-epoch`.
    Round(u64),
}

/// The durable state, as the records add up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) accepted_epoch: u64,
    pub(crate) accepted_leader: Option<NodeId>,
    pub(crate) current_epoch: u64,
    pub(crate) zxid: Zxid,
    /// For the defect `round-stored-not-epoch`; rightly the round is volatile.
    pub(crate) round: u64,
}

impl Durable {
    /// # Errors
    /// When a record is unreadable, or the records say what no correct node wrote.
    pub(crate) fn recover(records: &[Vec<u8>]) -> Result<Self, RecoverError> {
        let mut durable = Self::default();
        for (index, record) in records.iter().enumerate() {
            let change = postcard::from_bytes(record)
                .map_err(|_| RecoverError::Record { system: "fle", index })?;
            durable.apply(change);
        }
        let Self { accepted_epoch, current_epoch, zxid, .. } = durable;
        if current_epoch > accepted_epoch || zxid.epoch > current_epoch {
            return Err(RecoverError::Contradiction(format!(
                "epoch {current_epoch} was followed and {zxid} logged, but only epoch \
                 {accepted_epoch} was accepted"
            )));
        }
        Ok(durable)
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { epoch, leader } => {
                (self.accepted_epoch, self.accepted_leader) = (epoch, Some(leader));
            }
            Change::CurrentEpoch(epoch) => self.current_epoch = epoch,
            Change::Zxid(zxid) => self.zxid = zxid,
            Change::Round(round) => self.round = round,
        }
    }

    pub(crate) fn persisted(&self, members: &[NodeId]) -> Persisted {
        Persisted {
            accepted_epoch: Some(self.accepted_epoch),
            accepted_leader: self.accepted_leader,
            current_epoch: Some(self.current_epoch),
            zxid: Some(self.zxid),
            config: Some(members.to_vec()),
            ..Persisted::default()
        }
    }
}

impl Change {
    pub(crate) fn encode(self) -> Vec<u8> {
        postcard::to_stdvec(&self).expect("a change is plain data")
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::{NodeId, Zxid};

    use super::{Change, Durable};

    fn recover(changes: &[Change]) -> Result<Durable, String> {
        let records: Vec<_> = changes.iter().map(|change| change.encode()).collect();
        Durable::recover(&records).map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_record_of_each_kind_counts() {
        let durable = recover(&[
            Change::Accepted { epoch: 1, leader: NodeId(3) },
            Change::CurrentEpoch(1),
            Change::Zxid(Zxid { epoch: 1, counter: 4 }),
            Change::Accepted { epoch: 2, leader: NodeId(1) },
        ]);
        let expected = Durable {
            accepted_epoch: 2,
            accepted_leader: Some(NodeId(1)),
            current_epoch: 1,
            zxid: Zxid { epoch: 1, counter: 4 },
            round: 0,
        };
        assert_eq!(durable, Ok(expected));
    }

    #[test]
    fn an_epoch_followed_but_never_accepted_is_refused() {
        assert!(recover(&[Change::CurrentEpoch(1)]).is_err());
        assert!(recover(&[Change::Zxid(Zxid { epoch: 1, counter: 0 })]).is_err());
    }

    #[test]
    fn a_record_of_something_else_is_refused_by_its_place() {
        let records = [Change::CurrentEpoch(0).encode(), vec![9, 9]];
        let error = Durable::recover(&records).unwrap_err();
        assert_eq!(error.to_string(), "record 1 of the log is not one of `fle`");
    }
}
