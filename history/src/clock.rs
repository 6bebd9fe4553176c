//! Time, in nanoseconds of the host's monotonic clock, which all processes of one host share.

use nix::time::{ClockId, clock_gettime};

/// Reads the host's monotonic clock, in nanoseconds since an origin that the kernel chose.
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
    let seconds = u64::try_from(time.tv_sec()).expect("monotonic time is not negative");
    let nanos = u64::try_from(time.tv_nsec()).expect("nanoseconds are not negative");
    seconds * 1_000_000_000 + nanos
}

/// A run's clock: nanoseconds since the run's origin.
///
/// The origin is handed to each node process at start, so that one number means one instant in
/// every process of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    origin_ns: u64,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self { origin_ns: monotonic_ns() }
    }

    /// A clock that shares an origin taken elsewhere on this host.
    pub fn with_origin(origin_ns: u64) -> Self {
        Self { origin_ns }
    }

    /// The origin, in nanoseconds of the host's monotonic clock.
    pub fn origin_ns(self) -> u64 {
        self.origin_ns
    }

    /// Nanoseconds since the origin.
    pub fn now_ns(self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns)
    }
}
