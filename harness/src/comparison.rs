//! Whether a fix holds: the failures of the same runs before and after it, compared. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use crate::{
    again::Seen,
    statistics::{Rate, fisher_less, rank_sum},
};

/// A difference that chance alone makes less often than this is one.
const SIGNIFICANT: f64 = 0.05;
/// A fix must leave less than this share of the failures, with 95 % confidence.
const LEFT_AT_MOST: f64 = 0.1;

/// The runs of one side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Runs that failed a check that is asked about, of those that were judged.
    pub(crate) rate: Rate,
    /// Runs that failed none of them but could not be judged whole. They count on neither side.
    pub(crate) unknown: u32,
    /// Runs that failed each of the other checks.
    pub(crate) others: BTreeMap<String, u32>,
    pub(crate) failovers_ns: Vec<u64>,
}

impl Side {
    /// Takes in a run. `checks` are those that are asked about; none for all.
    pub(crate) fn add(&mut self, seen: &Seen, checks: &BTreeSet<String>) {
        let (asked, others): (Vec<_>, Vec<_>) = (seen.failed.iter().cloned())
            .partition(|check| checks.is_empty() || checks.contains(check));
        for check in others {
            *self.others.entry(check).or_default() += 1;
        }
        self.failovers_ns.extend(seen.failover_ns);
        if asked.is_empty() && seen.unknown {
            self.unknown += 1;
            return;
        }
        self.rate.runs += 1;
        self.rate.hits += u32::from(!asked.is_empty());
    }

    fn runs(&self) -> u32 {
        self.rate.runs + self.unknown
    }

    fn median_failover_ns(&self) -> Option<u64> {
        let mut sorted = self.failovers_ns.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Both sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) before: Side,
    pub(crate) after: Side,
}

/// What the runs show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Conclusion {
    /// It failed before and did not fail after, often enough to exclude chance.
    Fixed,
    /// It failed after.
    NotFixed,
    /// Neither is shown yet; about so many more runs of each side would do, as far as can be told.
    Inconclusive { more: Option<u32> },
}

/// A check beside those that are asked about, which failed after.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Other {
    pub(crate) check: String,
    pub(crate) before: u32,
    pub(crate) after: u32,
    /// It failed more often than chance explains.
    pub(crate) worse: bool,
}

/// The middle times to a new leader, and whether they differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Failover {
    pub(crate) before_ns: u64,
    pub(crate) after_ns: u64,
    pub(crate) p: f64,
    pub(crate) changed: bool,
}

impl Comparison {
    /// Whether more runs could change nothing.
    ///
    /// Looked at after each pair of runs, a test at 5 % would sooner or later be passed by chance:
    /// each look has an equal part of it (Bonferroni).
    pub(crate) fn conclusion(&self) -> Conclusion {
        let (before, after) = (self.before.rate, self.after.rate);
        if after.hits > 0 {
            return Conclusion::NotFixed;
        }
        if before.hits == 0 {
            return Conclusion::Inconclusive { more: None };
        }
        let share = f64::from(before.hits) / f64::from(before.runs);
        let enough = Rate::at_most_if_none(after.runs) <= share * LEFT_AT_MOST;
        let looks = f64::from(after.runs.max(1));
        if enough && self.p() <= SIGNIFICANT / looks {
            return Conclusion::Fixed;
        }
        let needed = Rate::runs_to_show(share * LEFT_AT_MOST);
        Conclusion::Inconclusive { more: Some(needed.saturating_sub(after.runs).max(1)) }
    }

    /// How likely it is that the failures became as rare as they did by chance.
    pub(crate) fn p(&self) -> f64 {
        fisher_less(self.after.rate, self.before.rate)
    }

    /// The other checks that failed after, by name.
    pub(crate) fn others(&self) -> Vec<Other> {
        let count = f64::from(u32::try_from(self.after.others.len()).unwrap_or(u32::MAX));
        let of = |side: &Side, check: &str| {
            let hits = side.others.get(check).copied().unwrap_or_default();
            Rate { hits, runs: side.runs() }
        };
        let other = |check: &String| {
            let (before, after) = (of(&self.before, check), of(&self.after, check));
            let worse = fisher_less(before, after) <= SIGNIFICANT / count;
            Other { check: check.clone(), before: before.hits, after: after.hits, worse }
        };
        self.after.others.keys().map(other).collect()
    }

