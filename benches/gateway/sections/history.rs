//! What it costs to keep messages for clients that come back, while none does.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work, grouped};

pub(super) const SECTION: Section = Section {
    name: "history",
    about: "flat out with --history 1000 beside --history 0: a message is kept once, however many clients get it",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let load = Load::FlatOut { seconds: effort.seconds(2.0) };
    let case = |(body_bytes, clients)| {
        let work = Work { body_bytes, ..Work::new(load, clients) };
        let case = Case::with_and_without(work, &["--history", "1000"], &["--history", "0"]);
        let title = format!("{} B, {} clients", grouped(body_bytes), grouped(clients));
        case.titled(title).within(Figure::CpuPerDelivery, 1.05)
    };
    [(64, 100), (64, 1_000), (1024, 100), (1024, 1_000)].map(case).into()
}
