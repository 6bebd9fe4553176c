//! Taking the time and the memory of a piece of work.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};
use usurper_checks::linearizability::{Budget, Model, Operation, Options, Report, Verdict, check};
use usurper_history::monotonic_ns;

/// What was measured of one checker on one row.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) ns: u64,
    /// A verdict that all files of the row agree on, or a count of each.
    pub(crate) verdict: String,
    pub(crate) peak_megabytes: u64,
    pub(crate) note: String,
}

/// A budget of so much time from now.
pub(crate) struct Deadline(u64);

impl Deadline {
    pub(crate) fn in_ns(ns: u64) -> Self {
        Self(monotonic_ns() + ns)
    }

    /// By how much it has passed.
    pub(crate) fn overshot_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.0)
    }
}

impl Budget for Deadline {
    fn is_spent(&self) -> bool {
        monotonic_ns() >= self.0
    }
}

/// A budget of so much time that watches how long the processor works between two looks at it.
pub(crate) struct Looks {
    deadline: Deadline,
    last: AtomicU64,
    most: AtomicU64,
}

impl Looks {
    pub(crate) fn for_ns(ns: u64) -> Self {
        let last = AtomicU64::new(on_processor_ns());
        Self { deadline: Deadline::in_ns(ns), last, most: AtomicU64::new(0) }
    }

    /// The most between two looks, and what was done since the last.
    pub(crate) fn most_ns(&self) -> (u64, u64) {
        let after = on_processor_ns() - self.last.load(Ordering::Relaxed);
        (self.most.load(Ordering::Relaxed), after)
    }
}

impl Budget for Looks {
    fn is_spent(&self) -> bool {
        let now = on_processor_ns();
        self.most.fetch_max(now - self.last.swap(now, Ordering::Relaxed), Ordering::Relaxed);
        self.deadline.is_spent()
    }
}

/// Checks a history and measures it; the row gives up after a minute.
pub(crate) fn measure<M: Model>(
    model: &M,
    ops: &[Operation<M::Op>],
    options: Options,
) -> (Measured, Report) {
    forget_peak();
    let deadline = Deadline::in_ns(60_000_000_000);
    let clock = if options.threads > 1 { monotonic_ns } else { on_processor_ns };
    let begin = clock();
    let report = check(model, ops, options, &deadline);
    let ns = clock() - begin;
    let (verdict, note) = match &report.verdict {
        Verdict::Valid => ("valid", String::new()),
        Verdict::Invalid(_) if !options.counterexample => ("invalid", String::new()),
        Verdict::Invalid(found) => {
            let minimal = if found.minimal { "minimal" } else { "not minimal" };
            ("invalid", format!("counterexample of {}, {minimal}", found.core.len()))
        }
        Verdict::Unknown(unknown) => ("unknown", format!("{unknown:?}")),
    };
    let verdict = verdict.to_owned();
    (Measured { ns, verdict, peak_megabytes: peak_megabytes(), note }, report)
}

/// Resets the kernel's peak of this process' memory.
fn forget_peak() {
    // Where it is not allowed, the peak is that of the whole bench so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) / 1024
}

/// How long this thread has had a processor.
fn on_processor_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a Linux kernel");
    u64::try_from(std::time::Duration::from(time).as_nanos()).expect("a few years at most")
}
