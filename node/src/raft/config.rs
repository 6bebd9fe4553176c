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
use usurper_history::NodeId;

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
    pub(crate) fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Everybody who is asked for a vote.
    pub(crate) fn all_voters(&self) -> BTreeSet<NodeId> {
        self.voters.union(&self.outgoing).copied().collect()
    }

    /// The sets of which a majority each is needed.
    fn halves(&self) -> impl Iterator<Item = &BTreeSet<NodeId>> {
        [&self.voters, &self.outgoing].into_iter().filter(|half| !half.is_empty())
    }

    /// Whether those for whom `counts` says so are a quorum. Nobody is one of no voters.
    pub(crate) fn is_quorum(&self, counts: impl Fn(NodeId) -> bool) -> bool {
        !self.voters.is_empty()
            && self.halves().all(|half| {
                half.iter().filter(|node| counts(**node)).count() >= majority(half.len())
            })
    }

    /// The highest index that a quorum has, where `matched` says what each voter has.
    pub(crate) fn quorum_index(&self, matched: impl Fn(NodeId) -> u64) -> u64 {
        let of_half = |half: &BTreeSet<NodeId>| {
            let mut indices: Vec<_> = half.iter().map(|node| matched(*node)).collect();
            indices.sort_unstable_by(|one, other| other.cmp(one));
            indices[majority(half.len()) - 1]
        };
        self.halves().map(of_half).min().unwrap_or(0)
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
}

fn majority(count: usize) -> usize {
    count / 2 + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use usurper_history::NodeId;

    use super::{Config, Tally};

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
        let quorum = |of: &[u8]| joint.is_quorum(|node| of.contains(&node.0));
        assert!(quorum(&[1, 3, 4]) && quorum(&[1, 2, 4, 5]));
        assert!(!quorum(&[1, 2, 3]) && !quorum(&[3, 4, 5]) && !quorum(&[1, 2]));
    }

    #[test]
    fn learners_and_strangers_do_not_count() {
        let plain = config(&[1, 2, 3], &[], &[4]);
        assert!(!plain.is_quorum(|node| [1, 4, 5].contains(&node.0)));
        assert!(plain.is_quorum(|node| [1, 2].contains(&node.0)));
        assert!(!config(&[], &[], &[4]).is_quorum(|_| true));
    }

    #[test]
    fn the_quorum_index_is_the_lower_one_of_the_halves() {
        let matched = |node: NodeId| u64::from(10 * node.0);
        assert_eq!(config(&[1, 2, 3], &[], &[9]).quorum_index(matched), 20);
        assert_eq!(config(&[1, 2, 3, 4], &[], &[]).quorum_index(matched), 20);
        assert_eq!(config(&[5, 6, 7], &[1, 2, 3], &[]).quorum_index(matched), 20);
        assert_eq!(config(&[], &[], &[]).quorum_index(matched), 0);
    }

    #[test]
    fn an_election_is_lost_when_either_half_is() {
        let joint = config(&[1, 2, 3], &[3, 4, 5], &[]);
        let tally = |yes: &[u8], no: &[u8]| {
            let votes: BTreeMap<_, _> =
                ids(yes).map(|id| (id, true)).chain(ids(no).map(|id| (id, false))).collect();
            joint.tally(&votes)
        };
        assert_eq!(tally(&[1, 3], &[]), Tally::Open);
        assert_eq!(tally(&[1, 3, 4], &[]), Tally::Won);
        assert_eq!(tally(&[1, 2, 3], &[4, 5]), Tally::Lost);
        assert_eq!(tally(&[], &[1]), Tally::Open);
    }
}
