//! Whole logs of operations on one kind of object, in the words of its model, as the checkers take
//! them.

use crate::linearizability::{Operation, PairError};

/// Why a text is not a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("line {line}: {what}, expected {expected}")]
    Line { line: u64, what: String, expected: &'static str },
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// A history: positions are the numbers of its lines, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log<O> {
    /// In the order of their calls. Reads that returned nothing are left out: they say nothing.
    pub operations: Vec<Operation<O>>,
    /// The names of keys, by number.
    pub keys: Vec<String>,
}

/// Lines with their numbers, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (u64, Result<&str, LogError>)> {
    (1..).zip(text.split(|byte| *byte == b'\n')).map(|(line, bytes)| {
        let text = str::from_utf8(bytes).map(|text| text.trim_end_matches('\r'));
        (line, text.map_err(|_| wrong(line, "bytes that are no text".to_owned(), "UTF-8")))
    })
}

pub(super) fn wrong(line: u64, what: String, expected: &'static str) -> LogError {
    LogError::Line { line, what, expected }
}
