//! As many messages as can be taken, raw: the price of a delivery when there is always something to batch.

use super::{Effort, Section, gateway_and_batches};
use crate::case::{Case, Figure, Load};
use crate::floor::Sends;
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "flat",
    about: "flat out, raw, one topic: the publisher waits for the slowest client within a window",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let load = Load::FlatOut { seconds: effort.seconds(2.0) };
    let sizes = [64, 1024].into_iter();
    sizes
        .flat_map(|bytes| [100, 1_000, 10_000].map(|clients| (bytes, clients)))
        .map(|(bytes, clients)| {
            let mut servers = gateway_and_batches();
            servers.push(Server::floor(Sends::Message));
            Case::new(load, clients, servers).body(bytes).within(Figure::CpuPerDelivery, 1.15)
        })
        .collect()
}
