//! The picture of a run: one lane per node, faults above, findings below, as SVG.

use maud::{Markup, html};
use usurper_checks::Finding;

use super::lanes::{Lane, Lanes, Span, State};
use crate::reporter::seconds;

const LEFT: f64 = 46.0;
const WIDTH: f64 = 1100.0;
const LANE: f64 = 30.0;
const GAP: f64 = 8.0;
const MARK: f64 = 13.0;
/// Rows that fault labels are spread over, so that they do not cover each other.
const MARK_ROWS: usize = 5;
/// The width of a letter of a label, about.
const LETTER: f64 = 6.6;
const FINDING: f64 = 12.0;

pub(super) fn picture(lanes: &Lanes, findings: &[(&str, &Finding)]) -> Markup {
    let end_s = seconds(lanes.end_ns).max(0.001);
    let x = |ns: u64| LEFT + WIDTH * seconds(ns) / end_s;
    let top = MARK * (rows(MARK_ROWS) + 1.0);
    let bottom = top + (LANE + GAP) * rows(lanes.lanes.len());
    let height = bottom + FINDING * rows(findings.len()) + 26.0;
    let step = tick(end_s);
    let ticks = (0..).map(|n| f64::from(n) * step).take_while(|s| *s <= end_s);
    html! {
        svg viewBox=(format!("0 0 {} {height:.0}", LEFT + WIDTH + 10.0)) role="img" {
            defs {
                pattern id="paused" width="6" height="6" patternUnits="userSpaceOnUse"
                    patternTransform="rotate(45)" {
                    rect width="3" height="6" class="hatch" {}
                }
            }
            @for s in ticks {
                @let at = LEFT + WIDTH * s / end_s;
                line class="grid" x1=(px(at)) x2=(px(at)) y1=(px(top)) y2=(px(bottom)) {}
                text class="axis" x=(px(at)) y=(px(height - 6.0)) { (axis(s)) }
            }
            (marks(lanes, &x, top, bottom))
            @for (row, (node, lane)) in lanes.lanes.iter().enumerate() {
                @let y = top + (LANE + GAP) * rows(row);
                text class="node" x="4" y=(px(y + LANE * 0.65)) { (node) }
                (lane_of(lane, &x, y))
                @for stall in &lanes.stalls { (over(stall, &x, y, "paused", "the machine stood still")) }
            }
            @for (row, (check, finding)) in findings.iter().enumerate() {
                @let y = bottom + FINDING * rows(row) + 2.0;
                @let (from, to) = (x(finding.from_ns), x(finding.to_ns));
                rect class="finding" x=(px(from)) y=(px(y)) height=(px(FINDING - 4.0))
                    width=(px((to - from).max(2.0))) rx="2" {
                    title { (check) ": " (finding.sentence) }
                }
            }
        }
    }
}

fn lane_of(lane: &Lane, x: &impl Fn(u64) -> f64, y: f64) -> Markup {
    let bar = |span: &Span<(State, u64)>| {
        let (state, term) = span.what;
        let (from, to) = (x(span.from_ns), x(span.to_ns));
        let shown = state == State::Leader && to - from > 24.0;
        html! {
            rect class=(format!("state {}", class(state))) x=(px(from)) y=(px(y))
                width=(px((to - from).max(0.5))) height=(px(LANE)) {
                title {
                    (state.name()) ", term " (term) ", "
                    (format!("{:.3} to {:.3} s", seconds(span.from_ns), seconds(span.to_ns)))
                }
            }
            @if shown {
                text class="term" x=(px(from + 4.0)) y=(px(y + LANE * 0.65)) { (term) }
            }
        }
    };
    html! {
        @for span in &lane.states { (bar(span)) }
        @for span in &lane.paused { (over(span, x, y, "paused", "paused")) }
        @for span in &lane.cut { (over(span, x, y, "cut", "cut off from a majority")) }
    }
}

fn over(span: &Span<()>, x: &impl Fn(u64) -> f64, y: f64, class: &str, what: &str) -> Markup {
    let (from, to) = (x(span.from_ns), x(span.to_ns));
    html! {
        rect class=(class) x=(px(from)) y=(px(y)) width=(px((to - from).max(0.0))) height=(px(LANE)) {
            title { (what) }
        }
    }
}

fn marks(lanes: &Lanes, x: &impl Fn(u64) -> f64, top: f64, bottom: f64) -> Markup {
    // Each label takes the first row whose last label has ended.
    let mut ends = [f64::NEG_INFINITY; MARK_ROWS];
    let placed = lanes.marks.iter().map(|mark| {
        let at = x(mark.at_ns);
        let row = ends.iter().position(|end| *end < at);
        if let Some(row) = row {
            let letters = u32::try_from(mark.label.len()).unwrap_or(u32::MAX);
            ends[row] = at + LETTER * f64::from(letters) + 9.0;
        }
        (mark, at, row)
    });
    html! {
        @for (mark, at, row) in placed {
            line class="mark" x1=(px(at)) x2=(px(at)) y2=(px(bottom))
                y1=(px(row.map_or(top, |row| MARK * (rows(row) + 0.4)))) {
                title { (format!("{:.3} s ", seconds(mark.at_ns))) (mark.label) ": " (mark.detail) }
            }
            @if let Some(row) = row {
                text class="label" x=(px(at + 3.0)) y=(px(MARK * (rows(row) + 1.0))) { (mark.label) }
            }
        }
    }
}

/// The class of a state in the style sheet.
pub(super) fn class(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Starting => "starting",
        State::Looking => "looking",
        State::Follower => "follower",
        State::Candidate => "candidate",
        State::Prospective => "prospective",
        State::Leader => "leader",
    }
}

/// A distance between the marks of the axis that a person can count with.
fn tick(end_s: f64) -> f64 {
    [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0]
        .into_iter()
        .find(|step| end_s / step <= 16.0)
        .unwrap_or(3600.0)
}

/// A time on the axis, without the noise of binary fractions.
fn axis(seconds: f64) -> String {
    let text = format!("{seconds:.1}");
    format!("{} s", text.strip_suffix(".0").unwrap_or(&text))
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

fn rows(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
