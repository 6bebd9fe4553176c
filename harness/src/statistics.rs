//! How sure a count of failures makes us. Pure.

use std::fmt;

/// The 97.5 % quantile of the normal distribution: 2.5 % are left on either side.
const Z_95: f64 = 1.959_963_984_540_054;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) hits: u32,
    pub(crate) runs: u32,
}

/// Both ends as shares, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Rate {
    /// Where the true rate lies with 95 % confidence: Wilson's score interval (E. B. Wilson,
    /// "Probable inference, the law of succession, and statistical inference", 1927). It stays
    /// within 0 and 1 and is honest for few runs and for rates at either end. Of no runs, anything.
    pub(crate) fn interval_95(self) -> Interval {
        if self.runs == 0 {
            return Interval { low: 0.0, high: 1.0 };
        }
        let n = f64::from(self.runs);
        let share = f64::from(self.hits) / n;
        let z2 = Z_95 * Z_95;
        let centre = share + z2 / (2.0 * n);
        let spread = Z_95 * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        let low = if self.hits == 0 { 0.0 } else { (centre - spread) / scale };
        let high = if self.hits == self.runs { 1.0 } else { (centre + spread) / scale };
        Interval { low: low.max(0.0), high: high.min(1.0) }
    }
}

impl Rate {
    /// What the true rate is at most, with 95 % confidence, where it was never hit: the exact form of
    /// the rule of three (J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all
    /// right?", 1983).
    pub(crate) fn at_most_if_none(runs: u32) -> f64 {
        if runs == 0 { 1.0 } else { 1.0 - 0.05_f64.powf(1.0 / f64::from(runs)) }
    }

    /// How many runs without a hit show with 95 % confidence that the true rate is at most this.
    pub(crate) fn runs_to_show(at_most: f64) -> u32 {
        if at_most <= 0.0 {
            return u32::MAX;
        }
        if at_most >= 1.0 {
            return 1;
        }
        let runs = (0.05_f64.ln() / (1.0 - at_most).ln()).ceil().min(1e9);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1e9")]
        let runs = runs as u32;
        runs
    }
}

/// How likely it is that `less` is hit as rarely as it was, or more rarely, although both rates are
/// the same: Fisher's exact test, one-sided (R. A. Fisher, "The design of experiments", 1935).
pub(crate) fn fisher_less(less: Rate, more: Rate) -> f64 {
    let hits = less.hits + more.hits;
    let choose = |n: u32, k: u32| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
    let all = choose(less.runs + more.runs, hits);
    let at_least = hits.saturating_sub(more.runs);
    let ways = |k: u32| choose(less.runs, k) + choose(more.runs, hits - k) - all;
    let tail: f64 = (at_least..=less.hits).map(|k| ways(k).exp()).sum();
    tail.min(1.0)
}

/// The natural logarithm of n!.
fn log_factorial(n: u32) -> f64 {
    (2..=n).map(|k| f64::from(k).ln()).sum()
}

/// How likely it is that two samples are as far apart as they are, or farther, although they are of
/// one distribution: the rank-sum test, two-sided, by its normal approximation with ties (H. B. Mann
/// and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than
/// the other", 1947). Of fewer than eight on a side, nothing can be said: 1.
pub(crate) fn rank_sum(one: &[u64], other: &[u64]) -> f64 {
    const FEWEST: usize = 8;
    if one.len().min(other.len()) < FEWEST {
        return 1.0;
    }
    let tagged = one.iter().map(|value| (*value, true));
    let mut all: Vec<_> = tagged.chain(other.iter().map(|value| (*value, false))).collect();
    all.sort_unstable();
    let (mut rank_of_one, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let count = as_f64(equal.len());
        let rank = before + f64::midpoint(count, 1.0);
        rank_of_one += rank * as_f64(equal.iter().filter(|(_, of_one)| *of_one).count());
        ties += count * count * count - count;
        before += count;
    }
    let (n1, n2) = (as_f64(one.len()), as_f64(other.len()));
    let n = n1 + n2;
    let u = rank_of_one - n1 * (n1 + 1.0) / 2.0;
    let variance = n1 * n2 / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    // Half a rank nearer to the mean: the ranks are whole.
    let distance = ((u - n1 * n2 / 2.0).abs() - 0.5).max(0.0);
    two_sided(distance / variance.sqrt())
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// The probability that a normal variable is at least so many deviations from its mean: the formula
/// 7.1.26 of Abramowitz and Stegun, "Handbook of mathematical functions", good to 1.5e-7.
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    polynomial * (-x * x).exp()
}

