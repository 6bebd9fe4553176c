//! Who votes: the configuration, and what a majority of it is.
//!
//! A configuration has voters, and learners, who get the log and do not count. While voters are
//! replaced several at a time it is *joint* (section 4.3 of the thesis): the outgoing voters count
//! as well, and whatever needs a majority needs one of each.
//!
//! A configuration is in force from the moment its entry is in the log (section 4.1 of the thesis),
//! not from when it is applied, as in etcd: so it is reverted when its entry is truncated, and no
//! node can campaign with a configuration that is older than its log.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use usurper_history::{EntryId, NodeId};

use super::command::{Command, Entry};

/// Who votes, and who learns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub voters: BTreeSet<NodeId>,
    /// In a joint configuration: the voters that it replaces. Otherwise empty.
    pub outgoing: BTreeSet<NodeId>,
    /// They get the log and do not count. One that is outgoing votes until the joint one ends.
    pub learners: BTreeSet<NodeId>,
}

/// Where an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    Won,
    Lost,
    Open,
}

impl Config {
    pub(crate) fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Everybody who gets the log.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    pub(crate) fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(crate) fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whose majorities decide.
    pub(crate) fn electorate(&self) -> Electorate {
        let half = |voters: &BTreeSet<NodeId>| Half {
            counted: voters.clone(),
            needed: voters.len() / 2 + 1,
        };
        let halves = [&self.voters, &self.outgoing].into_iter().filter(|it| !it.is_empty());
        Electorate { halves: halves.map(half).collect() }
    }
}

/// Whose majorities decide: those of the voters and, in a joint configuration, of the outgoing.
#[derive(Clone, Debug)]
pub(crate) struct Electorate {
    pub(crate) halves: Vec<Half>,
}

#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) counted: BTreeSet<NodeId>,
    pub(crate) needed: usize,
}

impl Electorate {
    /// Whether those for whom `counts` says so are a quorum. Nobody is one where nobody votes.
    pub(crate) fn is_quorum(&self, counts: impl Fn(NodeId) -> bool) -> bool {
        let has =
            |half: &Half| half.counted.iter().filter(|it| counts(**it)).count() >= half.needed;
        !self.halves.is_empty() && self.halves.iter().all(has)
    }

    /// The highest index that a quorum has, where `matched` says what each has.
    pub(crate) fn quorum_index(&self, matched: impl Fn(NodeId) -> u64) -> u64 {
        let of_half = |half: &Half| {
            let mut indices: Vec<_> = half.counted.iter().map(|node| matched(*node)).collect();
            indices.sort_unstable_by(|one, other| other.cmp(one));
            indices.get(half.needed - 1).copied().unwrap_or(0)
        };
        self.halves.iter().map(of_half).min().unwrap_or(0)
    }

    pub(crate) fn tally(&self, votes: &BTreeMap<NodeId, bool>) -> Tally {
        if self.is_quorum(|node| votes.get(&node) == Some(&true)) {
            Tally::Won
        } else if self.is_quorum(|node| votes.get(&node) != Some(&false)) {
            Tally::Open
        } else {
            Tally::Lost
        }
    }

    /// Those who count in either half.
    pub(crate) fn counted(&self) -> BTreeSet<NodeId> {
        self.halves.iter().flat_map(|half| &half.counted).copied().collect()
    }
}

/// The configurations of a log, in the order of their entries. The first is that of the snapshot,
/// or the one that the cluster began with, at index 0.
#[derive(Clone, Debug)]
pub(crate) struct Configs {
    first: Placed,
    later: Vec<Placed>,
}

/// A configuration and its entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(crate) id: EntryId,
    pub(crate) config: Config,
}

impl Configs {
    pub(crate) fn new(first: Placed) -> Self {
        Self { first, later: Vec::new() }
    }

    /// The one that is in force.
    pub(crate) fn latest(&self) -> &Placed {
        self.later.last().unwrap_or(&self.first)
    }

    /// The one that was in force before the latest, if that is still known.
    pub(crate) fn before_latest(&self) -> Option<&Placed> {
        match self.later.len() {
            0 => None,
            1 => Some(&self.first),
            count => self.later.get(count - 2),
        }
    }

    /// The one that is in force where the log ends at this index.
    pub(crate) fn at(&self, index: u64) -> &Placed {
        self.later.iter().rev().find(|placed| placed.id.index <= index).unwrap_or(&self.first)
    }

    /// Takes the configuration of an entry that is put into the log, if it has one.
    pub(crate) fn learn(&mut self, entry: &Entry) -> bool {
        let Command::Configure(config) = &entry.command else { return false };
        self.later.push(Placed { id: entry.id, config: config.clone() });
        true
    }

