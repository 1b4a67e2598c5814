//! As many messages as can be taken, raw: the price of a delivery when there is always something to batch.

use super::{Effort, Section, gateway_and_batches};
use crate::case::{Case, Figure, Load, Work};
use crate::floor::Sends;
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "flat",
    about: "flat out, raw, one topic: the publisher waits for the slowest client within a window",
    cases,
    chart: None,
};

/// More clients than these take the floor that sends once per message 8 s and more for each window.
const CLIENTS_OF_SINGLE_SENDS: usize = 100;

/// The work itself, for whatever chart it is a point in.
pub(super) fn work(effort: Effort, clients: usize) -> Work {
    Work::new(Load::FlatOut { seconds: effort.seconds(2.0) }, clients)
}

fn cases(effort: Effort) -> Vec<Case> {
    let sizes = [64, 1024].into_iter();
    sizes
        .flat_map(|bytes| [100, 1_000, 10_000].map(|clients| (bytes, clients)))
        .map(|(body_bytes, clients)| {
            let mut servers = gateway_and_batches();
            if clients <= CLIENTS_OF_SINGLE_SENDS {
                servers.push(Server::floor(Sends::Message));
            }
            let case = Case::new(Work { body_bytes, ..work(effort, clients) }, servers);
            let title = format!("{body_bytes} B, {}", case.title);
            let case = case.titled(title).within(Figure::CpuPerDelivery, 1.15);
            match (body_bytes, clients) {
                (64, 100 | 1_000) | (1024, 1_000) => case.with_peers(),
                _ => case,
            }
        })
        .collect()
}
