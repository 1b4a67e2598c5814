//! What several gateways behind a proxy cost: three on one port, compared with one that has all the clients.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work};
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "machines",
    about: "three gateways behind a proxy beside one: each takes in and encodes everything, for a third of the clients",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let case = |title: &str, load| {
        let work = Work::new(load, 300);
        let servers = vec![Server::BehindProxy { gateways: 3 }, Server::gateway(&[])];
        Case::new(work, servers).titled(title.to_owned())
    };
    let paced = Load::Paced { per_second: 100, seconds: effort.seconds(4.0) };
    vec![
        case("300 clients, 100 messages/s", paced).within(Figure::CpuPerDelivery, 1.2),
        case("300 clients, flat out", Load::FlatOut { seconds: effort.seconds(4.0) }),
    ]
}