    /// The log begins after this index now.
    pub(crate) fn compact(&mut self, up_to: u64) {
        self.first = self.at(up_to).clone();
        self.later.retain(|placed| placed.id.index > up_to);
    }

    /// The log ends before this index now. Whether another configuration is in force.
    pub(crate) fn truncate(&mut self, from: u64) -> bool {
        let count = self.later.len();
        self.later.retain(|placed| placed.id.index < from);
        self.later.len() < count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use usurper_history::{EntryId, NodeId};

    use super::{Config, Configs, Placed, Tally};
    use crate::raft::command::{Command, Entry};

    fn ids(numbers: &[u8]) -> impl Iterator<Item = NodeId> + '_ {
        numbers.iter().map(|number| NodeId(*number))
    }

    fn config(voters: &[u8], outgoing: &[u8], learners: &[u8]) -> Config {
        Config {
            voters: ids(voters).collect(),
            outgoing: ids(outgoing).collect(),
            learners: ids(learners).collect(),
        }
    }

    #[test]
    fn a_joint_configuration_needs_a_majority_of_each_half() {
        let joint = config(&[1, 2, 3], &[3, 4, 5], &[]);
        let quorum = |of: &[u8]| joint.electorate().is_quorum(|node| of.contains(&node.0));
        assert!(quorum(&[1, 3, 4]) && quorum(&[1, 2, 4, 5]));
        assert!(!quorum(&[1, 2, 3]) && !quorum(&[3, 4, 5]) && !quorum(&[1, 2]));
    }

    #[test]
    fn learners_and_strangers_do_not_count() {
        let plain = config(&[1, 2, 3], &[], &[4]);
        assert!(!plain.electorate().is_quorum(|node| [1, 4, 5].contains(&node.0)));
        assert!(plain.electorate().is_quorum(|node| [1, 2].contains(&node.0)));
        assert!(!config(&[], &[], &[4]).electorate().is_quorum(|_| true));
    }

    #[test]
    fn the_quorum_index_is_the_lower_one_of_the_halves() {
        let matched = |node: NodeId| u64::from(10 * node.0);
        assert_eq!(config(&[1, 2, 3], &[], &[9]).electorate().quorum_index(matched), 20);
        assert_eq!(config(&[1, 2, 3, 4], &[], &[]).electorate().quorum_index(matched), 20);
        assert_eq!(config(&[5, 6, 7], &[1, 2, 3], &[]).electorate().quorum_index(matched), 20);
        assert_eq!(config(&[], &[], &[]).electorate().quorum_index(matched), 0);
    }

    #[test]
    fn the_configuration_in_force_is_that_of_the_last_entry_that_is_left() {
        let id = |index| EntryId { term: 1, index };
        let mut configs = Configs::new(Placed { id: id(0), config: config(&[1], &[], &[]) });
        let two = Command::Configure(config(&[1, 2], &[], &[]));
        let three = Command::Configure(config(&[1, 2, 3], &[], &[]));
        assert!(configs.before_latest().is_none());
        assert!(configs.learn(&Entry { id: id(3), command: two }));
        assert!(!configs.learn(&Entry { id: id(4), command: Command::Noop }));
        assert!(configs.learn(&Entry { id: id(5), command: three }));
        let voters = |placed: &Placed| placed.config.voters.len();
        assert_eq!([0, 2, 3, 4, 5, 9].map(|index| voters(configs.at(index))), [1, 1, 2, 2, 3, 3]);
        assert_eq!(configs.before_latest().map(voters), Some(2));
        let mut compacted = configs.clone();
        compacted.compact(4);
        assert_eq!([4, 5].map(|index| voters(compacted.at(index))), [2, 3]);
        assert!(!configs.truncate(6));
        assert!(configs.truncate(4));
        assert_eq!(voters(configs.latest()), 2);
    }

    #[test]
    fn an_election_is_lost_when_either_half_is() {
        let joint = config(&[1, 2, 3], &[3, 4, 5], &[]);
        let tally = |yes: &[u8], no: &[u8]| {
            let votes: BTreeMap<_, _> =
                ids(yes).map(|id| (id, true)).chain(ids(no).map(|id| (id, false))).collect();
            joint.electorate().tally(&votes)
        };
        assert_eq!(tally(&[1, 3], &[]), Tally::Open);
        assert_eq!(tally(&[1, 3, 4], &[]), Tally::Won);
        assert_eq!(tally(&[1, 2, 3], &[4, 5]), Tally::Lost);
        assert_eq!(tally(&[], &[1]), Tally::Open);
    }
}
