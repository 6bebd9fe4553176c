//! A thread that takes naps, and looks at something each time that it wakes.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// What it looks at, and the thread, which ends with this.
#[derive(Debug)]
pub(crate) struct Naps<S> {
    shared: Arc<Shared<S>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared<S> {
    state: Mutex<State<S>>,
    stop: Condvar,
}

#[derive(Debug)]
struct State<S> {
    stopped: bool,
    seen: S,
}

impl<S: Send + 'static> Naps<S> {
    /// Looks each time that it has slept for so long.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(
        name: &str,
        nap: Duration,
        seen: S,
        look: impl Fn(&mut S) + Send + 'static,
    ) -> io::Result<Self> {
        let state = Mutex::new(State { stopped: false, seen });
        let shared = Arc::new(Shared { state, stop: Condvar::new() });
        let naps = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || naps.nap(nap, look))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl<S> Naps<S> {
    /// Does something with what was seen so far.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut lock(&self.shared.state).seen)
    }
}

impl<S> Shared<S> {
    fn nap(&self, nap: Duration, look: impl Fn(&mut S)) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let woken = self.stop.wait_timeout(state, nap);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            look(&mut state.seen);
        }
    }
}

impl<S> Drop for Naps<S> {
    fn drop(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take() {
            // Nothing depends on it any more.
            let _ = thread.join();
        }
    }
}

fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
