//! How the price of a delivery changes with the number of clients and with the rate.

use super::{Chart, Effort, Section, flat, gateway_and_batches};
use crate::case::{Case, Figure, Load, Work, grouped};
use crate::floor::Sends;
use crate::server::Server;

pub(super) const CLIENTS: Section = Section {
    name: "growth",
    about: "flat out, 64 B, raw, over the number of clients",
    cases: over_clients,
    chart: Some(Chart {
        title: "CPU per delivery, flat out, 64 B",
        x_label: "clients",
        figure: Figure::CpuPerDelivery,
    }),
};

pub(super) const RATES: Section = Section {
    name: "rates",
    about: "1,000 clients, 64 B, raw, over messages a second; in the chart at the rate that was reached",
    cases: over_rates,
    chart: Some(Chart {
        title: "CPU per delivery, 1,000 clients, 64 B",
        x_label: "messages a second",
        figure: Figure::CpuPerDelivery,
    }),
};

fn over_clients(effort: Effort) -> Vec<Case> {
    let most = effort.clients_max();
    let mut counts = vec![10, 30, 100, 300, 1_000, 3_000, 10_000];
    counts.retain(|&count| count < most);
    counts.push(most);
    let case = |clients| Case::new(flat::work(effort, clients), gateway_and_batches());
    counts.into_iter().map(case).collect()
}

fn over_rates(effort: Effort) -> Vec<Case> {
    let servers = || {
        let mut servers = gateway_and_batches();
        servers.push(Server::floor(Sends::Message));
        servers
    };
    let seconds = effort.seconds(4.0);
    let paced = |per_second: u32| {
        let load = Load::Paced { per_second, seconds };
        let title = format!("{} messages/s", grouped(per_second as usize));
        Case::new(Work::new(load, 1_000), servers()).over_rates(title)
    };
    let flat = Case::new(flat::work(effort, 1_000), gateway_and_batches());
    let flat = flat.over_rates("flat out".into());
    [10, 100, 1_000, 10_000].map(paced).into_iter().chain([flat]).collect()
}
