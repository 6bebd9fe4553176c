//! Time that counts: none does while the machine stood still.
//!
//! A virtual machine that is not scheduled, or a disk that stops all who write, lets the clock go on while
//! nobody can act. Whatever measures a time against a bound asks here how much of it counts: not that in a
//! `stall` of the history, nor a **grace** after it. For a stall as long as an election timeout makes the
//! timers of all nodes run out at once: votes are split, and it takes another timeout until somebody wins.
//! After a shorter one most timers still run. So the grace is twice as long as the stall, and no longer
//! than three election timeouts, which is what a cluster has after any fault.
//!
//! The rest is proportional to the stall, so that none hides a failure for good: one that lasts for its
//! bound, the stall and the grace is found. What no bound is asked about, two leaders of one term, say, is
//! judged as ever.

use crate::verdict::StallFigures;

/// How many times its own length a stall is followed by a grace.
const GRACE_PER_STALL: u64 = 2;
/// How many election timeouts a grace lasts at most.
const GRACE_TIMEOUTS_MAX: u64 = 3;

/// How long nothing counts after the machine stood still for so long.
pub fn stall_grace_ns(stood_ns: u64, election_timeout_ns: u64) -> u64 {
    let most_ns = election_timeout_ns.saturating_mul(GRACE_TIMEOUTS_MAX);
    stood_ns.saturating_mul(GRACE_PER_STALL).min(most_ns)
}

/// The stalls that a history has told of so far, each as soon as it begins.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    election_timeout_ns: u64,
    /// Apart from each other, in the order of time.
    rests: Vec<Rest>,
    figures: StallFigures,
    /// The latest stall, with those that overlap it.
    from_ns: u64,
    until_ns: u64,
}

/// A time that does not count.
#[derive(Clone, Copy, Debug)]
struct Rest {
    from_ns: u64,
    to_ns: u64,
    /// How long those before it were.
    before_ns: u64,
}

impl Stalls {
    pub(crate) fn new(election_timeout_ns: u64) -> Self {
        Self { election_timeout_ns, ..Self::default() }
    }

    /// The machine stood still, as told in the order of time; stalls may overlap.
    pub(crate) fn note(&mut self, from_ns: u64, until_ns: u64) {
        let until_ns = until_ns.max(from_ns);
        if self.figures.count == 0 || from_ns > self.until_ns {
            self.figures.count += 1;
            (self.from_ns, self.until_ns) = (from_ns, from_ns);
        }
        self.figures.total_ns += until_ns.saturating_sub(self.until_ns);
        self.until_ns = self.until_ns.max(until_ns);
        let stood_ns = self.until_ns - self.from_ns;
        self.figures.longest_ns = self.figures.longest_ns.max(stood_ns);
        let grace_ns = stall_grace_ns(stood_ns, self.election_timeout_ns);
        let to_ns = self.until_ns.saturating_add(grace_ns);
        match self.rests.last_mut() {
            Some(last) if from_ns <= last.to_ns => last.to_ns = last.to_ns.max(to_ns),
            last => {
                let before_ns = last.map_or(0, |it| it.before_ns + (it.to_ns - it.from_ns));
                self.rests.push(Rest { from_ns, to_ns, before_ns });
            }
        }
    }

    /// How much counts of the time from one instant to another.
    pub(crate) fn lasted(&self, from_ns: u64, to_ns: u64) -> u64 {
        self.counted(to_ns).saturating_sub(self.counted(from_ns))
    }

    /// Whether an instant is in a stall or in the grace after it.
    pub(crate) fn is_resting(&self, at_ns: u64) -> bool {
        self.latest(at_ns).is_some_and(|rest| at_ns < rest.to_ns)
    }

    /// What there is to say at the end of a history; nothing where the machine always ran.
    pub(crate) fn figures(&self, end_ns: u64) -> Option<StallFigures> {
        let uncounted_ns = end_ns - self.counted(end_ns);
        (self.figures.count > 0).then_some(StallFigures {
            uncounted_ns,
            of_ns: end_ns,
            ..self.figures
        })
    }

