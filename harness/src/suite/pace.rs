//! How many runs go side by side: as many as were asked for, fewer while the machine is too late.

use std::{thread, time::Duration};

/// From one change to the next.
const STEP_NS: u64 = 3_000_000_000;
/// How long the machine must have been calm before one more run is tried.
const CALM_NS: u64 = 15_000_000_000;

/// The number of runs side by side.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    most: usize,
    now: usize,
    /// How late the machine may usually be before timings mean nothing, in nanoseconds.
    allowed_ns: u64,
    changed_ns: u64,
    calm_since_ns: u64,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Slower { jobs: usize, late_ns: u64, allowed_ns: u64 },
    Faster { jobs: usize },
}

impl Pace {
    /// At most so many, of clusters whose shortest election timeout is this.
    pub(crate) fn new(most: usize, election_timeout_ns: u64, now_ns: u64) -> Self {
        let most = most.max(1);
        // A timer that comes late by a quarter of the timeout is far from faking an election.
        let allowed_ns = election_timeout_ns / 4;
        Self { most, now: most, allowed_ns, changed_ns: now_ns, calm_since_ns: now_ns }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.now
    }

    /// Takes in how late the machine usually was of late, and says what follows.
    pub(crate) fn look(&mut self, now_ns: u64, late_ns: u64) -> Option<Change> {
        if late_ns * 2 > self.allowed_ns {
            self.calm_since_ns = now_ns;
        }
        if now_ns.saturating_sub(self.changed_ns) < STEP_NS {
            return None;
        }
        if late_ns > self.allowed_ns && self.now > 1 {
            self.now -= 1;
            self.changed_ns = now_ns;
            let (jobs, allowed_ns) = (self.now, self.allowed_ns);
            return Some(Change::Slower { jobs, late_ns, allowed_ns });
        }
        if now_ns.saturating_sub(self.calm_since_ns) >= CALM_NS && self.now < self.most {
            self.now += 1;
            (self.changed_ns, self.calm_since_ns) = (now_ns, now_ns);
            return Some(Change::Faster { jobs: self.now });
        }
        None
    }
}

/// How many clusters of this size and timing this machine can usually keep on time: they mostly
/// wait, and the longer their timeouts are, the more of them can wait side by side.
pub(crate) fn jobs_for(nodes: u8, election_timeout_ns: u64) -> usize {
    const TIMEOUT_PER_JOB: Duration = Duration::from_millis(75);
    const PER_CORE_MAX: u64 = 6;
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let unit = u64::try_from(TIMEOUT_PER_JOB.as_nanos()).unwrap_or(u64::MAX);
    let per_core = (election_timeout_ns / unit).clamp(1, PER_CORE_MAX);
    let of_three = cores * usize::try_from(per_core).unwrap_or(1);
    (of_three * 3 / usize::from(nodes.max(3))).max(1)
}

#[cfg(test)]
mod tests {
    use super::{CALM_NS, Change, Pace, STEP_NS, jobs_for};

    const MS: u64 = 1_000_000;

    #[test]
    fn a_late_machine_gets_fewer_runs_and_a_calm_one_gets_them_back() {
        let mut pace = Pace::new(3, 400 * MS, 0);
        assert_eq!(pace.look(STEP_NS, 99 * MS), None);
        let slower = |jobs| Change::Slower { jobs, late_ns: 101 * MS, allowed_ns: 100 * MS };
        assert_eq!(pace.look(STEP_NS, 101 * MS), Some(slower(2)));
        assert_eq!(pace.look(STEP_NS + 1, 101 * MS), None, "one step at a time");
        assert_eq!(pace.look(2 * STEP_NS, 101 * MS), Some(slower(1)));
        assert_eq!(pace.look(3 * STEP_NS, 101 * MS), None, "one run always goes on");
        let calm = 3 * STEP_NS + CALM_NS;
        assert_eq!(pace.look(calm - 1, 0), None);
        assert_eq!(pace.look(calm, 0), Some(Change::Faster { jobs: 2 }));
        assert_eq!(pace.look(calm + CALM_NS, 0), Some(Change::Faster { jobs: 3 }));
        assert_eq!(pace.look(calm + 2 * CALM_NS, 0), None, "never more than were asked for");
        assert_eq!(pace.jobs(), 3);
    }

    #[test]
    fn slower_clusters_allow_more_of_them_and_larger_ones_fewer() {
        assert!(jobs_for(3, 300 * MS) > jobs_for(3, 75 * MS));
        assert!(jobs_for(9, 300 * MS) < jobs_for(3, 300 * MS));
        assert!(jobs_for(21, MS) >= 1);
    }
}
