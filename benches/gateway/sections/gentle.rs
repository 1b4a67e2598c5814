//! A rate at which there is nothing to batch: the price of a delivery, and how long the first and the last client wait.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work};
use crate::floor::Sends;
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "gentle",
    about: "100 messages a second, 64 B, raw; latency counts from when a message was due",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let load = Load::Paced { per_second: 100, seconds: effort.seconds(10.0) };
    let case = |clients| {
        let servers = vec![Server::gateway(&[]), Server::floor(Sends::Message)];
        let case = Case::new(Work::new(load, clients), servers);
        let case = if clients == 100 { case.with_peers() } else { case };
        [
            Figure::CpuPerDelivery,
            Figure::FirstP50,
            Figure::FirstP99,
            Figure::LastP50,
            Figure::LastP99,
        ]
        .into_iter()
        .fold(case, |case, figure| case.within(figure, 1.10))
    };
    [100, 1_000].map(case).into()
}
