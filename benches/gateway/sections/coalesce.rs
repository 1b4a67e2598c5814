//! What waiting for more messages saves: the gateway with `--coalesce` first, and the one that sends at once as the
//! baseline.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, grouped};
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "coalesce",
    about: "--coalesce 5ms, the first of the two, beside 0: half the CPU, and no more than the 5 ms later",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let case = |clients, per_second: u32| {
        let load = Load::Paced { per_second, seconds: effort.seconds(4.0) };
        let servers = vec![Server::gateway(&["--coalesce", "5ms"]), Server::gateway(&[])];
        let case = Case::new(load, clients, servers);
        let title = format!("{}, {} messages/s", case.title, grouped(per_second as usize));
        Case { title, ..case }
    };
    let target = case(100, 2_000)
        .within(Figure::CpuPerDelivery, 0.5)
        .at_most(Figure::FirstP50, 5_000.0)
        .at_most(Figure::LastP50, 5_000.0);
    // More clients than a turn serves, at a rate that both can keep; there is less to gather.
    vec![target, case(300, 500)]
}
