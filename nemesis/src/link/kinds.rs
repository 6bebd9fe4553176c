//! Which messages a condition is about.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use usurper_history::frame::Kind;

/// A kind of message that reads and writes as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageKind(pub Kind);

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Kind::from_name(name).map(Self).ok_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(|kind| format!("`{kind}`")).collect();
            format!("unknown kind of message `{name}`, expected one of {}", known.join(", "))
        })
    }
}

impl Serialize for MessageKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for MessageKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A choice of messages: all of them, or those of some kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds(Option<BTreeSet<Kind>>);

impl Kinds {
    /// Every message, and every byte.
    pub const ALL: Self = Self(None);

    /// These kinds; all when there is none.
    pub fn of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        let kinds: BTreeSet<_> = kinds.into_iter().collect();
        Self((!kinds.is_empty()).then_some(kinds))
    }

    /// Whether no kind is left out.
    pub(crate) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a message of this kind is meant. Bytes and the end of a connection have no kind:
    /// only a choice of everything means them.
    pub fn has(&self, kind: Option<Kind>) -> bool {
        match (&self.0, kind) {
            (None, _) => true,
            (Some(kinds), Some(kind)) => kinds.contains(&kind),
            (Some(_), None) => false,
        }
    }

    /// Whether a message of this kind is meant, where greetings are only if they are named: a
    /// connection whose greeting is lost or doubled is none, which would be another fault.
    pub(super) fn has_beyond_greeting(&self, kind: Option<Kind>) -> bool {
        self.has(kind) && !(self.is_all() && kind.is_some_and(is_greeting))
    }

    /// These without others; `None` if nothing is left.
    pub(crate) fn without(&self, others: &Self) -> Option<Self> {
        let Some(others) = &others.0 else { return None };
        let all = || Kind::ALL.iter().copied().filter(|kind| !is_greeting(*kind)).collect();
        let own = self.0.clone().unwrap_or_else(all);
        let left: BTreeSet<_> = own.difference(others).copied().collect();
        (!left.is_empty()).then_some(Self(Some(left)))
    }

    /// Whether some kind is in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => !one.is_disjoint(other),
            _ => true,
        }
    }
}

/// Whether it makes a connection, rather than being sent over one.
fn is_greeting(kind: Kind) -> bool {
    matches!(kind, Kind::Hello | Kind::Welcome)
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("every message"),
            Some(kinds) => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}
