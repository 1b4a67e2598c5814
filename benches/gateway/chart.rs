//! Draws one figure of all servers over a section's cases, as SVG. Knows nothing of how figures come about.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::case::{Figure, grouped};
use crate::report::{CaseReport, Row};
use crate::sections::Chart;
use crate::stats::short;

/// Of the lines, told apart by those who see few colours too.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(128, 128, 128),
    RGBColor(230, 159, 0),
    RGBColor(0, 128, 96),
    RGBColor(128, 0, 128),
];

/// A server's name, and its figure over x.
type Line = (String, Vec<(f64, f64)>);

pub(crate) fn draw(path: &Path, chart: &Chart, cases: &[CaseReport]) -> Result<()> {
    let lines = lines(chart, cases);
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (Some(x), Some(y)) = (range(points().map(|it| it.0)), decades(points().map(|it| it.1)))
    else {
        return Ok(()); // Nothing valid came of it; the table says why.
    };
    let root = SVGBackend::new(path, (900, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut context = ChartBuilder::on(&root)
        .caption(chart.title, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    context
        .configure_mesh()
        .x_desc(chart.x_label)
        .y_desc(chart.figure.label())
        .x_label_formatter(&|x| grouped(x.round() as usize))
        .y_label_formatter(&|y| short(*y))
        .light_line_style(BLACK.mix(0.05))
        .draw()?;
    for ((name, points), colour) in lines.into_iter().zip(COLOURS.into_iter().cycle()) {
        let style = colour.stroke_width(2);
        context.draw_series(points.iter().map(|&at| Circle::new(at, 3, colour.filled())))?;
        context
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    Ok(root.present()?)
}

fn lines(chart: &Chart, cases: &[CaseReport]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for case in cases {
        for row in case.rows.iter().filter(|row| row.figure == chart.figure) {
            let Some(x) = place(case, &row.server) else { continue };
            let at = (x, row.value.median);
            match lines.iter_mut().find(|(name, _)| *name == row.server) {
                Some((_, points)) => points.push(at),
                None => lines.push((row.server.clone(), vec![at])),
            }
        }
    }
    lines
}

/// Where a server's figure of the case stands.
fn place(case: &CaseReport, server: &str) -> Option<f64> {
    let is_rate = |row: &&Row| row.figure == Figure::MessageRate && row.server == server;
    case.x.or_else(|| Some(case.rows.iter().find(is_rate)?.value.median))
}

fn range(values: impl Iterator<Item = f64> + Clone) -> Option<std::ops::Range<f64>> {
    let min = values.clone().min_by(f64::total_cmp)?;
    let max = values.max_by(f64::total_cmp)?;
    Some(min / 1.2..max * 1.2)
}

/// Whole powers of ten around `values`: an axis has names for these only.
fn decades(values: impl Iterator<Item = f64> + Clone) -> Option<std::ops::Range<f64>> {
    let range = range(values)?;
    let power = |log: f64| 10f64.powf(log);
    Some(power(range.start.log10().floor())..power(range.end.log10().ceil()))
}
