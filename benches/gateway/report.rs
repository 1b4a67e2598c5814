//! What is left of a bench: a table for people and JSON for programs. Knows nothing of how figures come about.

use std::fmt::Write as _;

use serde::Serialize;

use crate::case::{Case, Figure, Limit, Load, Work};
use crate::drive::Figures;
use crate::stats::{Spread, short};

/// The place of the contender that others are compared with.
const BASELINE: usize = 1;

/// What one contender did in all rounds of a case.
pub(crate) struct Results {
    pub(crate) name: String,
    /// One for each round that it took part in; an error says why a run is invalid.
    pub(crate) rounds: Vec<Result<Figures, String>>,
}

/// Everything about one case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) title: String,
    pub(crate) x: Option<f64>,
    pub(crate) work: Work,
    pub(crate) rows: Vec<Row>,
    pub(crate) invalid: Vec<Invalid>,
}

/// One figure of one server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: Figure,
    pub(crate) server: String,
    pub(crate) value: Spread,
    /// To the baseline, of runs in the same round.
    pub(crate) ratio: Option<Spread>,
    pub(crate) target: Option<Limit>,
    pub(crate) reached: Option<bool>,
}

/// A run that counts for nothing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Invalid {
    server: String,
    round: usize,
    reason: String,
}

impl CaseReport {
    pub(crate) fn new(case: &Case, results: &[Results]) -> Self {
        let mut figures: Vec<Figure> = results
            .iter()
            .flat_map(|it| it.rounds.iter().flatten())
            .flat_map(|figures| figures.keys().copied())
            .collect();
        figures.sort_unstable();
        figures.dedup();
        let row = |figure, index| row(case, figure, results, index);
        let rows = figures
            .iter()
            .flat_map(|&figure| (0..results.len()).filter_map(move |index| row(figure, index)));
        let invalid = results.iter().flat_map(|it| {
            let of_round = |(round, result): (usize, &Result<Figures, String>)| {
                let reason = result.as_ref().err()?.clone();
                Some(Invalid { server: it.name.clone(), round: round + 1, reason })
            };
            it.rounds.iter().enumerate().filter_map(of_round).collect::<Vec<_>>()
        });
        Self {
            title: case.title.clone(),
            x: case.x,
            work: case.work,
            rows: rows.collect(),
            invalid: invalid.collect(),
        }
    }
}

fn row(case: &Case, figure: Figure, results: &[Results], index: usize) -> Option<Row> {
    let of = |result: &Result<Figures, String>| result.as_ref().ok()?.get(&figure).copied();
    let own = &results[index].rounds;
    let baseline = results.get(BASELINE).map_or(&[][..], |it| &it.rounds);
    let ratio = |(own, base)| Some(of(own)? / of(base)?).filter(|ratio| ratio.is_finite());
    let ratio = (index != BASELINE)
        .then(|| Spread::of(own.iter().zip(baseline).filter_map(ratio)))
        .flatten();
    let excess = |(own, base)| Some(of(own)? - of(base)?);
    let excess = Spread::of(own.iter().zip(baseline).filter_map(excess));
    let value = Spread::of(own.iter().filter_map(of))?;
    let target = if index == 0 { case.target(figure) } else { None };
    let is_valid = own.iter().all(Result::is_ok);
    let reached = target.map(|limit| match limit {
        Limit::Ratio(limit) => is_valid && ratio.as_ref().is_some_and(|it| it.median <= limit),
        Limit::Value(limit) => is_valid && value.median <= limit,
        Limit::Above(limit) => is_valid && excess.as_ref().is_some_and(|it| it.median <= limit),
    });
    Some(Row { figure, server: results[index].name.clone(), value, ratio, target, reached })
}

/// Whether the table has it; the JSON has also what explains others.
fn is_shown(figure: Figure, case: &CaseReport) -> bool {
    let is_paced = matches!(case.work.load, Load::Paced { .. });
    match figure {
        Figure::DeliveriesPerRead | Figure::RateKept | Figure::CpuShare | Figure::FrameBytes => {
            false
        }
        // It shows who could not follow.
        Figure::MessageRate => is_paced,
        Figure::Deliveries => !is_paced,
        Figure::MemoryGrowth | Figure::ThreadCpuPerDelivery => {
            case.rows.iter().any(|row| row.figure == figure && row.target.is_some())
        }
        _ => true,
    }
}

/// The cases of one section as lines of text.
pub(crate) fn table(cases: &[CaseReport]) -> String {
    let mut lines = vec![
        ["case", "figure", "server", "median", "min – max", "× base", "target", ""]
            .map(str::to_owned),
    ];
    let mut invalid = String::new();
    for case in cases {
        let mut last = (None, None);
        for row in case.rows.iter().filter(|row| is_shown(row.figure, case)) {
            let is_new = (last.0 != Some(&case.title), last.1 != Some(row.figure));
            last = (Some(&case.title), Some(row.figure));
            let target = row.target.map(|limit| match limit {
                Limit::Ratio(ratio) => format!("≤ {ratio:.2} ×"),
                Limit::Value(value) => format!("≤ {}", short(value)),
                Limit::Above(value) => format!("≤ {} above", short(value)),
            });
            let reached = row.reached.map(|is_so| if is_so { "reached" } else { "MISSED" });
            lines.push([
                if is_new.0 { case.title.clone() } else { String::new() },
                if is_new.1 { row.figure.label().to_owned() } else { String::new() },
                row.server.clone(),
                short(row.value.median),
                format!("{} – {}", short(row.value.min), short(row.value.max)),
                row.ratio.as_ref().map(|ratio| format!("{:.2}", ratio.median)).unwrap_or_default(),
                target.unwrap_or_default(),
                reached.unwrap_or_default().to_owned(),
            ]);
        }
        for Invalid { server, round, reason } in &case.invalid {
            let _ = writeln!(invalid, "INVALID  {}, {server}, round {round}: {reason}", case.title);
        }
    }
    aligned(&lines) + &invalid
}

fn aligned(lines: &[[String; 8]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; 8] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let is_number = (3..=5).contains(&column);
            let _ = if is_number {
                write!(row, "{cell:>width$}  ")
            } else {
                write!(row, "{cell:<width$}  ")
            };
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}
