//! `usurper history`: what failed when, and how it went from night to night.

use std::fmt::Write;

use anyhow::Context;
use serde_json::json;

use crate::{
    cli::{HistoryArgs, Output},
    failure::{Failure, Status},
    index::{CellHistory, FindingHistory, Index},
    output::{self, Paint, paint},
    report::plot,
    statistics::Rate,
    suite::{CellFigures, figures_table, seconds, write_finding},
};

/// Nights that the trend shows.
const NIGHTS_MAX: usize = 8;

pub(crate) fn history(args: &HistoryArgs) -> Result<Status, Failure> {
    let index = Index::open_existing(&args.common.store)?;
    let suite = match &args.suite {
        Some(like) => index.newest_suite(like)?.or_else(|| Some(like.clone())),
        None => None,
    };
    let like = args.cell.as_deref().unwrap_or_default();
    let cells = index.cells(like, suite.as_deref())?;
    let findings = index.findings(like, suite.as_deref())?;
    let figures: Vec<_> = match args.figures || args.plot.is_some() {
        true => {
            let results = index.results(like, suite.as_deref())?;
            let mut cells: Vec<_> =
                results.iter().map(|(cell, results)| CellFigures::of(cell, results)).collect();
            cells.sort_by_cached_key(|cell| natural(&cell.cell));
            cells
        }
        false => Vec::new(),
    };
    if let Some(path) = &args.plot {
        std::fs::write(path, plot(&figures))
            .with_context(|| format!("cannot write `{}`", path.display()))
            .map_err(Failure::usage)?;
    }
    if args.common.output == Output::Json {
        let mut json = json!({ "suite": suite, "cells": cells, "findings": findings });
        if args.figures {
            json["figures"] = json!(figures);
        }
        output::json(&json)?;
        return Ok(Status::Valid);
    }
    if args.figures {
        output::data(figures_table(&figures).trim_end());
        return Ok(Status::Valid);
    }
    let text = text(&cells, &findings, output::wants_colour());
    output::data(text.expect("a String takes everything").trim_end());
    Ok(Status::Valid)
}

/// A key that sorts texts with their numbers by size, `50ms` before `200ms`.
fn natural(text: &str) -> Vec<(String, u64)> {
    let mut key = vec![(String::new(), 0_u64)];
    let mut in_number = false;
    for letter in text.chars() {
        let (word, number) = key.last_mut().expect("it begins with one");
        match letter.to_digit(10) {
            Some(digit) => *number = number.saturating_mul(10).saturating_add(u64::from(digit)),
            None if in_number => key.push((letter.to_string(), 0)),
            None => word.push(letter),
        }
        in_number = letter.is_ascii_digit();
    }
    key
}

fn text(
    cells: &[CellHistory],
    findings: &[FindingHistory],
    colour: bool,
) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    if cells.is_empty() {
        return Ok("no finished run is like that".to_owned());
    }
    let width = cells.iter().map(|cell| cell.cell.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:<width$}  {:>6}  {:>7}  {:>7}  {:>7}  {:<21}  {:<20}  leaderless, by night",
        "cell", "runs", "invalid", "unknown", "harness", "invalid, 95 %", "first bad"
    )?;
    for cell in cells {
        let rate = Rate { hits: cell.invalid, runs: cell.valid + cell.invalid };
        let interval = rate.interval_95();
        let interval = format!("{:.1}–{:.1} %", interval.low * 100.0, interval.high * 100.0);
        let first_bad = cell.first_bad.as_deref().map_or("-", |time| {
            // To the second.
            time.get(..19).unwrap_or(time)
        });
        let nights = cell.leaderless_ns.len().saturating_sub(NIGHTS_MAX);
        let trend: Vec<_> = cell.leaderless_ns[nights..].iter().map(|ns| seconds(*ns)).collect();
        let line = format!(
            "{:<width$}  {:>6}  {:>7}  {:>7}  {:>7}  {interval:<21}  {first_bad:<20}  {}",
            cell.cell,
            cell.runs(),
            cell.invalid,
            cell.unknown,
            cell.harness,
            trend.join(" ")
        );
        let mark = match cell {
            cell if cell.invalid + cell.harness > 0 => Paint::Bad,
            cell if cell.unknown > 0 => Paint::Unclear,
            _ => Paint::Good,
        };
        writeln!(out, "{}", paint(&line, mark, colour))?;
    }
    for (number, finding) in findings.iter().enumerate() {
        writeln!(out)?;
        write_finding(&mut out, number + 1, finding, colour)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_are_sorted_by_size() {
        let mut cells = ["b", "a 100ms", "a 25ms x", "a 25ms", "a"];
        cells.sort_by_key(|cell| natural(cell));
        assert_eq!(cells, ["a", "a 25ms", "a 25ms x", "a 100ms", "b"]);
    }
}
