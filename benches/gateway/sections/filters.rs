//! The price of finding who wants a message: it must not grow with those who do not.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work, grouped};

pub(super) const SECTION: Section = Section {
    name: "filters",
    about: "each client has a filter of its own, one message at a time to one client, 10,000 topics",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let seconds = effort.seconds(2.0);
    let work = |clients, receivers| Work::new(Load::OneByOne { receivers, seconds }, clients);
    let beside_itself = |name: &str, all, other: &str, few| {
        Case::beside_itself(&[], (name, all), (other, few)).titled(name.to_owned())
    };
    let name = |others: usize| format!("{} filters, 10 of them match", grouped(10 + others));
    let others = [90, 990].map(|others| {
        beside_itself(&name(others), work(10 + others, 10), "10 filters", work(10, 10))
    });
    let most = effort.clients_max().min(19_000);
    let name = format!("{} filters, each in turn", grouped(most));
    let all = beside_itself(&name, work(most, most), "1 filter", work(1, 1));
    others.into_iter().chain([all.within(Figure::CpuPerDelivery, 2.0)]).collect()
}
