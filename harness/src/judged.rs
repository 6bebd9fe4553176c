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

    /// Takes in a record that has just been told, to be judged by [`Judged::judge_until`].
    pub(crate) fn observe(&mut self, record: &Record) {
        if self.lost || self.found {
            return;
        }
        self.lines += 1;
        self.waiting.insert((record.t, self.lines), record.clone());
    }

    /// Judges what is known by now. No stall of the machine that began before `looked_ns` is yet to be told:
    /// a time is held against a bound once it is known how much of it counts.
    pub(crate) fn judge_until(&mut self, looked_ns: u64) {
        if self.lost || self.found {
            return;
        }
        let newest_ns = self.waiting.last_key_value().map_or(0, |((t, _), _)| *t);
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0.saturating_add(LATE_MAX_NS) < newest_ns
            && entry.key().0 <= looked_ns
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

    /// A judgement by one check that has taken in some records, after each of which it is looked at.
    fn observed(check: &str, lines: &[String], mut look: impl FnMut(&mut Judged)) -> Judged {
        let text = format!("{HEADER}\n{}\n", lines.join("\n"));
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        let header = reader.header().clone();
        let checks = BTreeSet::from([check.to_owned()]);
        let mut judged =
            Judged::begin(&header, &checks).unwrap_or_else(|f| panic!("{:#}", f.error));
        for record in reader.by_ref() {
            judged.observe(&record.unwrap().1);
            look(&mut judged);
        }
        judged
    }

    /// Whether it has been found after each of some records, where no stall is yet to be told.
    fn found(check: &str, lines: &[String]) -> Vec<bool> {
        let mut found = Vec::new();
        observed(check, lines, |judged| {
            judged.judge_until(u64::MAX);
            found.push(judged.has_found());
        });
        found
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
    fn nothing_is_held_against_a_bound_before_every_stall_is_told() {
        let ready = |node: u8| {
            format!(r#"{{"t":0,"record":"harness","event":"ready","node":"n{node}","inc":1}}"#)
        };
        let stall = r#"{"t":4000000000,"record":"harness","event":"stall","until":5500000000}"#;
        let begun = [ready(1), ready(2), ready(3), phase(5_500), phase(5_600), phase(5_900)];
        let found = |more: &[String], looked_ms: u64| {
            let mut judged = observed("no-leader", &[&begun[..], more].concat(), |_| ());
            judged.judge_until(looked_ms * 1_000_000);
            judged.has_found()
        };
        // Nobody leads, for longer than the bound of 5 s.
        assert!(found(&[], 6_000));
        // The nodes told of it before anybody told of the stall.
        assert!(!found(&[], 4_000));
        // Three seconds do not count.
        let until = |last_ms: u64| [stall.to_owned(), phase(last_ms), phase(last_ms + 201)];
        assert!(!found(&until(8_000), 9_000));
        assert!(found(&until(8_001), 9_000));
    }

    #[test]
    fn what_is_told_too_late_ends_the_judgement_without_a_finding() {
        let lines = [phase(50), phase(300), CRASH.to_owned(), phase(600), phase(900)];
        assert_eq!(found("crash", &lines), [false; 5]);
    }
}
