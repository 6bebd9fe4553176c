//! Findings in bounded memory.

use usurper_history::NodeId;

use crate::{client_ops::ClientError, verdict::Finding};

/// How many findings a check keeps; it only counts the rest.
pub(crate) const FINDINGS_MAX: usize = 20;
/// How many lines of the history a finding names.
pub(crate) const LINES_MAX: usize = 10;

/// The first findings of a check, and how many there were beyond.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Finding>,
    omitted: u64,
}

impl Findings {
    /// Adds a finding, and returns its place if it was kept.
    pub(crate) fn push(&mut self, mut finding: Finding) -> Option<usize> {
        if self.kept.len() >= FINDINGS_MAX {
            self.omitted += 1;
            return None;
        }
        tidy(&mut finding.lines);
        tidy(&mut finding.nodes);
        self.kept.push(finding);
        Some(self.kept.len() - 1)
    }

    /// A kept finding, to extend it with what proves it further.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Finding> {
        self.kept.get_mut(place)
    }

    /// Adds those of another, as far as there is room.
    pub(crate) fn append(&mut self, other: Self) {
        self.omitted += other.omitted;
        for finding in other.kept {
            self.push(finding);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// In the order of the time at which they begin.
    pub(crate) fn into_parts(mut self) -> (Vec<Finding>, u64) {
        self.kept.sort_by_key(|finding| (finding.from_ns, finding.to_ns));
        (self.kept, self.omitted)
    }
}

impl Finding {
    /// Lets a finding last until `t`, and adds the line that shows so, as long as there is room.
    pub(crate) fn extend(&mut self, t: u64, line: u64) {
        self.to_ns = self.to_ns.max(t);
        if self.lines.len() < LINES_MAX && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

fn tidy<T: Ord>(items: &mut Vec<T>) {
    items.sort_unstable();
    items.dedup();
}

/// What a check has found at the end of a history.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Findings,
    pub(crate) warnings: Findings,
    /// Why the absence of findings proves nothing.
    pub(crate) unknown: Option<String>,
    /// What the check could not look at, although what it saw was right.
    pub(crate) note: Option<String>,
    /// Client operations that cannot be judged because no client can have made them.
    pub(crate) error: Option<ClientError>,
}

/// Lines without repetition, at most [`LINES_MAX`].
pub(crate) fn lines(lines: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut lines: Vec<u64> = lines.into_iter().filter(|line| *line > 0).collect();
    tidy(&mut lines);
    lines.truncate(LINES_MAX);
    lines
}

/// Nodes as a list without repetition.
pub(crate) fn nodes(nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    tidy(&mut nodes);
    nodes
}
