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
    use super::Rate;

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
    fn a_rate_is_said_with_its_interval() {
        assert_eq!(Rate { hits: 18, runs: 20 }.to_string(), "18 of 20 (95 %: 70–97 %)");
        assert_eq!(Rate { hits: 5, runs: 5 }.to_string(), "5 of 5 (95 %: 57–100 %)");
        assert_eq!(Rate::default().to_string(), "0 of 0 (95 %: 0–100 %)");
    }
}
