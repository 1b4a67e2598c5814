//! The price of a newcomer: accepted, upgraded, and nothing sent.

use super::{Effort, Section, gateway_and_batches};
use crate::case::{Case, Figure, Load, Work};

pub(super) const SECTION: Section = Section {
    name: "handshakes",
    about: "clients connect and are upgraded, up to 100 at once",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let clients = if effort.is_quick { 2_000 } else { 5_000 };
    let case = Case::new(Work::new(Load::Handshakes, clients), gateway_and_batches());
    vec![case.with_peers().within(Figure::CpuPerHandshake, 1.15)]
}
