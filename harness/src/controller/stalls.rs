//! Who notices that the machine stands still: a thread that sleeps for moments and looks at the clock.
//!
//! It has nothing else to do, so that it wakes late only if this process got no time: the controller's own
//! work does not count. While this process stands still, so does all traffic, which goes through its front
//! doors. For the same reason the controller tells of what kept it for as long from its loop, in which the
//! front doors are served: a write that the disk held up, say.
//!
//! A machine with too much to do is not one that stands still: with twenty busy processes on two
//! cores a sleeper wakes 10 to 25 ms late. The other way round, a stall that is too short to be noticed is
//! less than half of the shortest election timeout that a reference system has by default, and bounds are
//! several of these.

use std::time::Duration;

use usurper_history::Clock;

use crate::naps::Naps;

/// How long it sleeps at a time.
const NAP_NS: u64 = 20_000_000;
/// How late it wakes at least after a stall, or how long a write takes at least.
const STALL_NS: u64 = 200_000_000;

/// A time in which the machine stood still: from the last look before to the first one after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

/// What was noticed.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// In the order of time.
    pub(super) stalls: Vec<Stall>,
    /// No stall that began before is yet to be told.
    pub(super) looked_ns: u64,
}

/// Who notices.
#[derive(Debug)]
pub(super) struct StallWatch {
    /// What the controller has told.
    held_up: Vec<Stall>,
    naps: Naps<Noticed>,
}

impl StallWatch {
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(clock: Clock) -> std::io::Result<Self> {
        let noticed = Noticed { looked_ns: clock.now_ns(), ..Noticed::default() };
        let look = move |noticed: &mut Noticed| noticed.look(clock.now_ns());
        let naps = Naps::start("stalls", Duration::from_nanos(NAP_NS), noticed, look)?;
        Ok(Self { held_up: Vec::new(), naps })
    }

    /// The controller did not get to its loop for a time, perhaps a short one.
    pub(super) fn worked(&mut self, from_ns: u64, until_ns: u64) {
        if until_ns.saturating_sub(from_ns) >= STALL_NS {
            self.held_up.push(Stall { from_ns, until_ns });
        }
    }

    /// What was noticed since the last time that somebody asked.
    pub(super) fn take(&mut self) -> Noticed {
        let mut stalls = std::mem::take(&mut self.held_up);
        let looked_ns = self.naps.with(|noticed| {
            stalls.append(&mut noticed.stalls);
            noticed.looked_ns
        });
        stalls.sort_by_key(|stall| stall.from_ns);
        Noticed { stalls, looked_ns }
    }
}

impl Noticed {
    fn look(&mut self, now_ns: u64) {
        let from_ns = std::mem::replace(&mut self.looked_ns, now_ns);
        if now_ns.saturating_sub(from_ns) >= NAP_NS + STALL_NS {
            self.stalls.push(Stall { from_ns, until_ns: now_ns });
        }
    }
}

#[cfg(test)]
mod tests {
    use usurper_history::Clock;

    use super::{Noticed, Stall, StallWatch};

    const MS: u64 = 1_000_000;

    #[test]
    fn a_stall_is_a_long_time_between_two_looks() {
        let mut noticed = Noticed::default();
        // A busy machine is late, too.
        for at in [20, 45, 265, 484] {
            noticed.look(at * MS);
        }
        assert_eq!(noticed.stalls, [Stall { from_ns: 45 * MS, until_ns: 265 * MS }]);
        assert_eq!(noticed.looked_ns, 484 * MS);
    }

    #[test]
    fn what_the_disk_holds_up_is_a_stall_too() {
        let mut watch = StallWatch::start(Clock::start()).unwrap();
        watch.worked(1_000 * MS, 1_199 * MS);
        watch.worked(2_000 * MS, 2_200 * MS);
        let told = Stall { from_ns: 2_000 * MS, until_ns: 2_200 * MS };
        assert!(watch.take().stalls.contains(&told));
        assert!(!watch.take().stalls.contains(&told), "it is told once");
    }

    #[test]
    fn the_watch_looks_again_and_again_and_ends() {
        let clock = Clock::start();
        let mut watch = StallWatch::start(clock).unwrap();
        let begun_ns = clock.now_ns();
        let mut looks = 0;
        let mut looked_ns = 0;
        while looks < 3 {
            let noticed = watch.take();
            looks += u32::from(noticed.looked_ns > looked_ns);
            looked_ns = noticed.looked_ns;
            assert!(looked_ns <= clock.now_ns());
            assert!(clock.now_ns() - begun_ns < 30_000 * MS, "it does not look");
            std::thread::yield_now();
        }
    }
}
