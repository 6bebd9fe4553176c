//! What a suite measured, as one SVG that needs nothing but itself: one row per cell, one panel per
//! figure, a bar from the least to the most and a dot at the median (of elections, the mean).

use maud::{Markup, html};

use crate::suite::{CellFigures, FIGURES};

const ROW: f64 = 17.0;
const TOP: f64 = 40.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 28.0;
/// The width of a letter of a label, about.
const LETTER: f64 = 6.3;

const STYLE: &str = "text { font: 11px sans-serif; fill: #222 } .head { font-weight: bold } \
    .axis { fill: #666; text-anchor: middle } .grid { stroke: #ddd } .stripe { fill: #f6f6f6 } \
    .range { stroke: #9dbbe0; stroke-width: 6; stroke-linecap: round } .dot { fill: #1c4f8f } \
    .share { fill: #c9743a }";

/// One panel: its title, and for each row the least, the dot and the most.
struct Panel {
    title: String,
    rows: Vec<Option<(f64, f64, f64)>>,
    share: bool,
}

pub(crate) fn plot(cells: &[CellFigures]) -> String {
    let panels = panels(cells);
    let letters = cells.iter().map(|cell| cell.cell.chars().count()).max().unwrap_or(0);
    let left = number(letters) * LETTER + 16.0;
    let width = left + number(panels.len()) * (PANEL + GAP);
    let bottom = TOP + ROW * number(cells.len());
    let markup = html! {
        svg xmlns="http://www.w3.org/2000/svg"
            viewBox=(format!("0 0 {width:.0} {:.0}", bottom + 24.0)) role="img" {
            style { (STYLE) }
            rect width="100%" height="100%" fill="#fff" {}
            @for (row, cell) in cells.iter().enumerate() {
                @let y = TOP + ROW * number(row);
                @if row % 2 == 0 {
                    rect class="stripe" x="0" y=(px(y)) width=(px(width)) height=(px(ROW)) {}
                }
                text x="8" y=(px(y + 12.0)) { (cell.cell) }
            }
            @for (place, panel) in panels.iter().enumerate() {
                (panel.draw(left + number(place) * (PANEL + GAP), bottom))
            }
        }
    };
    markup.into_string()
}

/// A panel for each figure that some cell has, and for each check that warned.
fn panels(cells: &[CellFigures]) -> Vec<Panel> {
    let figures = FIGURES.iter().map(|(name, _)| {
        let row = |cell: &CellFigures| {
            let it = cell.figures.get(name)?;
            let dot = if *name == "elections" { it.mean } else { it.median };
            Some((it.min, dot, it.max))
        };
        Panel { title: (*name).to_owned(), rows: cells.iter().map(row).collect(), share: false }
    });
    let mut checks: Vec<_> = cells.iter().flat_map(|cell| cell.warned.keys()).collect();
    checks.sort();
    checks.dedup();
    let warned = checks.into_iter().map(|check| {
        let row = |cell: &CellFigures| {
            let runs = cell.warned.get(check).copied().unwrap_or(0);
            let share = 100.0 * number(runs) / number(cell.runs.max(1));
            (runs > 0).then_some((0.0, share, share))
        };
        let title = format!("{check}: % of runs warned");
        Panel { title, rows: cells.iter().map(row).collect(), share: true }
    });
    let any = |panel: &Panel| panel.rows.iter().any(Option::is_some);
    figures.chain(warned).filter(any).collect()
}

impl Panel {
    fn draw(&self, left: f64, bottom: f64) -> Markup {
        let most = self.rows.iter().flatten().map(|row| row.2).fold(0.0, f64::max).max(1e-9);
        let most = if self.share { 100.0 } else { most };
        let step = tick(most);
        let ticks = (0..).map(|n| f64::from(n) * step).take_while(|at| *at <= most);
        let x = |value: f64| left + PANEL * value / most;
        html! {
            text class="head" x=(px(left)) y="18" { (self.title) }
            @for at in ticks {
                line class="grid" x1=(px(x(at))) x2=(px(x(at))) y1=(px(TOP)) y2=(px(bottom)) {}
                text class="axis" x=(px(x(at))) y=(px(bottom + 14.0)) { (at) }
            }
            @for (row, values) in self.rows.iter().enumerate() {
                @if let Some((min, dot, max)) = values {
                    @let y = px(TOP + ROW * (number(row) + 0.5));
                    @if self.share {
                        rect class="share" x=(px(left)) y=(px(TOP + ROW * number(row) + 3.0))
                            width=(px(x(*dot) - left)) height=(px(ROW - 6.0)) {}
                    } @else {
                        line class="range" x1=(px(x(*min))) x2=(px(x(*max))) y1=(y) y2=(y) {}
                        circle class="dot" cx=(px(x(*dot))) cy=(y) r="4" {}
                    }
                }
            }
        }
    }
}

/// A distance between the marks of an axis that a person can count with: 1, 2 or 5 times a power of ten.
fn tick(most: f64) -> f64 {
    let power = 10_f64.powf((most / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|it| it * power)
        .find(|it| most / it <= 5.0)
        .unwrap_or(most)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{plot, tick};
    use crate::suite::CellFigures;

    #[test]
    fn marks_are_round_and_few() {
        for (most, step) in [(1.0, 0.2), (4.0, 1.0), (23.0, 5.0), (900.0, 200.0)] {
            assert!((tick(most) - step).abs() < 1e-9, "{most}: {}", tick(most));
        }
    }

    #[test]
    fn a_cell_without_figures_has_a_row_and_no_panel() {
        let svg = plot(&[CellFigures::of("a<b", &[])]);
        assert!(svg.contains("a&lt;b") && !svg.contains("class=\"head\""), "{svg}");
    }
}
