//! What a person sees while a suite goes on: one live block on a terminal, plain lines elsewhere.

use std::{collections::BTreeMap, io::IsTerminal, path::Path, time::Duration};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use usurper_history::monotonic_ns;

use super::queue::Job;
use crate::{
    output,
    result::{Outcome, RunResult},
};

/// Without a terminal, a line at least this far apart.
const LINE_NS: u64 = 15_000_000_000;
/// How many of the runs under way are named.
const NAMED_MAX: usize = 4;

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    began_ns: u64,
    said_ns: u64,
    /// How many runs there will be; unknown where the budget decides.
    total: Option<usize>,
    /// When the budget is used up.
    deadline_ns: u64,
    counts: BTreeMap<Outcome, usize>,
    under_way: Vec<(String, u64)>,
}

impl Progress {
    pub(crate) fn new(total: Option<usize>, deadline_ns: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        let now = monotonic_ns();
        let (counts, under_way) = (BTreeMap::new(), Vec::new());
        Self { bar, began_ns: now, said_ns: now, total, deadline_ns, counts, under_way }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::talk(text),
        }
    }

    pub(crate) fn begun(&mut self, cell: &str, seed: u64) {
        self.under_way.push((cell.to_owned(), seed));
        self.show();
    }

    pub(crate) fn ended(&mut self, job: &Job, result: &RunResult, dir: &Path) {
        *self.counts.entry(result.outcome).or_default() += 1;
        if result.outcome != Outcome::Valid || job.again {
            let what = result.signature.as_deref().or(result.why.as_deref()).unwrap_or_default();
            let again = if job.again { " (failed in an earlier night)" } else { "" };
            let (outcome, cell, seed) = (result.outcome.name(), &result.cell, result.seed);
            let place = match result.outcome {
                Outcome::Valid => String::new(),
                _ => format!("\n          {}", dir.display()),
            };
            self.say(&format!("{outcome:<8}  {cell}, seed {seed}{again} {what}{place}"));
        }
        self.dropped(&result.cell, result.seed);
        let now = monotonic_ns();
        if self.bar.is_none() && now.saturating_sub(self.said_ns) >= LINE_NS {
            self.said_ns = now;
            self.say(&self.line());
        }
    }

    /// A run ended without a result.
    pub(crate) fn dropped(&mut self, cell: &str, seed: u64) {
        self.under_way.retain(|(name, of)| name != cell || *of != seed);
        self.show();
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            let named = self.under_way.iter().rev().take(NAMED_MAX);
            let names: Vec<_> = named.map(|(cell, seed)| format!("{cell} {seed}")).collect();
            let more = match self.under_way.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            bar.set_message(format!("{}\n  {}{more}", self.line(), names.join("  ")));
        }
    }

    fn line(&self) -> String {
        let done: usize = self.counts.values().sum();
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let counts: Vec<_> = Outcome::ALL
            .iter()
            .filter_map(|outcome| Some(format!("{} {}", self.counts.get(outcome)?, outcome.name())))
            .collect();
        let left = self.left(done).map_or(String::new(), |left| {
            format!(", about {} to go", HumanDuration(Duration::from_nanos(left)))
        });
        format!("{done}{of} done: {}; {} under way{left}", counts.join(", "), self.under_way.len())
    }

    /// How long it will take, in nanoseconds, by the runs so far and by the budget.
    fn left(&self, done: usize) -> Option<u64> {
        let now = monotonic_ns();
        let took = u128::from(now.saturating_sub(self.began_ns));
        let by_runs = self.total.filter(|_| done > 0).map(|total| {
            let left = total.saturating_sub(done) as u128;
            u64::try_from(took * left / done as u128).unwrap_or(u64::MAX)
        });
        let by_budget = (self.deadline_ns < u64::MAX).then(|| self.deadline_ns.saturating_sub(now));
        by_runs.into_iter().chain(by_budget).min()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
