//! One operation of a client, from its call to its return.

use std::ops::Range;

/// One operation: what was asked, what came back, and when.
///
/// Positions count in the history's own order, for example the line numbers of a file; only their
/// order matters. Where two are equal, the operations overlap, so that an interval is never taken to
/// be shorter than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<O> {
    /// The client that did it.
    pub process: u32,
    /// The object it was done to. Objects are judged one by one: linearizability is local
    /// (Herlihy & Wing 1990, theorem 1).
    pub key: u32,
    /// The position of the call.
    pub call: u64,
    /// The position of the return; none while the outcome is unknown: the operation may then take
    /// effect at any time after its call, or never.
    pub ret: Option<u64>,
    /// What was asked and what came back, in the words of a [`Model`](super::Model).
    pub op: O,
}

impl<O> Operation<O> {
    /// Whether its outcome is unknown.
    pub fn is_pending(&self) -> bool {
        self.ret.is_none()
    }
}

/// An operation of one key as a search sees it: its kind is an index into a table of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The index of what was asked and answered; equal operations share it.
    pub class: u32,
    pub call: u64,
    /// `u64::MAX` while the outcome is unknown.
    pub ret: u64,
}

/// The return of an operation that has none.
pub const NEVER: u64 = u64::MAX;

impl Timed {
    pub fn is_pending(&self) -> bool {
        self.ret == NEVER
    }
}

/// Counts and places fit 32 bits: a history of more operations does not fit in memory either.
pub(crate) fn narrow(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 of anything in one history")
}

/// A range of places in a flat list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    from: u32,
    to: u32,
}

impl Span {
    pub(crate) fn new(range: Range<usize>) -> Self {
        Self { from: narrow(range.start), to: narrow(range.end) }
    }

    pub(crate) fn of<T>(self, list: &[T]) -> &[T] {
        &list[self.from as usize..self.to as usize]
    }
}
