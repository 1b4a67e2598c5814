//! The gateway inside a host that answers requests of its own on the same port, beside the command that does nothing else.

use super::{Effort, Section, flat};
use crate::case::{Case, Figure, Load, Work};
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "embedded",
    about: "in a host that answers 1,000 requests a second on the same port and core, beside the command alone; the host's \
            own threads are not counted",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let paced = Load::Paced { per_second: 100, seconds: effort.seconds(8.0) };
    let works = [
        ("100 clients, 100 messages/s", Work::new(paced, 100)),
        ("1,000 clients, 100 messages/s", Work::new(paced, 1_000)),
        ("1,000 clients, flat out", flat::work(effort, 1_000)),
    ];
    let case = |(title, work): (&str, Work)| {
        let case = Case::new(work, vec![Server::Embedded, Server::gateway(&[])]);
        let case = case.titled(title.to_owned());
        case.within(Figure::CpuPerDelivery, 1.05).within(Figure::ThreadCpuPerDelivery, 1.05)
    };
    works.map(case).into()
}
