//! The memory of clients to whom nothing is sent.

use super::{Effort, Section, gateway_and_batches};
use crate::case::{Case, Figure, Load};

pub(super) const SECTION: Section = Section {
    name: "idle",
    about: "proportional set size of the server, before and after clients have connected",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let mut counts = vec![10_000, effort.clients_max()];
    counts.retain(|&count| count <= effort.clients_max());
    counts.dedup();
    let case = |clients| {
        let case = Case::new(Load::Idle, clients, gateway_and_batches());
        case.at_most(Figure::MemoryPerClient, 300.0)
    };
    counts.into_iter().map(case).collect()
}
