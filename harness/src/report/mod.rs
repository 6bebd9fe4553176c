//! The report of a run: one HTML page that needs nothing but itself.

mod lanes;
mod picture;
mod plot;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use usurper_checks::{CheckVerdict, Finding, Judgement, Verdict};
use usurper_history::{Header, Reader};

pub(crate) use self::plot::plot;
use self::{
    lanes::{Lanes, State},
    picture::{class, picture},
};
use crate::{failure::Failure, reporter::seconds};

/// Lines of evidence that are shown of one finding.
const LINES_MAX: usize = 12;

/// Writes the page of a judged history.
///
/// # Errors
/// When the history cannot be read.
pub(crate) fn page(history: &Path, verdict: &Verdict) -> Result<String, Failure> {
    let wanted = |finding: &Finding| finding.lines.clone().into_iter().take(LINES_MAX);
    let findings =
        verdict.checks.iter().flat_map(|check| check.findings.iter().chain(&check.warnings));
    let mut evidence: BTreeMap<u64, String> =
        findings.flat_map(wanted).map(|line| (line, String::new())).collect();
    let open =
        || Reader::open(history).with_context(|| format!("cannot read `{}`", history.display()));
    let mut reader = open().map_err(Failure::usage)?;
    let header = reader.header().clone();
    let mut lanes = Lanes::new(&header.nodes);
    for next in reader.by_ref() {
        let (line, record) = next.context("cannot read the history").map_err(Failure::usage)?;
        lanes.observe(&record);
        if let Some(text) = evidence.get_mut(&line) {
            *text = record.to_line();
        }
    }
    lanes.finish();
    Ok(render(&header, verdict, &lanes, &evidence).into_string())
}

fn render(
    header: &Header,
    verdict: &Verdict,
    lanes: &Lanes,
    evidence: &BTreeMap<u64, String>,
) -> Markup {
    let bad: Vec<(&str, &Finding)> = (verdict.checks.iter())
        .flat_map(|check| check.findings.iter().map(|finding| (check.check.as_str(), finding)))
        .collect();
    let figures = &verdict.figures;
    let name =
        header.scenario.clone().unwrap_or_else(|| format!("{}, random faults", header.system));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (name) ": " (verdict.judgement.name()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (name) " " span class=(judged(verdict.judgement)) { (verdict.judgement.name()) } }
                p class="facts" {
                    (header.nodes.len()) " nodes of " (header.system) " · seed " (header.seed)
                    " · started " (header.started)
                    @if !header.defects.is_empty() { " · defects " (header.defects.join(", ")) }
                }
                p class="facts" {
                    (figures.leader_establishments) " leaders established in "
                    (format!("{:.1} s", seconds(figures.observed_ns)))
                    (format!(" · leaderless {:.2} s", seconds(figures.leaderless_ns)))
                    @if let Some(failover) = &figures.failover {
                        (format!(" · failover {:.2} s (median of {})",
                            seconds(failover.median_ns), failover.count))
                    }
                    @if let Some(stalls) = &figures.stalls {
                        (format!(" · the machine stood still for {:.1} s", seconds(stalls.total_ns)))
                    }
                    @if verdict.truncated { " · the history was cut off" }
                }
                (picture(lanes, &bad))
                p class="legend" {
                    @for state in State::ALL {
                        span class=(format!("swatch {}", class(state))) {} (state.name()) " "
                    }
                    span class="swatch hatched" {} "paused "
                    span class="swatch cut" {} "cut off from a majority "
                    @if !bad.is_empty() { span class="swatch finding" {} "finding" }
                }
                @for check in &verdict.checks { (section(check, evidence)) }
                @for absent in &verdict.not_applied {
                    h2 { span class="faint" { "not applied" } " " (absent.check) }
                    p { "needs events that this system does not tell: " (absent.needs.join(", ")) }
                }
            }
        }
    }
}

