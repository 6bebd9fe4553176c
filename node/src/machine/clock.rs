//! Clocks that can be wrong: the instants that the protocol sees, not those in the history.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use usurper_history::{Clock, control::ClockName};

use crate::protocol::Tick;

/// The rates that a clock can be told to run at, as multiples of real time.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// The two clocks of a node. Both show the run's time until they are bent.
#[derive(Debug)]
pub struct Clocks {
    real: Clock,
    bent: Mutex<[Bent; 2]>,
    /// Told when a clock has changed, since a timer may be due at another time then.
    changed: Notify,
}

/// A straight line from real to shown nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Bent {
    real_ns: u64,
    shown_ns: u64,
    rate: f64,
}

impl Clocks {
    pub(super) fn new(real: Clock) -> Self {
        Self { real, bent: Mutex::new([Bent::TRUE; 2]), changed: Notify::new() }
    }

    /// What a clock shows.
    pub(crate) fn now(&self, clock: ClockName) -> Tick {
        Tick(self.lock()[index(clock)].at(self.real.now_ns()))
    }

    /// How long it really takes until a clock has gone on by this much.
    pub(crate) fn real_time(&self, clock: ClockName, shown: Duration) -> Duration {
        let rate = self.lock()[index(clock)].rate;
        if is_true(rate) { shown } else { shown.div_f64(rate) }
    }

    /// Waits until a clock is bent or restored.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn jump(&self, clock: ClockName, by_ns: i64) {
        self.change(clock, |bent| bent.shown_ns = bent.shown_ns.saturating_add_signed(by_ns));
    }

    pub(super) fn run_at(&self, clock: ClockName, rate: f64) -> Result<(), String> {
        if !RATES.contains(&rate) {
            return Err(format!("a rate of {rate}, expected {} to {}", RATES.start(), RATES.end()));
        }
        self.change(clock, |bent| bent.rate = rate);
        Ok(())
    }

    pub(super) fn restore(&self) {
        self.change(ClockName::Timer, |bent| {
            bent.shown_ns = bent.shown_ns.max(bent.real_ns);
            bent.rate = 1.0;
        });
        self.change(ClockName::Wall, |bent| *bent = Bent::TRUE);
    }

    /// Changes a clock from this instant on.
    fn change(&self, clock: ClockName, change: impl Fn(&mut Bent)) {
        let real_ns = self.real.now_ns();
        let bent = &mut self.lock()[index(clock)];
        (bent.shown_ns, bent.real_ns) = (bent.at(real_ns), real_ns);
        change(bent);
        // The permit stays for a loop that is not waiting just now.
        self.changed.notify_one();
    }

    pub(super) fn describe(&self) -> String {
        let real_ns = self.real.now_ns();
        let bent = *self.lock();
        let parts = [("timer", bent[0]), ("wall", bent[1])].map(|(name, bent)| {
            let shown = bent.at(real_ns);
            let off = Duration::from_nanos(shown.abs_diff(real_ns));
            let sign = if shown < real_ns { "-" } else { "+" };
            format!("{name} clock {sign}{off:?} at rate {}", bent.rate)
        });
        parts.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, [Bent; 2]> {
        // Nothing in here panics halfway through a change.
        self.bent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bent {
    const TRUE: Self = Self { real_ns: 0, shown_ns: 0, rate: 1.0 };

    fn at(&self, real_ns: u64) -> u64 {
        let passed = real_ns.saturating_sub(self.real_ns);
        // Whole numbers where they will do: a run may be longer than a float is exact.
        let shown = if is_true(self.rate) {
            passed
        } else {
            let passed = Duration::from_nanos(passed).mul_f64(self.rate);
            u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
        };
        self.shown_ns.saturating_add(shown)
    }
}

fn is_true(rate: f64) -> bool {
    (rate - 1.0).abs() < f64::EPSILON
}

fn index(clock: ClockName) -> usize {
    match clock {
        ClockName::Timer => 0,
        ClockName::Wall => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use usurper_history::{
        Clock,
        control::ClockName::{Timer, Wall},
    };

    use super::{Bent, Clocks};

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn clocks() -> Clocks {
        // Started an hour ago, so that there is room behind.
        let origin = Clock::start().origin_ns().saturating_sub(HOUR_NS.unsigned_abs());
        Clocks::new(Clock::with_origin(origin))
    }

    #[test]
    fn a_jump_moves_one_clock_and_not_the_other() {
        let clocks = clocks();
        let before = clocks.now(Timer);
        clocks.jump(Timer, HOUR_NS);
        assert!(clocks.now(Timer).since(before) >= Duration::from_secs(3600));
        assert!(clocks.now(Wall).since(before) < Duration::from_secs(3600));
        clocks.jump(Wall, -HOUR_NS / 2);
        assert!(clocks.now(Wall) < before);
    }

    #[test]
    fn a_rate_counts_from_when_it_was_set() {
        let bent = Bent { real_ns: 100, shown_ns: 50, rate: 2.0 };
        assert_eq!(bent.at(110), 70);
        let clocks = clocks();
        let before = clocks.now(Timer);
        clocks.run_at(Timer, 0.5).unwrap();
        assert!(clocks.now(Timer).since(before) < Duration::from_secs(60), "it jumped");
        assert_eq!(clocks.real_time(Timer, Duration::from_secs(1)), Duration::from_secs(2));
    }

    #[test]
    fn a_rate_at_which_nothing_works_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(clocks().run_at(Timer, rate).is_err(), "{rate}");
        }
    }

    #[test]
    fn a_restored_timer_clock_never_goes_back_and_a_wall_clock_is_set_right() {
        let clocks = clocks();
        for clock in [Timer, Wall] {
            clocks.jump(clock, HOUR_NS);
        }
        let ahead = clocks.now(Timer);
        clocks.restore();
        assert!(clocks.now(Timer) >= ahead);
        assert!(clocks.now(Wall) < ahead);
        // One that is behind catches up.
        clocks.jump(Timer, -2 * HOUR_NS);
        clocks.restore();
        let wall = clocks.now(Wall);
        assert!(clocks.now(Timer) >= wall);
    }
}