    /// How much counts of the time up to an instant.
    fn counted(&self, at_ns: u64) -> u64 {
        let rested = |rest: Rest| rest.before_ns + (at_ns.min(rest.to_ns) - rest.from_ns);
        at_ns - self.latest(at_ns).map_or(0, rested)
    }

    /// The last one that has begun by an instant.
    fn latest(&self, at_ns: u64) -> Option<Rest> {
        let begun = self.rests.partition_point(|rest| rest.from_ns <= at_ns);
        begun.checked_sub(1).map(|place| self.rests[place])
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::{Stalls, stall_grace_ns};

    #[test]
    fn a_grace_is_in_proportion_and_has_an_end() {
        assert_eq!(stall_grace_ns(200, 500), 400);
        assert_eq!(stall_grace_ns(750, 500), 1_500);
        assert_eq!(stall_grace_ns(u64::MAX, 500), 1_500);
        // Where no timeout is known.
        assert_eq!(stall_grace_ns(200, 0), 0);
    }

    #[test]
    fn what_counts_is_what_is_outside_of_stalls_and_graces() {
        let mut stalls = Stalls::new(100);
        assert_eq!((stalls.lasted(0, 5_000), stalls.figures(5_000)), (5_000, None));
        stalls.note(1_000, 2_000);
        // 1000 to 2300 does not count.
        assert_eq!(stalls.lasted(0, 5_000), 3_700);
        assert_eq!(stalls.lasted(500, 1_500), 500);
        assert_eq!(stalls.lasted(1_100, 2_300), 0);
        assert_eq!(stalls.lasted(2_200, 2_400), 100);
        assert_eq!(stalls.lasted(2_300, 2_400), 100);
        assert_eq!(stalls.lasted(4_000, 3_000), 0, "it is yet to begin");
        let resting = [999, 1_000, 2_299, 2_300].map(|at| stalls.is_resting(at));
        assert_eq!(resting, [false, true, true, false]);
        // Within the grace of the first, which ends later.
        stalls.note(2_100, 2_110);
        assert_eq!(stalls.lasted(0, 5_000), 3_700);
        // One that goes on from there, of which two tell.
        stalls.note(2_200, 2_400);
        stalls.note(2_300, 2_500);
        assert_eq!(stalls.lasted(0, 5_000), 3_200);
        let figures = stalls.figures(2_600).unwrap();
        assert_eq!((figures.count, figures.total_ns, figures.longest_ns), (3, 1_310, 1_000));
        assert_eq!(figures.uncounted_ns, 1_600, "not beyond the end of the history");
    }

    #[test]
    fn one_that_ends_before_it_begins_or_never_is_no_reason_to_fail() {
        let mut stalls = Stalls::new(u64::MAX);
        stalls.note(1_000, 0);
        assert_eq!(stalls.lasted(0, 5_000), 5_000);
        stalls.note(2_000, u64::MAX);
        assert_eq!(stalls.lasted(0, u64::MAX), 2_000);
        stalls.note(u64::MAX, u64::MAX);
        assert_eq!(stalls.figures(u64::MAX).unwrap().count, 2);
    }

    proptest! {
        #[test]
        fn the_sum_agrees_with_looking_at_every_instant(
            stalls in proptest::collection::vec((1_u64..30, 0_u64..12), 0..8),
            timeout in 0_u64..6,
            (from, to) in (0_u64..260, 0_u64..260),
        ) {
            let mut told = Stalls::new(timeout);
            let mut rests = Vec::new();
            for (gap, stood) in stalls {
                // None overlaps the one before: they would be one.
                let at = rests.last().map_or(0, |it: &(u64, Range<u64>)| it.0) + gap;
                told.note(at, at + stood);
                rests.push((at + stood, at..at + stood + stall_grace_ns(stood, timeout)));
            }
            let resting = |at: &u64| rests.iter().any(|(_, rest)| rest.contains(at));
            let counts = (from..to).filter(|at| !resting(at)).count() as u64;
            prop_assert_eq!(told.lasted(from, to), counts);
            prop_assert_eq!(told.is_resting(from), resting(&from));
        }
    }
}
