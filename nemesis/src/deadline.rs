//! The end of a wait, in time during which this machine ran.
//!
//! When a machine stands still for a second (a virtual machine that is not scheduled, a disk that takes its
//! time), the clock goes on and nobody acts. Nodes that go on find their timers run out and begin an
//! election, just when a wait that counted the second would be over: the run would stop in the middle of
//! that, and show nothing.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

/// How often a wait looks at the clock: a delay beyond that is one of the machine.
const LOOK_NS: u64 = 50_000_000;
/// A delay from which on the machine is taken to have stood still, rather than to be busy.
const STALL_NS: u64 = 100_000_000;
/// What is left at least after that, for the nodes to notice and to say so.
const GRACE_NS: u64 = 500_000_000;
/// So much longer at most, whatever the machine does.
const MORE_MAX_NS: u64 = 30_000_000_000;

/// Awaits something for so long at most; none if that was too short.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    let start = Instant::now();
    let since = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut work = pin!(work);
    let mut deadline = Deadline::new(0, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    loop {
        let wait = Duration::from_nanos(deadline.wait_ns(since(), None));
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = sleep(wait) => {}
        }
        if deadline.is_over(since()) {
            return None;
        }
    }
}

/// When a wait is over.
#[derive(Debug)]
pub struct Deadline {
    end_ns: u64,
    latest_ns: u64,
    /// When the next look is due.
    wake_ns: u64,
}

impl Deadline {
    /// The end of a wait of so long that begins now; both in nanoseconds, by any clock.
    pub fn new(now_ns: u64, time_ns: u64) -> Self {
        let end_ns = now_ns.saturating_add(time_ns);
        Self { end_ns, latest_ns: end_ns.saturating_add(MORE_MAX_NS), wake_ns: u64::MAX }
    }

    /// Takes note of the time after a wait and what was done then, and says whether the time is over.
    pub fn is_over(&mut self, now_ns: u64) -> bool {
        let late_ns = now_ns.saturating_sub(self.wake_ns);
        if late_ns >= STALL_NS {
            let end_ns = self.end_ns.saturating_add(late_ns);
            self.end_ns = end_ns.max(now_ns.saturating_add(GRACE_NS)).min(self.latest_ns);
        }
        // Nobody waits before this is asked again.
        self.wake_ns = u64::MAX;
        now_ns >= self.end_ns
    }

    /// It ends so much later: what is waited for may need it.
    pub fn prolong(&mut self, more_ns: u64) {
        self.end_ns = self.end_ns.saturating_add(more_ns).min(self.latest_ns);
    }

    /// How long to wait for what is due then, if anything is, in nanoseconds.
    pub fn wait_ns(&mut self, now_ns: u64, due_ns: Option<u64>) -> u64 {
        let wake_ns = due_ns.unwrap_or(u64::MAX).min(self.end_ns).min(now_ns + LOOK_NS);
        self.wake_ns = wake_ns.max(now_ns);
        self.wake_ns - now_ns
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Deadline, within};

    const MS: u64 = 1_000_000;

    /// When a wait of a second ends, of which the look that is due then is so late.
    fn ends_ms(late_ms: impl Fn(u64) -> u64) -> u64 {
        let mut deadline = Deadline::new(0, 1_000 * MS);
        let mut now = 0;
        while !deadline.is_over(now) {
            now += deadline.wait_ns(now, None);
            now += late_ms(now / MS) * MS;
            assert!(now < 60_000 * MS, "it never ends");
        }
        now / MS
    }

    #[test]
    fn a_machine_that_runs_waits_as_long_as_was_asked() {
        assert_eq!(ends_ms(|_| 0), 1_000);
        // Busy is not still: a delay of some milliseconds counts.
        assert!(ends_ms(|_| 20) < 1_100);
        let mut deadline = Deadline::new(0, 1_000 * MS);
        assert_eq!(deadline.wait_ns(0, Some(7 * MS)), 7 * MS, "something is due before");
    }

    #[test]
    fn a_machine_that_stood_still_waits_longer_by_that_and_then_for_a_moment_at_least() {
        let once = |at: u64| move |due: u64| if due == at { 1_500 } else { 0 };
        assert_eq!(ends_ms(once(200)), 2_500);
        // Whoever wakes after the end has seen nothing of what the others do then.
        assert_eq!(ends_ms(once(1_000)), 1_000 + 1_500 + 500);
        // It ends on any machine.
        assert!((31_000..32_000).contains(&ends_ms(|_| 400)));
    }

    #[test]
    fn what_takes_long_after_the_wait_is_no_time_for_anybody_either() {
        let mut deadline = Deadline::new(0, 1_000 * MS);
        assert!(!deadline.is_over(0));
        assert_eq!(deadline.wait_ns(0, None), 50 * MS);
        // Woken early by a message, of which the handling took until now.
        assert!(!deadline.is_over(2_000 * MS));
        assert!(deadline.is_over(2_950 * MS));
    }

    /// Keeps the only thread from running for so long.
    fn stand_still(time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left.max(Duration::from_millis(1)));
        }
    }

    #[tokio::test]
    async fn what_the_machine_stood_still_for_is_not_waited() {
        let time = Duration::from_millis(200);
        let slow = async {
            sleep(Duration::from_millis(10)).await;
            stand_still(Duration::from_millis(500));
            // Whoever was to wake in the meantime has not run yet.
            sleep(Duration::from_millis(50)).await;
            "done"
        };
        assert_eq!(within(time, slow).await, Some("done"));
        assert_eq!(within(time, std::future::pending::<()>()).await, None);
        assert_eq!(within(Duration::ZERO, async { "at once" }).await, Some("at once"));
    }
}