    pub(crate) fn failover(&self) -> Option<Failover> {
        let before_ns = self.before.median_failover_ns()?;
        let after_ns = self.after.median_failover_ns()?;
        let p = rank_sum(&self.before.failovers_ns, &self.after.failovers_ns);
        Some(Failover { before_ns, after_ns, p, changed: p <= SIGNIFICANT })
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => write!(f, "fixed"),
            Self::NotFixed => write!(f, "not fixed"),
            Self::Inconclusive { more: Some(more) } => {
                write!(f, "inconclusive: needs about {more} more runs of each side")
            }
            Self::Inconclusive { more: None } => {
                write!(f, "inconclusive: it did not fail before, so not failing shows nothing")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Comparison, Conclusion, Seen};

    fn seen(failed: &[&str], unknown: bool) -> Seen {
        let failed = failed.iter().map(|check| (*check).to_owned()).collect();
        Seen { failed, unknown, failover_ns: None, done: None, kept: None }
    }

    /// So many hits of so many runs on each side.
    fn comparison(before: (u32, u32), after: (u32, u32)) -> Comparison {
        let checks = BTreeSet::from(["a".to_owned()]);
        let mut comparison = Comparison::default();
        let sides = [(&mut comparison.before, before), (&mut comparison.after, after)];
        for (side, (hits, runs)) in sides {
            for run in 0..runs {
                side.add(&seen(if run < hits { &["a"] } else { &[] }, false), &checks);
            }
        }
        comparison
    }

    #[test]
    fn a_fix_is_shown_by_enough_runs_and_refuted_by_one() {
        let of = |before, after| comparison(before, after).conclusion();
        assert_eq!(of((50, 50), (0, 50)), Conclusion::Fixed);
        assert_eq!(of((50, 50), (1, 50)), Conclusion::NotFixed);
        assert_eq!(of((0, 50), (0, 50)), Conclusion::Inconclusive { more: None });
        assert_eq!(of((0, 50), (1, 50)), Conclusion::NotFixed);
        // 0 of 29 shows at most 9.8 %.
        assert_eq!(of((28, 28), (0, 28)), Conclusion::Inconclusive { more: Some(1) });
        assert_eq!(of((29, 29), (0, 29)), Conclusion::Fixed);
        // A failure that is met once in five runs takes longer.
        assert_eq!(of((10, 50), (0, 50)), Conclusion::Inconclusive { more: Some(99) });
        assert_eq!(of((30, 150), (0, 150)), Conclusion::Fixed);
        assert_eq!(of((1, 1), (0, 0)), Conclusion::Inconclusive { more: Some(29) });
    }

    #[test]
    fn runs_that_could_not_be_judged_show_nothing() {
        let checks = BTreeSet::from(["a".to_owned()]);
        let mut comparison = comparison((50, 50), (0, 0));
        for _ in 0..50 {
            comparison.after.add(&seen(&[], true), &checks);
        }
        assert_eq!(comparison.conclusion(), Conclusion::Inconclusive { more: Some(29) });
        comparison.after.add(&seen(&["a"], true), &checks);
        assert_eq!(comparison.conclusion(), Conclusion::NotFixed);
    }

    #[test]
    fn a_fix_that_breaks_something_else_is_told() {
        let checks = BTreeSet::from(["a".to_owned()]);
        let mut comparison = comparison((20, 20), (0, 10));
        for _ in 0..10 {
            comparison.after.add(&seen(&["b"], false), &checks);
        }
        comparison.after.add(&seen(&["c"], false), &checks);
        let told: Vec<_> =
            comparison.others().into_iter().map(|it| (it.check, it.after, it.worse)).collect();
        assert_eq!(told, [("b".to_owned(), 10, true), ("c".to_owned(), 1, false)]);
    }

    #[test]
    fn a_failover_that_got_slower_is_told() {
        let mut comparison = Comparison::default();
        assert_eq!(comparison.failover(), None);
        comparison.before.failovers_ns = (100..120).collect();
        comparison.after.failovers_ns = (100..120).collect();
        assert!(!comparison.failover().unwrap().changed);
        comparison.after.failovers_ns = (140..160).collect();
        let failover = comparison.failover().unwrap();
        assert!(failover.changed && failover.before_ns == 110 && failover.after_ns == 150);
    }
}
