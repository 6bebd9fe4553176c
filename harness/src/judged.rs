//! The verdict of a run that is still under way, as far as it is known: a run that is only to fail again
//! is over once it has failed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use usurper_checks::{Judging, Means};
use usurper_history::{Header, Record};

use crate::failure::Failure;

/// How much later than it happened something may be told without being too late. Records come nearly in
/// the order of time; what is judged must be in it.
const LATE_MAX_NS: u64 = 200_000_000;

/// Judges records a little after they were told.
#[derive(Debug)]
pub(crate) struct Judged {
    judging: Judging,
    /// Not yet judged, by time, and then in the order in which they came.
    waiting: BTreeMap<(u64, u64), Record>,
    lines: u64,
    /// Something was told too late, so that from there on nothing can be said.
    lost: bool,
    found: bool,
}

impl Judged {
    /// Begins to judge by some of the checks that a header names.
    ///
    /// # Errors
    /// When the header names a check that there is not.
    pub(crate) fn begin(header: &Header, checks: &BTreeSet<String>) -> Result<Self, Failure> {
        let mut header = header.clone();
        header.checks.retain(|check, _| checks.contains(check));
        let judging = Judging::begin(header, &Means::default());
        let judging = judging.context("cannot judge the run").map_err(Failure::harness)?;
        Ok(Self { judging, waiting: BTreeMap::new(), lines: 1, lost: false, found: false })
    }

    /// Takes in a record that has just been told.
    pub(crate) fn observe(&mut self, record: &Record) {
        if self.lost || self.found {
            return;
        }
        self.lines += 1;
        self.waiting.insert((record.t, self.lines), record.clone());
        let newest_ns = self.waiting.last_key_value().map_or(0, |((t, _), _)| *t);
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0.saturating_add(LATE_MAX_NS) < newest_ns
        {
            let ((_, line), record) = entry.remove_entry();
            if self.judging.observe(line, &record).is_err() {
                self.lost = true;
                return;
            }
        }
        self.found = self.judging.has_found();
    }

    /// Whether one of the checks is known to be invalid.
    pub(crate) fn has_found(&self) -> bool {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use usurper_history::Reader;

    use super::Judged;

    const HEADER: &str = r#"{"usurper-history":1,"run":"a","system":"fle","nodes":["n1","n2","n3"],"seed":1,"origin-ns":0,"started":"2026-01-01T00:00:00Z","timing":{"heartbeat-ns":100000000,"election-timeout-ns":500000000,"leader-bound-ns":5000000000},"events":["leader-elected","role-change"],"checks":{"crash":{},"no-leader":{}}}"#;
    const CRASH: &str = r#"{"t":1000000,"record":"harness","event":"exit","node":"n1","inc":1,"code":101,"expected":false}"#;

    /// Whether it has been found after each of some records.
    fn found(check: &str, lines: &[String]) -> Vec<bool> {
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        let header = reader.header().clone();
        let checks = BTreeSet::from([check.to_owned()]);
        let mut judged =
            Judged::begin(&header, &checks).unwrap_or_else(|f| panic!("{:#}", f.error));
        let found = reader.by_ref().map(|record| {
            judged.observe(&record.unwrap().1);
            judged.has_found()
        });
        found.collect()
    }

    fn phase(ms: u64) -> String {
        format!(r#"{{"t":{},"record":"harness","event":"phase","phase":"run"}}"#, ms * 1_000_000)
    }

    #[test]
    fn it_is_found_once_nothing_earlier_can_be_told() {
        let lines = [phase(50), CRASH.to_owned(), phase(200), phase(202), phase(203)];
        assert_eq!(found("crash", &lines), [false, false, false, true, true]);
        assert_eq!(found("no-leader", &lines), [false; 5], "another check found it");
    }

    #[test]
    fn what_is_told_too_late_ends_the_judgement_without_a_finding() {
        let lines = [phase(50), phase(300), CRASH.to_owned(), phase(600), phase(900)];
        assert_eq!(found("crash", &lines), [false; 5]);
    }
}