fn section(check: &CheckVerdict, evidence: &BTreeMap<u64, String>) -> Markup {
    let one = |kind: &str, finding: &Finding| {
        html! {
            details open[kind == "finding"] {
                summary {
                    @if kind == "warning" { span class="unknown" { "warning " } }
                    (finding.sentence)
                    span class="faint" {
                        (format!(" {:.3} to {:.3} s", seconds(finding.from_ns), seconds(finding.to_ns)))
                    }
                }
                pre {
                    @for line in finding.lines.iter().take(LINES_MAX) {
                        span class="faint" { (format!("{line:>6} ")) }
                        (evidence.get(line).map_or("", String::as_str)) "\n"
                    }
                    @if finding.lines.len() > LINES_MAX {
                        "       and " (finding.lines.len() - LINES_MAX) " more lines\n"
                    }
                }
            }
        }
    };
    html! {
        h2 { span class=(judged(check.judgement)) { (check.judgement.name()) } " " (check.check) }
        @if let Some(reason) = &check.reason { p { (reason) } }
        @for finding in &check.findings { (one("finding", finding)) }
        @for warning in &check.warnings { (one("warning", warning)) }
    }
}

fn judged(judgement: Judgement) -> &'static str {
    judgement.name()
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e6e9ee); --faint: light-dark(#6b7480, #98a2b0);
  --paper: light-dark(#fff, #14181d); --grid: light-dark(#e3e6ea, #2a3038);
  --leader: #2f7d4f; --prospective: #9ccaa8; --candidate: #e0a93b; --follower: light-dark(#b9cdea, #3c5678);
  --looking: light-dark(#ead9a8, #6a5a2c); --starting: light-dark(#e3e6ea, #39414b); --down: light-dark(#c9ccd1, #23282e);
  --bad: light-dark(#c2282d, #ff6b6b); --good: light-dark(#2f7d4f, #6cc58f); --unclear: light-dark(#a8690a, #e6b35a); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1180px; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; } h2 { font-size: 1rem; margin: 1.1rem 0 .2rem; }
p { margin: .2rem 0; } .facts, .faint { color: var(--faint); }
.valid { color: var(--good); } .invalid { color: var(--bad); } .unknown { color: var(--unclear); }
svg { width: 100%; height: auto; margin: 1rem 0 .3rem; font-size: 11px; }
svg text { fill: var(--ink); } .axis { fill: var(--faint) !important; text-anchor: middle; }
.node { font-weight: 600; font-size: 13px; } .term { fill: #fff !important; font-size: 12px; font-weight: 600; }
.grid { stroke: var(--grid); } .mark { stroke: var(--ink); stroke-dasharray: 2 3; opacity: .55; }
.label { font-size: 10.5px; }
.leader { fill: var(--leader); background: var(--leader); } .prospective { fill: var(--prospective); background: var(--prospective); }
.candidate { fill: var(--candidate); background: var(--candidate); } .follower { fill: var(--follower); background: var(--follower); }
.looking { fill: var(--looking); background: var(--looking); } .starting { fill: var(--starting); background: var(--starting); }
.down { fill: var(--down); background: var(--down); }
.hatch { fill: var(--ink); opacity: .45; } .paused { fill: url(#paused); }
.hatched { background: repeating-linear-gradient(45deg, var(--faint) 0 3px, transparent 3px 6px); }
.cut { fill: none; stroke: var(--bad); stroke-width: 2; stroke-dasharray: 5 3; }
.swatch.cut { border: 2px dashed var(--bad); } .finding { fill: var(--bad); background: var(--bad); }
.swatch { display: inline-block; width: 1em; height: 1em; margin: 0 .35em 0 .9em; vertical-align: -.12em; box-sizing: border-box; }
.legend { font-size: .85rem; } .legend .swatch:first-child { margin-left: 0; }
summary { cursor: pointer; } pre { font-size: 11.5px; overflow-x: auto; margin: .3rem 0 .6rem; padding: .5rem; background: var(--grid); }
";
