//! `usurper history`: what failed when, and how it went from night to night.

use std::fmt::Write;

use anyhow::Context;
use serde_json::json;

use crate::{
    cli::{HistoryArgs, Output},
    failure::{Failure, Status},
    index::{CellHistory, FindingHistory, Index},
    output::{self, Paint, paint},
    statistics::Rate,
    suite::{seconds, write_finding},
};

/// Nights that the trend shows.
const NIGHTS_MAX: usize = 8;

pub(crate) fn history(args: &HistoryArgs) -> Result<Status, Failure> {
    let index = Index::open_existing(&args.store)?;
    let suite = match &args.suite {
        Some(like) => index.newest_suite(like)?.or_else(|| Some(like.clone())),
        None => None,
    };
    let like = args.cell.as_deref().unwrap_or_default();
    let cells = index.cells(like, suite.as_deref())?;
    let findings = index.findings(like, suite.as_deref())?;
    if args.output == Output::Json {
        let json = json!({ "suite": suite, "cells": cells, "findings": findings });
        let json = serde_json::to_string_pretty(&json).context("cannot print JSON");
        output::data(&json.map_err(Failure::harness)?);
        return Ok(Status::Valid);
    }
    let text = text(&cells, &findings, output::wants_colour());
    output::data(text.expect("a String takes everything").trim_end());
    Ok(Status::Valid)
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
