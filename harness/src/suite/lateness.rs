//! How late this machine wakes those who wait: whether the clusters' timings still mean anything.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use usurper_history::monotonic_ns;

/// How long it sleeps at a time.
const NAP: Duration = Duration::from_millis(10);
/// Naps are remembered in slices of this length, by the longest delay of each.
const SLICE_NS: u64 = 100_000_000;
/// So many slices are remembered: ten minutes.
const SLICES_MAX: usize = 6_000;

/// A thread that takes naps and notes how late it woke.
#[derive(Debug)]
pub(crate) struct Lateness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stop: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// When each slice began, and its longest delay, in nanoseconds.
    slices: VecDeque<(u64, u64)>,
}

impl Lateness {
    pub(crate) fn watch() -> Self {
        let shared = Arc::new(Shared::default());
        let naps = Arc::clone(&shared);
        let thread = std::thread::spawn(move || naps.nap());
        Self { shared, thread: Some(thread) }
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
        let state = lock(&self.shared.state);
        let slices: Vec<_> =
            state.slices.iter().rev().take_while(|(at, _)| at + SLICE_NS > ns).copied().collect();
        slices.into_iter().map(|(_, late)| late)
    }
}

impl Shared {
    fn nap(&self) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let began = monotonic_ns();
            let woken = self.stop.wait_timeout(state, NAP);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            let slept = monotonic_ns().saturating_sub(began);
            let nap = u64::try_from(NAP.as_nanos()).unwrap_or(u64::MAX);
            state.note(began, slept.saturating_sub(nap));
        }
    }
}

impl State {
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

impl Drop for Lateness {
    fn drop(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Lateness, SLICE_NS, State};

    #[test]
    fn one_hiccup_is_not_the_usual() {
        let mut state = State::default();
        for slice in 0..21 {
            state.note(slice * SLICE_NS, if slice == 7 { 900 } else { 10 });
            state.note(slice * SLICE_NS + 1, 5);
        }
        let watch = Lateness::watch();
        super::lock(&watch.shared.state).slices = state.slices;
        assert_eq!((watch.worst_since(0), watch.usual_since(0)), (900, 10));
        assert_eq!(watch.worst_since(8 * SLICE_NS), 10);
    }
}
