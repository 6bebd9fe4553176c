//! The conditions that a link can be under. A link's state is a list of them: each was installed by
//! one step, and all apply to every message, in this order:
//!
//! 1. when it arrives: cut and blackhole swallow it; loss may; corrupt flips a byte; duplicate
//!    copies it; hold keeps it;
//! 2. before it may leave: the delays add up; reorder lets the next one overtake it;
//! 3. when it leaves: cut and blackhole swallow what was under way; throttle makes it wait.
//!
//! Bytes of a program that does not speak frames are never swallowed, because TCP would send them
//! again: while their link is cut or a blackhole, they stay where they are.

use std::{fmt, time::Duration};

use usurper_history::frame::Kind;

use super::{kinds::Kinds, rate::ByteRate};

/// What a link can be told to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Messages are dropped. If all are, new connections are refused.
    Cut { kinds: Kinds },
    /// Everything is swallowed, and new connections get no answer.
    Blackhole,
    /// New connections from the link's first node to its second are refused.
    Refuse,
    /// Messages are late by `delay` and up to `jitter` more.
    Delay { delay: Duration, jitter: Duration, kinds: Kinds },
    /// Messages are dropped by chance.
    Loss(Chance),
    /// The link carries so many bytes per second.
    Throttle { rate: ByteRate },
    /// Messages are sent twice by chance.
    Duplicate(Chance),
    /// Messages are overtaken by the next one by chance; one waits for that no longer than `within`.
    Reorder { chance: Chance, within: Duration },
    /// A byte of a message is flipped by chance.
    Corrupt(Chance),
    /// Messages are kept until they are released.
    Hold { kinds: Kinds },
}

/// Which messages something happens to.
#[derive(Clone, Debug, PartialEq)]
pub struct Chance {
    /// Of one message, from 0 to 1.
    pub probability: f64,
    pub kinds: Kinds,
    /// It happens this often in all, over every connection of the link, and no more.
    pub count: Option<u64>,
}

/// What can happen to a message by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    Loss,
    Corrupt,
    Duplicate,
    Reorder,
}

impl Luck {
    const ALL: &'static [Self] = &[Self::Loss, Self::Corrupt, Self::Duplicate, Self::Reorder];
}

impl Condition {
    /// Whether it can be done to bytes that are not frames.
    pub(crate) fn fits_bytes(&self) -> bool {
        match self {
            Self::Blackhole | Self::Refuse | Self::Throttle { .. } => true,
            Self::Cut { kinds } | Self::Delay { kinds, .. } => kinds.is_all(),
            Self::Corrupt(chance) => chance.kinds.is_all(),
            Self::Loss(_) | Self::Duplicate(_) | Self::Reorder { .. } | Self::Hold { .. } => false,
        }
    }

    /// The chance that it gives to one sort of luck.
    pub(super) fn chance(&self, luck: Luck) -> Option<&Chance> {
        match (self, luck) {
            (Self::Loss(chance), Luck::Loss)
            | (Self::Corrupt(chance), Luck::Corrupt)
            | (Self::Duplicate(chance), Luck::Duplicate)
            | (Self::Reorder { chance, .. }, Luck::Reorder) => Some(chance),
            _ => None,
        }
    }

    /// How often it can happen, if that is bounded.
    pub(super) fn count(&self) -> Option<u64> {
        Luck::ALL.iter().find_map(|luck| self.chance(*luck))?.count
    }

    /// Whether a link under it carries nothing at all.
    pub(super) fn is_wall(&self) -> bool {
        matches!(self, Self::Blackhole) || matches!(self, Self::Cut { kinds } if kinds.is_all())
    }

    /// Whether it swallows a message of this kind.
    pub(super) fn swallows(&self, kind: Option<Kind>) -> bool {
        match self {
            Self::Blackhole => true,
            Self::Cut { kinds } => kinds.has(kind),
            _ => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { kinds } => write!(f, "cut {kinds}"),
            Self::Blackhole => f.write_str("blackhole"),
            Self::Refuse => f.write_str("refuse"),
            Self::Delay { delay, jitter, kinds } => {
                write!(f, "delay {kinds} by {delay:?} and up to {jitter:?} more")
            }
            Self::Loss(chance) => write!(f, "lose {chance}"),
            Self::Throttle { rate } => write!(f, "throttle to {rate}/s"),
            Self::Duplicate(chance) => write!(f, "duplicate {chance}"),
            Self::Reorder { chance, within } => write!(f, "reorder {chance} within {within:?}"),
            Self::Corrupt(chance) => write!(f, "corrupt {chance}"),
            Self::Hold { kinds } => write!(f, "hold {kinds}"),
        }
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with probability {}", self.kinds, self.probability)?;
        self.count.map_or(Ok(()), |count| write!(f, ", {count} at most"))
    }
}

/// What the carriers of a link have to know at every message, without asking for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Some condition touches what established connections carry.
    pub(super) touched: bool,
    /// Nothing is carried.
    pub(super) walled: bool,
    blackhole: bool,
    refuse: bool,
    /// How often the link's connections have been reset.
    pub(crate) resets: u64,
}

impl Summary {
    pub(super) fn of<'a>(conditions: impl Iterator<Item = &'a Condition>, resets: u64) -> Self {
        let mut summary = Self { resets, ..Self::default() };
        for condition in conditions {
            summary.touched |= *condition != Condition::Refuse;
            summary.walled |= condition.is_wall();
            summary.blackhole |= *condition == Condition::Blackhole;
            summary.refuse |= *condition == Condition::Refuse;
        }
        summary
    }
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admit,
    Refuse,
    /// No answer, until something changes.
    Hang,
}

/// Whether a connection may be made over a link and the one back: a handshake needs both.
pub(crate) fn admission(inward: Summary, outward: Summary) -> Admission {
    // A blackhole swallows a refusal, too.
    if inward.blackhole || outward.blackhole {
        Admission::Hang
    } else if inward.walled || outward.walled || inward.refuse {
        Admission::Refuse
    } else {
        Admission::Admit
    }
}
