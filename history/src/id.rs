//! Names of nodes, and the pairs of integers that protocols order things by.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A node of the cluster under test, written `n1`, `n2`, …
///
/// The number is also the node's identity in protocols that break ties by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

/// A text that is not the name of a node.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a node, expected `n1` to `n255`")]
pub struct ParseNodeIdError {
    text: String,
}

impl NodeId {
    /// The nodes `n1` to `n<count>`.
    pub fn all(count: u8) -> impl Iterator<Item = Self> {
        (1..=count).map(NodeId)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through `pad`, so that a table can align it.
        f.pad(&format!("n{}", self.0))
    }
}

impl FromStr for NodeId {
    type Err = ParseNodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('n').filter(|digits| !digits.starts_with(['0', '+']));
        match number.and_then(|digits| digits.parse().ok()) {
            Some(id) => Ok(Self(id)),
            None => Err(ParseNodeIdError { text: text.to_owned() }),
        }
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A Zab transaction id: the leader's epoch, then a counter within it (ordered in that order).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Zxid {
    pub epoch: u64,
    pub counter: u64,
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.counter)
    }
}

/// A place in a replicated log: the term of the entry and its index (ordered as Raft's
/// "up to date" rule does: term first). For Zab and Paxos the pair is (epoch, counter) and
/// (ballot, slot).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.term, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::NodeId;

    #[test]
    fn a_node_name_reads_back_as_itself() {
        for id in NodeId::all(255) {
            assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        }
    }

    #[test]
    fn only_the_canonical_name_of_a_node_is_read() {
        for text in ["", "n", "1", "n0", "n01", "n+1", "n256", "N1", "n1 "] {
            assert!(text.parse::<NodeId>().is_err(), "`{text}` was read as a node");
        }
    }
}