/// `18 of 20 (95 %: 70–97 %)`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { low, high } = self.interval_95();
        let (low, high) = (low * 100.0, high * 100.0);
        write!(f, "{} of {} (95 %: {low:.0}–{high:.0} %)", self.hits, self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, fisher_less, rank_sum, two_sided};

    /// The interval in hundredths of a percent.
    #[track_caller]
    fn interval(hits: u32, runs: u32, low: f64, high: f64) {
        let found = Rate { hits, runs }.interval_95();
        let near = |one: f64, other: f64| (one - other).abs() < 0.000_06;
        assert!(near(found.low, low) && near(found.high, high), "{hits} of {runs}: {found:?}");
    }

    #[test]
    fn the_interval_is_the_one_in_the_books() {
        // R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I,
        // method 3.
        interval(81, 263, 0.2553, 0.3662);
        interval(15, 148, 0.0624, 0.1605);
        interval(0, 20, 0.0, 0.1611);
        interval(1, 29, 0.0061, 0.1718);
    }

    #[test]
    fn the_interval_is_symmetric_and_narrows_with_more_runs() {
        for runs in 1..60 {
            for hits in 0..=runs {
                let one = Rate { hits, runs }.interval_95();
                let other = Rate { hits: runs - hits, runs }.interval_95();
                assert!((one.low - (1.0 - other.high)).abs() < 1e-12);
                assert!(0.0 <= one.low && one.low < one.high && one.high <= 1.0);
                let more = Rate { hits: 2 * hits, runs: 2 * runs }.interval_95();
                assert!(more.high - more.low < one.high - one.low);
            }
        }
    }

    #[test]
    fn the_exact_test_is_the_one_of_the_lady_who_tasted_tea() {
        let rate = |hits, runs| Rate { hits, runs };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found}");
        // All four right: one of the 70 ways to choose; three: 16 more.
        near(fisher_less(rate(0, 4), rate(4, 4)), 1.0 / 70.0);
        near(fisher_less(rate(1, 4), rate(3, 4)), 17.0 / 70.0);
        near(fisher_less(rate(4, 4), rate(0, 4)), 1.0);
        near(fisher_less(rate(0, 0), rate(3, 9)), 1.0);
        // By SciPy: fisher_exact([[2, 28], [9, 21]], alternative="less").
        near(fisher_less(rate(2, 30), rate(9, 30)), 0.020_950_059_454_209_365);
        // Exhaustively: the two tails and what they share make one.
        for (hits, others) in (0..=6).flat_map(|a| (0..=5).map(move |b| (a, b))) {
            let low = fisher_less(rate(hits, 6), rate(others, 5));
            let high = fisher_less(rate(6 - hits, 6), rate(5 - others, 5));
            let above = match hits {
                0 => 0.0,
                _ if others == 5 => 0.0,
                _ => fisher_less(rate(hits - 1, 6), rate(others + 1, 5)),
            };
            if hits > 0 && others < 5 {
                near(above + high, 1.0);
            }
            assert!(low + high >= 1.0 - 1e-9);
        }
    }

    #[test]
    fn nothing_seen_is_not_nothing() {
        assert!((Rate::at_most_if_none(50) - 0.058_155).abs() < 1e-5);
        assert!((Rate::at_most_if_none(0) - 1.0).abs() < 1e-12);
        for runs in 1..400 {
            let shown = Rate::at_most_if_none(runs);
            assert!(Rate::runs_to_show(shown + 1e-9) <= runs);
            assert!(Rate::runs_to_show(shown - 1e-9) > runs);
        }
        assert_eq!((Rate::runs_to_show(1.0), Rate::runs_to_show(0.0)), (1, u32::MAX));
    }

    #[test]
    fn the_rank_sum_tells_samples_apart() {
        assert!((two_sided(1.959_964) - 0.05).abs() < 1e-6);
        assert!((two_sided(0.0) - 1.0).abs() < 1e-6);
        let low: Vec<u64> = (0..20).collect();
        let high: Vec<u64> = (15..35).collect();
        // By SciPy: mannwhitneyu(range(20), range(15, 35), method="asymptotic").
        assert!((rank_sum(&low, &high) - 4.202e-7).abs() < 2e-7, "{}", rank_sum(&low, &high));
        assert!((rank_sum(&low, &high) - rank_sum(&high, &low)).abs() < 1e-12);
        assert!(rank_sum(&low, &low) > 0.98);
        assert!((rank_sum(&[7; 20], &[7; 20]) - 1.0).abs() < 1e-12, "all are equal");
        assert!((rank_sum(&low[..7], &high) - 1.0).abs() < 1e-12, "too few");
    }

    #[test]
    fn a_rate_is_said_with_its_interval() {
        assert_eq!(Rate { hits: 18, runs: 20 }.to_string(), "18 of 20 (95 %: 70–97 %)");
        assert_eq!(Rate { hits: 5, runs: 5 }.to_string(), "5 of 5 (95 %: 57–100 %)");
        assert_eq!(Rate::default().to_string(), "0 of 0 (95 %: 0–100 %)");
    }
}
