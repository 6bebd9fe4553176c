//! What the runs of each cell measured: medians, and how many runs a check warned in.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::result::{RunFigures, RunResult};

/// The figures of the runs of one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CellFigures {
    pub(crate) cell: String,
    /// Runs that were carried through; the others measured nothing.
    pub(crate) runs: usize,
    /// By the name of the figure; one that no run has is left out.
    pub(crate) figures: BTreeMap<&'static str, Middle>,
    /// In how many runs each check warned.
    pub(crate) warned: BTreeMap<String, usize>,
}

/// The least, the middle and the most of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Middle {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) mean: f64,
    pub(crate) max: f64,
}

type Read = fn(&RunFigures) -> Option<f64>;

/// Every figure with its unit, in the order of the table.
pub(crate) const FIGURES: [(&str, Read); 4] = [
    ("first leader, ms", |it| it.first_leader_ns.map(ms)),
    ("failover, ms", |it| it.failover_ns.map(ms)),
    ("leaderless, ms", |it| it.first_leader_ns.map(|_| ms(it.leaderless_ns))),
    ("elections", |it| Some(count(it.elections))),
];

impl CellFigures {
    pub(crate) fn of(cell: &str, results: &[RunResult]) -> Self {
        let runs: Vec<_> = results.iter().filter_map(|result| result.figures.as_ref()).collect();
        let middle = |read: Read| Middle::of(runs.iter().filter_map(|run| read(run)).collect());
        let figures = FIGURES.iter().filter_map(|(name, read)| Some((*name, middle(*read)?)));
        let mut warned = BTreeMap::new();
        for check in runs.iter().flat_map(|run| run.warnings.keys()) {
            *warned.entry(check.clone()).or_default() += 1;
        }
        Self { cell: cell.to_owned(), runs: runs.len(), figures: figures.collect(), warned }
    }
}

impl Middle {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[half - 1], values[half]),
            _ => values[half],
        };
        let mean = values.iter().sum::<f64>() / count(values.len() as u64);
        Some(Self { min, median, mean, max })
    }
}

/// A table in Markdown: medians with the least and the most, elections with their mean.
pub(crate) fn figures_table(cells: &[CellFigures]) -> String {
    let mut out = String::from("| cell | runs |");
    for (name, _) in FIGURES {
        write!(out, " {name} |").expect("a String takes everything");
    }
    out.push_str(" runs warned |\n|---|--:|--:|--:|--:|--:|---|\n");
    for cell in cells {
        write!(out, "| {} | {} |", cell.cell, cell.runs).expect("a String takes everything");
        for (name, _) in FIGURES {
            let text = cell.figures.get(name).map_or_else(|| "-".to_owned(), |it| it.text(name));
            write!(out, " {text} |").expect("a String takes everything");
        }
        let warned: Vec<_> =
            cell.warned.iter().map(|(check, runs)| format!("{check}: {runs}")).collect();
        let warned = if warned.is_empty() { "-".to_owned() } else { warned.join(", ") };
        writeln!(out, " {warned} |").expect("a String takes everything");
    }
    out
}

impl Middle {
    fn text(self, name: &str) -> String {
        let Self { min, median, mean, max } = self;
        match name {
            // Few and whole: their middle hides what happens in every third run.
            "elections" => format!("{mean:.1} ({min:.0}–{max:.0})"),
            _ => format!("{median:.0} ({min:.0}–{max:.0})"),
        }
    }
}

fn ms(ns: u64) -> f64 {
    crate::reporter::seconds(ns) * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs and elections")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::{CellFigures, Middle, figures_table};

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let middle =
            |values: &[f64]| Middle::of(values.to_vec()).map(|it| (it.min, it.median, it.max));
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[3.0]), Some((3.0, 3.0, 3.0)));
        assert_eq!(middle(&[4.0, 1.0, 2.0, 9.0]), Some((1.0, 3.0, 9.0)));
    }

    #[test]
    fn what_nobody_measured_is_a_dash() {
        let table = figures_table(&[CellFigures::of("quiet", &[])]);
        assert!(table.ends_with("| quiet | 0 | - | - | - | - | - |\n"), "{table}");
    }
}
