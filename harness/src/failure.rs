//! Why a command ends without a verdict, and with which exit code.

use std::{fmt, process::ExitCode};

/// The exit codes of every command. Outcomes never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Every check is valid.
    Valid,
    /// A check is invalid: the system under test is wrong.
    Invalid,
    /// The command line, a scenario or a history is wrong.
    Usage,
    /// The verdict is unknown.
    Unknown,
    /// We failed: a node never started, a fault could not be healed, the store is full.
    Harness,
    /// Somebody pressed Ctrl-C; what was seen until then was judged.
    Interrupted,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Valid => 0,
            Status::Invalid => 1,
            Status::Usage => 2,
            Status::Unknown => 3,
            Status::Harness => 4,
            Status::Interrupted => 130,
        })
    }
}

/// A failure with the code to exit with and, where there is one, what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) error: anyhow::Error,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { status: Status::Usage, error: error.into(), hint: None }
    }

    pub(crate) fn harness(error: impl Into<anyhow::Error>) -> Self {
        Self { status: Status::Harness, error: error.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// In one line, for a list of what went wrong.
    pub(crate) fn in_a_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{:#} ({hint})", self.error),
            None => format!("{:#}", self.error),
        }
    }

    /// A name that is not known, with the nearest one that is.
    pub(crate) fn unknown<'a>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
        list: &str,
    ) -> Self {
        let failure = Self::usage(anyhow::anyhow!("unknown {what} `{name}`"));
        failure.with_hint(match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`? `{list}` shows them all"),
            None => format!("`{list}` shows them all"),
        })
    }
}

/// The known name that is most like this one, if any is like it at all.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|known| {
        // The last part of a path is what people remember: `leader-paused` for `fle/leader-paused-…`.
        let part = known.rsplit('/').next().unwrap_or(known);
        let score = strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, part));
        (score, known)
    });
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.7).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_has_none() {
        let known =
            ["fle/healthy-cold-start", "fle/rolling-restart", "fle/leader-paused-and-resumed"];
        assert_eq!(nearest("fle/roling-restart", known), Some(known[1]));
        assert_eq!(nearest("leader-paused", known), Some(known[2]));
        assert_eq!(nearest("zzzz", known), None);
    }
}
