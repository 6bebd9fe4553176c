//! How many runs go side by side: as many as leave a good part of the machine idle, because a busy one
//! makes nodes late.

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::side_by_side::default_jobs;

/// How many runs go on a core as long as nothing is known of them: they mostly wait.
const FIRST_PER_CORE: usize = 16;
/// Not more than this, however little they do: each has processes and sockets of its own.
const MOST: usize = 128;
/// How much of the machine is to be busy, in percent.
const BUSY_PERCENT: u64 = 40;
/// Less than this of runs says nothing of what they cost.
const KNOWN_NS: u64 = 5_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Somebody has said how many.
    fixed: bool,
    jobs: usize,
    cores: usize,
}

impl Pace {
    pub(crate) fn new(asked: Option<usize>) -> Self {
        let jobs = asked.unwrap_or_else(|| default_jobs(FIRST_PER_CORE));
        Self { fixed: asked.is_some(), jobs, cores: default_jobs(1) }
    }

    pub(crate) fn jobs(self) -> usize {
        self.jobs
    }

    /// Takes note of some runs: how long all of them took, and how long a core was busy with them, in
    /// nanoseconds.
    pub(crate) fn learn(&mut self, cpu_ns: u64, run_ns: u64) {
        if self.fixed || run_ns < KNOWN_NS {
            return;
        }
        let first = self.cores * FIRST_PER_CORE;
        let most = u64::try_from(self.cores).unwrap_or(u64::MAX).saturating_mul(run_ns / 100);
        let most = most.saturating_mul(BUSY_PERCENT) / cpu_ns.max(1);
        self.jobs = usize::try_from(most).unwrap_or(usize::MAX).min(MOST).max(first);
    }
}

/// How long cores have been busy with this process and with those of its children that have ended, in
/// nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    let of = |who| {
        let usage = getrusage(who).ok()?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        u64::try_from(micros).ok()?.checked_mul(1_000)
    };
    let both = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(of);
    both.into_iter().flatten().sum()
}

#[cfg(test)]
mod tests {
    use super::{Pace, cpu_ns};

    const S: u64 = 1_000_000_000;

    #[test]
    fn as_many_go_side_by_side_as_leave_most_of_the_machine_idle() {
        let learned = |cpu_ns, run_ns| {
            let mut pace = Pace { fixed: false, jobs: 32, cores: 2 };
            pace.learn(cpu_ns, run_ns);
            pace.jobs()
        };
        // Each is busy for a hundredth of its time: 80 keep 0.8 of 2 cores busy.
        assert_eq!(learned(S, 100 * S), 80);
        // What hardly works is bounded by its processes, and what works much by nothing but patience.
        assert_eq!(learned(S, 1_000 * S), 128);
        assert_eq!(learned(50 * S, 100 * S), 32);
        assert_eq!(learned(S / 100, S), 32, "too short to tell");
    }

    #[test]
    fn whoever_says_how_many_has_so_many() {
        let mut pace = Pace::new(Some(3));
        pace.learn(S, 1_000 * S);
        assert_eq!(pace.jobs(), 3);
    }

    #[test]
    fn work_takes_time() {
        let before = cpu_ns();
        while cpu_ns() <= before {
            std::hint::black_box((0..100_000_u64).fold(0, |sum, n| sum ^ n));
        }
    }
}
