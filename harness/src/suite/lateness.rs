//! How late this machine wakes those who wait: whether the clusters' timings still mean anything.

use std::{collections::VecDeque, io, time::Duration};

use usurper_history::monotonic_ns;

use crate::naps::Naps;

/// How long it sleeps at a time.
const NAP: Duration = Duration::from_millis(10);
/// Naps are remembered in slices of this length, by the longest delay of each.
const SLICE_NS: u64 = 100_000_000;
/// So many slices are remembered: ten minutes.
const SLICES_MAX: usize = 6_000;

/// A thread that takes naps and notes how late it woke.
#[derive(Debug)]
pub(crate) struct Lateness {
    naps: Naps<Slices>,
}

#[derive(Debug, Default)]
struct Slices {
    looked_ns: u64,
    /// When each slice began, and its longest delay, in nanoseconds.
    slices: VecDeque<(u64, u64)>,
}

impl Lateness {
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn watch() -> io::Result<Self> {
        let seen = Slices { looked_ns: monotonic_ns(), slices: VecDeque::new() };
        let naps = Naps::start("lateness", NAP, seen, |seen| seen.look(monotonic_ns()))?;
        Ok(Self { naps })
    }

    /// The longest delay since then, in nanoseconds.
    pub(crate) fn worst_since(&self, ns: u64) -> u64 {
        self.since(ns).max().unwrap_or_default()
    }

    /// A delay that one slice in two exceeded since then, in nanoseconds: a single long one is a
    /// hiccup, many are a machine with too much to do.
    pub(crate) fn usual_since(&self, ns: u64) -> u64 {
        let mut late: Vec<_> = self.since(ns).collect();
        late.sort_unstable();
        late.get(late.len() / 2).copied().unwrap_or_default()
    }

    fn since(&self, ns: u64) -> impl Iterator<Item = u64> {
        let slices: Vec<_> = self.naps.with(|seen| {
            seen.slices.iter().rev().take_while(|(at, _)| at + SLICE_NS > ns).copied().collect()
        });
        slices.into_iter().map(|(_, late)| late)
    }
}

impl Slices {
    fn look(&mut self, now_ns: u64) {
        let began = std::mem::replace(&mut self.looked_ns, now_ns);
        let nap = u64::try_from(NAP.as_nanos()).unwrap_or(u64::MAX);
        self.note(began, now_ns.saturating_sub(began).saturating_sub(nap));
    }

    fn note(&mut self, at: u64, late: u64) {
        match self.slices.back_mut() {
            Some((began, worst)) if at < *began + SLICE_NS => *worst = (*worst).max(late),
            _ => self.slices.push_back((at, late)),
        }
        if self.slices.len() > SLICES_MAX {
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lateness, SLICE_NS, Slices};

    #[test]
    fn one_hiccup_is_not_the_usual() {
        let mut state = Slices::default();
        for slice in 0..21 {
            state.note(slice * SLICE_NS, if slice == 7 { 900 } else { 10 });
            state.note(slice * SLICE_NS + 1, 5);
        }
        let watch = Lateness::watch().unwrap();
        watch.naps.with(|seen| seen.slices = state.slices);
        assert_eq!((watch.worst_since(0), watch.usual_since(0)), (900, 10));
        assert_eq!(watch.worst_since(8 * SLICE_NS), 10);
    }
}
