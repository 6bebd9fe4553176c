//! Bringing the clocks of several hosts together, from what each logged of the others.
//!
//! A cause on one host and its effect on another (a vote was asked for, and was given) bound how far
//! their clocks can be apart: corrected by the offsets that are sought, the effect is not before the
//! cause. Such bounds are a system of difference constraints; its shortest paths say for each pair
//! how far the clocks can be apart in either direction (Cormen et al., section 24.4; the idea for
//! clocks is Marzullo's, as in NTP: what remains between the bounds is the uncertainty).
//!
//! A clock is taken as it is unless it is proven wrong, and then corrected as little as possible.
//! One offset per host is assumed: a clock that was set while the logs were written shows as bounds
//! that contradict each other.

/// An effect on one host of a cause on another, as their own clocks have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) from: usize,
    /// The earliest time of the cause.
    pub(super) cause: u64,
    pub(super) to: usize,
    /// The latest time of the effect.
    pub(super) effect: u64,
}

/// What the pairs say about the clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    /// What is to be added to each host's times.
    pub(super) offsets: Vec<i64>,
    /// The shortest paths: how much the offset of the second can exceed that of the first.
    apart: Vec<Vec<Option<i64>>>,
    /// No offsets satisfy all pairs.
    pub(super) contradictory: bool,
}

impl Clocks {
    pub(super) fn align(hosts: usize, pairs: &[Pair]) -> Self {
        let mut apart = vec![vec![None; hosts]; hosts];
        for (host, row) in apart.iter_mut().enumerate() {
            row[host] = Some(0);
        }
        for pair in pairs {
            // cause + offset(from) <= effect + offset(to)
            let slack = signed(pair.effect).saturating_sub(signed(pair.cause));
            shorten(&mut apart[pair.to][pair.from], slack);
        }
        for middle in 0..hosts {
            for from in 0..hosts {
                for to in 0..hosts {
                    if let (Some(one), Some(other)) = (apart[from][middle], apart[middle][to]) {
                        shorten(&mut apart[from][to], one.saturating_add(other));
                    }
                }
            }
        }
        let contradictory = (0..hosts).any(|host| apart[host][host] < Some(0));
        let mut offsets = vec![0_i64; hosts];
        for host in (0..hosts).filter(|_| !contradictory) {
            let (mut least, mut most) = (i64::MIN, i64::MAX);
            for fixed in 0..host {
                if let Some(bound) = apart[host][fixed] {
                    least = least.max(offsets[fixed].saturating_sub(bound));
                }
                if let Some(bound) = apart[fixed][host] {
                    most = most.min(offsets[fixed].saturating_add(bound));
                }
            }
            offsets[host] = if host == 0 { 0 } else { 0.min(most).max(least) };
        }
        Self { offsets, apart, contradictory }
    }

    /// By how much the order of two hosts' times can be wrong; none if there is no bound.
    pub(super) fn uncertainty(&self, one: usize, other: usize) -> Option<u64> {
        if self.contradictory {
            return None;
        }
        let width = self.apart[one][other]?.saturating_add(self.apart[other][one]?);
        Some(width.unsigned_abs())
    }

    /// The worst uncertainty of any pair; none if some pair has no bound.
    pub(super) fn worst(&self) -> Option<u64> {
        let hosts = 0..self.offsets.len();
        let pairs = hosts.clone().flat_map(|one| (0..one).map(move |other| (one, other)));
        pairs
            .map(|(one, other)| self.uncertainty(one, other))
            .try_fold(0, |worst, it| Some(it?.max(worst)))
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

fn shorten(bound: &mut Option<i64>, other: i64) {
    if bound.is_none_or(|bound| other < bound) {
        *bound = Some(other);
    }
}

#[cfg(test)]
mod tests {
    use super::{Clocks, Pair};

    fn pair(from: usize, cause: u64, to: usize, effect: u64) -> Pair {
        Pair { from, cause, to, effect }
    }

    #[test]
    fn clocks_that_can_be_right_are_left_alone() {
        let clocks = Clocks::align(2, &[pair(0, 100, 1, 130), pair(1, 131, 0, 150)]);
        assert_eq!(clocks.offsets, [0, 0]);
        assert_eq!(clocks.uncertainty(0, 1), Some(49));
        assert_eq!(clocks.worst(), Some(49));
    }

    #[test]
    fn a_clock_that_is_proven_wrong_is_corrected_as_little_as_possible() {
        // The second is behind by 1000: it answers "before" it was asked.
        let clocks = Clocks::align(2, &[pair(0, 2_000, 1, 1_010), pair(1, 1_020, 0, 2_040)]);
        assert_eq!(clocks.offsets, [0, 990]);
        assert_eq!(clocks.uncertainty(0, 1), Some(30));
    }

    #[test]
    fn bounds_go_through_a_third_host() {
        let pairs = [
            pair(0, 100, 1, 110),
            pair(1, 110, 0, 120),
            pair(1, 5_110, 2, 120),
            pair(2, 125, 1, 5_130),
        ];
        let clocks = Clocks::align(3, &pairs);
        assert_eq!(clocks.offsets, [0, 0, 4_990]);
        assert_eq!(clocks.uncertainty(0, 2), Some(20 + 15));
    }

    #[test]
    fn without_pairs_there_is_no_bound_and_with_wrong_ones_no_offset() {
        assert_eq!(Clocks::align(2, &[pair(0, 100, 1, 110)]).worst(), None);
        let set = Clocks::align(2, &[pair(0, 100, 1, 50), pair(1, 100, 0, 50)]);
        assert!(set.contradictory);
        assert_eq!((set.offsets.clone(), set.worst()), (vec![0, 0], None));
    }
}
