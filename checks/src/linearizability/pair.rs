//! Operations from what was recorded of them: a call, and later how it ended.

use std::collections::HashMap;

/// A history that says something impossible of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    #[error(
        "line {line}: process {process} completes an operation that it completed in line {before}"
    )]
    DoubleCompletion { process: u32, line: u64, before: u64 },
    #[error("line {line}: process {process} completes an operation that it never invoked")]
    CompletionWithoutInvoke { process: u32, line: u64 },
    #[error(
        "line {line}: process {process} invokes an operation while that of line {before} is open"
    )]
    TwoOpen { process: u32, line: u64, before: u64 },
}

/// Brings completions to their calls.
#[derive(Debug)]
pub struct Pairing<C> {
    open: HashMap<u32, (u64, C)>,
    completed: HashMap<u32, u64>,
}

impl<C> Default for Pairing<C> {
    fn default() -> Self {
        Self { open: HashMap::new(), completed: HashMap::new() }
    }
}

impl<C> Pairing<C> {
    /// Notes a call.
    ///
    /// # Errors
    /// The process has an operation open.
    pub fn invoke(&mut self, process: u32, line: u64, call: C) -> Result<(), PairError> {
        if let Some((before, _)) = self.open.get(&process) {
            return Err(PairError::TwoOpen { process, line, before: *before });
        }
        self.open.insert(process, (line, call));
        Ok(())
    }

    /// The line of the call that a completion belongs to, and the call.
    ///
    /// # Errors
    /// The process has no operation open.
    pub fn complete(&mut self, process: u32, line: u64) -> Result<(u64, C), PairError> {
        let Some(call) = self.open.remove(&process) else {
            return Err(match self.completed.get(&process) {
                Some(before) => PairError::DoubleCompletion { process, line, before: *before },
                None => PairError::CompletionWithoutInvoke { process, line },
            });
        };
        self.completed.insert(process, line);
        Ok(call)
    }

    /// What was never completed: process, line and call, by line.
    pub fn rest(self) -> Vec<(u32, u64, C)> {
        let mut rest: Vec<(u32, u64, C)> =
            self.open.into_iter().map(|(process, (line, call))| (process, line, call)).collect();
        rest.sort_by_key(|(_, line, _)| *line);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::{PairError, Pairing};

    #[test]
    fn what_cannot_be_is_named() {
        let mut pairing = Pairing::default();
        pairing.invoke(1, 2, "a").unwrap();
        let two = PairError::TwoOpen { process: 1, line: 3, before: 2 };
        assert_eq!(pairing.invoke(1, 3, "b"), Err(two));
        assert_eq!(pairing.complete(1, 4), Ok((2, "a")));
        let double = PairError::DoubleCompletion { process: 1, line: 5, before: 4 };
        assert_eq!(pairing.complete(1, 5), Err(double));
        let without = PairError::CompletionWithoutInvoke { process: 2, line: 6 };
        assert_eq!(pairing.complete(2, 6), Err(without));
        pairing.invoke(1, 7, "c").unwrap();
        pairing.invoke(0, 8, "d").unwrap();
        assert_eq!(pairing.rest(), [(1, 7, "c"), (0, 8, "d")]);
    }
}
