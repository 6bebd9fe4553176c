//! Many runs side by side, each on a thread of its own: nodes die with their thread.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Next<J> {
    Job(J),
    /// Nothing before so much time has gone by; then something, unless what ends meanwhile changes that.
    Later(Duration),
    /// Nothing now, perhaps something once a job under way has ended.
    Wait,
    /// Nothing any more.
    Finished,
}

/// Hands out jobs and takes what became of them. Only one worker at a time talks to it.
pub(crate) trait Work {
    type Job;
    type Done;
    fn next(&mut self) -> Next<Self::Job>;
    fn done(&mut self, job: Self::Job, done: Self::Done);
}

/// Does all the work, `jobs` at a time, and returns it.
///
/// A work that says [`Next::Wait`] although no job is under way is finished, too: nobody is left
/// that could change its mind.
pub(crate) fn side_by_side<W>(jobs: usize, work: W, run: impl Fn(&W::Job) -> W::Done + Sync) -> W
where
    W: Work + Send,
{
    assert!(jobs > 0, "nobody would do the work");
    let state = Mutex::new((work, 0_usize));
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(job) = take(&state, &changed) {
                    let done = run(&job);
                    let mut state = lock(&state);
                    state.1 -= 1;
                    state.0.done(job, done);
                    changed.notify_all();
                }
            });
        }
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

fn lock<W>(state: &Mutex<(W, usize)>) -> MutexGuard<'_, (W, usize)> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<W: Work>(state: &Mutex<(W, usize)>, changed: &Condvar) -> Option<W::Job> {
    let mut guard = lock(state);
    loop {
        match guard.0.next() {
            Next::Job(job) => {
                guard.1 += 1;
                return Some(job);
            }
            Next::Wait if guard.1 > 0 => {
                guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            Next::Later(time) => {
                let waited = changed.wait_timeout(guard, time);
                guard = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            Next::Wait | Next::Finished => return None,
        }
    }
}

/// How many runs go side by side where nobody says: they mostly wait.
pub(crate) fn default_jobs(per_core: usize) -> usize {
    thread::available_parallelism().map_or(2, |cores| per_core * cores.get())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Next, Work, side_by_side};

    /// Gives out its second half only once the first one is done.
    struct Halves {
        left: Vec<u32>,
        open: usize,
        sum: u32,
    }

    impl Work for Halves {
        type Job = u32;
        type Done = u32;

        fn next(&mut self) -> Next<u32> {
            match self.left.pop() {
                Some(5) if self.open > 0 => {
                    self.left.push(5);
                    Next::Wait
                }
                Some(job) => {
                    self.open += 1;
                    Next::Job(job)
                }
                None => Next::Finished,
            }
        }

        fn done(&mut self, job: u32, done: u32) {
            assert_eq!(2 * job, done);
            self.open -= 1;
            self.sum += done;
        }
    }

    #[test]
    fn every_job_is_done_once_also_after_a_wait() {
        for jobs in 1..7 {
            let busy = AtomicUsize::new(0);
            let work = Halves { left: (0..10).collect(), open: 0, sum: 0 };
            let work = side_by_side(jobs, work, |job| {
                assert!(busy.fetch_add(1, Ordering::SeqCst) < jobs);
                busy.fetch_sub(1, Ordering::SeqCst);
                2 * job
            });
            assert_eq!(work.sum, 90, "{jobs} side by side");
        }
    }

    #[test]
    fn a_wait_that_nobody_can_end_ends() {
        let work = side_by_side(3, Halves { left: vec![5], open: 1, sum: 0 }, |job| 2 * job);
        assert_eq!(work.left, [5]);
    }

    /// Three jobs, each some time after the one before.
    struct Apart {
        next_ns: u64,
        begun_ns: Vec<u64>,
    }

    const APART_NS: u64 = 20_000_000;

    impl Work for Apart {
        type Job = ();
        type Done = ();

        fn next(&mut self) -> Next<()> {
            let now_ns = usurper_history::monotonic_ns();
            match self.begun_ns.len() {
                3 => Next::Finished,
                _ if now_ns < self.next_ns => {
                    Next::Later(std::time::Duration::from_nanos(self.next_ns - now_ns))
                }
                _ => {
                    self.next_ns = now_ns + APART_NS;
                    self.begun_ns.push(now_ns);
                    Next::Job(())
                }
            }
        }

        fn done(&mut self, (): (), (): ()) {}
    }

    #[test]
    fn a_later_job_is_done_later() {
        for jobs in [1, 4] {
            let done = side_by_side(jobs, Apart { next_ns: 0, begun_ns: Vec::new() }, |()| ());
            let begun = done.begun_ns;
            assert_eq!(begun.len(), 3);
            assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= APART_NS), "{begun:?}");
        }
    }
}
