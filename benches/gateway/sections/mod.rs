//! What can be measured. A section is a file here and a line in [`SECTIONS`].

mod coalesce;
mod compress;
mod embedded;
mod fairness;
mod filters;
mod flat;
mod formats;
mod gentle;
mod growth;
mod handshakes;
mod history;
mod idle;
mod large;
mod machines;
mod resume;
mod sse;
mod stalled;

use crate::case::{Case, Figure};
use crate::floor::Sends;
use crate::server::Server;

/// One question, and the cases that answer it.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cases: fn(Effort) -> Vec<Case>,
    /// Drawn over the cases' `x`, when there is something to see.
    pub(crate) chart: Option<Chart>,
}

/// A figure of each server, both axes logarithmic.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x_label: &'static str,
    pub(crate) figure: Figure,
}

/// How much work a section may make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) is_quick: bool,
    /// How many descriptors a process may have.
    pub(crate) descriptors: usize,
}

impl Effort {
    /// Seconds of load in a run.
    pub(crate) fn seconds(self, seconds: f64) -> f64 {
        if self.is_quick { seconds / 4.0 } else { seconds }
    }

    /// As many clients as a server has descriptors for, which keeps some for itself.
    pub(crate) fn clients_max(self) -> usize {
        self.descriptors.saturating_sub(500).min(100_000)
    }
}

/// Every section, in the order in which they run.
pub(crate) const SECTIONS: &[Section] = &[
    flat::SECTION,
    formats::SECTION,
    sse::SECTION,
    gentle::SECTION,
    coalesce::SECTION,
    compress::SECTION,
    handshakes::SECTION,
    history::SECTION,
    resume::SECTION,
    idle::SECTION,
    filters::SECTION,
    large::SECTION,
    fairness::SECTION,
    stalled::SECTION,
    machines::SECTION,
    embedded::SECTION,
    growth::CLIENTS,
    growth::RATES,
];

/// The gateway with its defaults, and the floor that sends once for all that it could receive.
fn gateway_and_batches() -> Vec<Server> {
    vec![Server::gateway(&[]), Server::floor(Sends::Batch)]
}
