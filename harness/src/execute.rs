//! From a plan to a verdict in the store: what `run`, `prove` and the benches share.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use tokio::sync::watch;
use usurper_checks::{JudgeError, Means, Verdict, judge_with};
use usurper_history::{Clock, Reader, sort_file};

use crate::{
    controller::{self, RunEnd},
    failure::Failure,
    plan::Plan,
    reporter::Reporter,
    result::RunResult,
    signals,
    store::RunDir,
    stored,
};

/// A run that was carried through and judged.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) dir: RunDir,
    pub(crate) verdict: Verdict,
    pub(crate) end: RunEnd,
    /// What the store remembers of it.
    pub(crate) result: RunResult,
}

impl Judged {
    /// Keeps the run for others to look at and to do again: writes down what it did, in one more
    /// pass over its history.
    ///
    /// # Errors
    /// When the history cannot be read, or the store is full.
    pub(crate) fn keep(&self, plan: &Plan) -> Result<(), Failure> {
        self.dir.write("schedule.toml", &stored::schedule_text(plan, &self.dir.history())?)
    }

    /// Keeps the run, or removes it.
    ///
    /// # Errors
    /// As for [`Judged::keep`], and when it cannot be removed.
    pub(crate) fn keep_if(self, wanted: bool, plan: &Plan) -> Result<(), Failure> {
        if wanted { self.keep(plan) } else { self.dir.remove() }
    }
}

/// Runs a plan that is ready on this thread, stores everything, and judges the history.
///
/// The nodes live as long as the calling thread at most. The caller says whether the run is kept.
///
/// # Errors
/// When the harness fails. The run's directory stays, as far as it got.
pub(crate) fn execute(
    plan: &Plan,
    store: &Path,
    reporter: &mut dyn Reporter,
) -> Result<Judged, Failure> {
    // Nobody else stops it.
    let (_never, cancel) = watch::channel(false);
    execute_until(plan, store, reporter, cancel)
}

/// The same, and stops as for Ctrl-C once `cancel` turns true.
///
/// # Errors
/// When the harness fails. The run's directory stays, as far as it got.
pub(crate) fn execute_until(
    plan: &Plan,
    store: &Path,
    reporter: &mut dyn Reporter,
    cancel: watch::Receiver<bool>,
) -> Result<Judged, Failure> {
    let started = Started::now();
    let dir = RunDir::create(store, &plan.name, &started.stamp, plan.seed)?;
    let judged = execute_in(plan, dir, &started, reporter, cancel)?;
    judged.result.write(judged.dir.path())?;
    Ok(judged)
}

/// The same, in a directory that the caller has made and where he says that the run is finished.
///
/// # Errors
/// When the harness fails. The run's directory stays, as far as it got.
pub(crate) fn execute_in(
    plan: &Plan,
    dir: RunDir,
    started: &Started,
    reporter: &mut dyn Reporter,
    cancel: watch::Receiver<bool>,
) -> Result<Judged, Failure> {
    let text =
        toml::to_string_pretty(plan).context("cannot write the plan").map_err(Failure::harness)?;
    dir.write("plan.toml", &text)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
        .map_err(Failure::harness)?;
    let end = runtime.block_on(async {
        let interrupts = signals::watch_interrupts_or(cancel)
            .context("cannot watch for signals")
            .map_err(Failure::harness)?;
        controller::run(plan, &dir, &started.text, reporter, interrupts).await
    });
    // Whatever is left of the nodes ends here.
    drop(runtime);
    let end = end.map_err(|failure| {
        let note = format!("what was recorded is in {}", dir.path().display());
        let hint = failure.hint.as_ref().map_or(note.clone(), |hint| format!("{hint}; {note}"));
        failure.with_hint(hint)
    })?;
    let verdict = judge(&dir.history())?;
    let json = serde_json::to_string_pretty(&verdict).context("cannot write the verdict");
    dir.write("verdict.json", &json.map_err(Failure::harness)?)?;
    let result = RunResult::of(plan, started, &verdict, &dir.history())?;
    Ok(Judged { dir, verdict, end, result })
}

/// Judges a history file.
///
/// One whose records are not in the order of time is brought into it first: a harness that was
/// killed did not get to that.
///
/// # Errors
/// When it cannot be read as a history.
pub(crate) fn judge(history: &Path) -> Result<Verdict, Failure> {
    let means = means();
    let read =
        || -> Result<Verdict, JudgeError> { judge_with(&mut Reader::open(history)?, &means) };
    let judged = match read() {
        Err(JudgeError::Order { .. }) => {
            sort_file(history).map_err(Failure::usage)?;
            read()
        }
        judged => judged,
    };
    judged.with_context(|| format!("cannot judge `{}`", history.display())).map_err(Failure::usage)
}

/// What a judge may use: a clock, and all cores.
pub(crate) fn means() -> Means {
    let clock = Clock::start();
    Means {
        elapsed_ns: Some(Arc::new(move || clock.now_ns())),
        threads: std::thread::available_parallelism().map_or(1, Into::into),
    }
}

/// When a run began.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// The wall time, as RFC 3339.
    pub(crate) text: String,
    /// The same as a name for a directory.
    pub(crate) stamp: String,
    /// The monotonic clock then.
    pub(crate) ns: u64,
}

impl Started {
    /// Now. The only place that asks for the wall time.
    pub(crate) fn now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a run and its header name the wall time")]
        let now = std::time::SystemTime::now();
        let text = humantime::format_rfc3339_millis(now).to_string();
        let stamp = text.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        Self { text, stamp, ns: usurper_history::monotonic_ns() }
    }
}
