//! How a suite went: for a terminal, for a job summary, for a machine.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::{
    failure::{Failure, Status},
    index::{CellHistory, FindingHistory, Index},
    output::{Paint, paint},
    result::Outcome,
    statistics::Rate,
};

/// Cells that are listed one by one; of more, only those that are not all valid.
const CELLS_MAX: usize = 60;

/// A finished suite, or as much of it as there is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SuiteReport {
    pub(crate) suite: String,
    pub(crate) summary: String,
    pub(crate) outcomes: BTreeMap<String, u32>,
    pub(crate) cells: Vec<CellHistory>,
    pub(crate) findings: Vec<FindingHistory>,
    pub(crate) stored: PathBuf,
}

impl SuiteReport {
    pub(crate) fn of(
        index: &Index,
        suite: &str,
        summary: &str,
        stored: PathBuf,
    ) -> Result<Self, Failure> {
        Ok(Self {
            suite: suite.to_owned(),
            summary: summary.to_owned(),
            outcomes: index.outcomes(suite)?,
            cells: index.cells("", Some(suite))?,
            findings: index.findings("", Some(suite))?,
            stored,
        })
    }

    fn count(&self, outcome: Outcome) -> u32 {
        self.outcomes.get(outcome.name()).copied().unwrap_or_default()
    }

    /// The worst of the runs: a finding counts more than a failure of ours, that more than an
    /// unknown.
    pub(crate) fn status(&self) -> Status {
        let order = [Outcome::Invalid, Outcome::Harness, Outcome::Unknown, Outcome::Valid];
        let worst = order.into_iter().find(|outcome| self.count(*outcome) > 0);
        worst.unwrap_or(Outcome::Unknown).status()
    }

    pub(crate) fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        self.write_text(&mut out, colour).expect("a String takes everything");
        out
    }

    fn write_text(&self, out: &mut String, colour: bool) -> std::fmt::Result {
        let shown: Vec<_> = match self.cells.len() > CELLS_MAX {
            true => self.cells.iter().filter(|cell| cell.valid < cell.runs()).collect(),
            false => self.cells.iter().collect(),
        };
        let width = shown.iter().map(|cell| cell.cell.len()).max().unwrap_or(0).max(4);
        writeln!(
            out,
            "{:<width$}  {:>6}  {:>6}  {:>7}  {:>7}  {:>7}  {:>10}",
            "cell", "runs", "valid", "invalid", "unknown", "harness", "leaderless"
        )?;
        for cell in &shown {
            let leaderless = cell.leaderless_ns.last().map_or("-".to_owned(), |ns| seconds(*ns));
            let line = format!(
                "{:<width$}  {:>6}  {:>6}  {:>7}  {:>7}  {:>7}  {leaderless:>10}",
                cell.cell,
                cell.runs(),
                cell.valid,
                cell.invalid,
                cell.unknown,
                cell.harness
            );
            let mark = match cell {
                cell if cell.invalid + cell.harness > 0 => Paint::Bad,
                cell if cell.unknown > 0 => Paint::Unclear,
                _ => Paint::Good,
            };
            writeln!(out, "{}", paint(&line, mark, colour))?;
        }
        if shown.len() < self.cells.len() {
            let more = self.cells.len() - shown.len();
            writeln!(out, "and {more} cells in which every run was valid")?;
        }
        for (number, finding) in self.findings.iter().enumerate() {
            writeln!(out)?;
            write_finding(out, number + 1, finding, colour)?;
        }
        writeln!(out)?;
        let counts: Vec<_> = Outcome::ALL
            .iter()
            .map(|outcome| format!("{} {}", self.count(*outcome), outcome.name()))
            .collect();
        let runs: u32 = self.outcomes.values().sum();
        writeln!(out, "suite      {}: {runs} runs, {}", self.suite, counts.join(", "))?;
        let judged = self.count(Outcome::Valid) + self.count(Outcome::Invalid);
        if judged > 0 {
            let rate = Rate { hits: self.count(Outcome::Invalid), runs: judged };
            writeln!(out, "invalid    {rate}")?;
        }
        write!(out, "stored in  {}", self.stored.display())
    }

    /// A job summary.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        self.write_markdown(&mut out).expect("a String takes everything");
        out
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## {}\n\n{}\n", self.suite, self.summary)?;
        writeln!(out, "| runs | valid | invalid | unknown | harness |\n|---|---|---|---|---|")?;
        let runs: u32 = self.outcomes.values().sum();
        let [valid, invalid, unknown, harness] = Outcome::ALL.map(|outcome| self.count(outcome));
        writeln!(out, "| {runs} | {valid} | {invalid} | {unknown} | {harness} |\n")?;
        if !self.findings.is_empty() {
            writeln!(out, "| finding | runs | first | last | again |\n|---|---|---|---|---|")?;
        }
        for finding in &self.findings {
            writeln!(
                out,
                "| {}<br>{} | {} | {} | {} | `usurper replay {}` |",
                cell_text(&finding.signature),
                cell_text(finding.why.as_deref().unwrap_or_default()),
                finding.runs,
                finding.first,
                finding.last,
                finding.shortest.display()
            )?;
        }
        writeln!(out, "\n<details><summary>cells</summary>\n")?;
        writeln!(out, "| cell | runs | valid | leaderless |\n|---|---|---|---|")?;
        for cell in &self.cells {
            let leaderless = cell.leaderless_ns.last().map_or("-".to_owned(), |ns| seconds(*ns));
            let (runs, valid) = (cell.runs(), cell.valid);
            writeln!(out, "| {} | {runs} | {valid} | {leaderless} |", cell_text(&cell.cell))?;
        }
        writeln!(out, "\n</details>")
    }
}

/// One finding, and what to do about it.
pub(crate) fn write_finding(
    out: &mut String,
    number: usize,
    finding: &FindingHistory,
    colour: bool,
) -> std::fmt::Result {
    let title = format!("{number}. {}", finding.signature);
    let times = if finding.runs == 1 { "1 run" } else { &format!("{} runs", finding.runs) };
    writeln!(out, "{}  {times}", paint(&title, Paint::Strong, colour))?;
    if let Some(why) = &finding.why {
        writeln!(out, "   {why}")?;
    }
    writeln!(out, "   first seen {}, last seen {}; the shortest:", finding.first, finding.last)?;
    let run = finding.shortest.display();
    if finding.outcome == Outcome::Harness.name() {
        return writeln!(out, "   usurper show {run}");
    }
    writeln!(out, "   usurper show {run}")?;
    writeln!(out, "   usurper replay {run} --repeat 20")?;
    writeln!(out, "   usurper shrink {run}")
}

pub(crate) fn seconds(ns: u64) -> String {
    format!("{:.2} s", Duration::from_nanos(ns).as_secs_f64())
}

/// Text that does not end a cell of a Markdown table.
fn cell_text(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
