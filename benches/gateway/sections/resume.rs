//! Very many clients that come back at once and get what they missed: what it takes, and what others notice of it.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work, grouped};
use crate::resume::HISTORY;

pub(super) const SECTION: Section = Section {
    name: "resume",
    about: "100 clients get 100 messages a second in json, 10,000 come back at once, each of whom missed 1,000",
    cases,
    chart: None,
};

/// The clients themselves, and a piece of what is sent to each that cannot take more: far from 1,000 messages each.
const GROWTH_KIB: f64 = 16.0 * 1024.0;

fn cases(effort: Effort) -> Vec<Case> {
    let returning = if effort.is_quick { 1_000 } else { effort.clients_max().min(10_000) };
    let work = |returning| Work::new(Load::Resume { returning }, 100);
    let flags = ["--format", "json", "--history", HISTORY];
    let case = Case::beside_itself(&flags, ("resumed", work(returning)), ("not resumed", work(0)));
    let title = format!("{} come back", grouped(returning));
    let case = Case { suffix_bytes: "\"}".len(), ..case.titled(title) };
    vec![case.at_most(Figure::MemoryGrowth, GROWTH_KIB)]
}
