//! Messages that are larger than any buffer on the way: they are in memory once, and nobody waits for who is slow.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work};
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "large",
    about: "messages of 1 MiB to 200 clients: two a second, and two at once of which one client reads 0.4 MB/s",
    cases,
    chart: None,
};

/// Both of the messages that are under way, in the feed and in ZeroMQ, and four more: far from 200.
const GROWTH_KIB: f64 = 8.0 * 1024.0;

fn cases(effort: Effort) -> Vec<Case> {
    let gateway = || vec![Server::gateway(&["--max-lag", "8MiB"])];
    let work = |load| Work { body_bytes: 1 << 20, ..Work::new(load, 200) };
    let paced = Load::Paced { per_second: 2, seconds: effort.seconds(12.0) };
    let paced = Case::new(work(paced), gateway()).titled("1 MiB, two a second".into());
    let one = Case::new(work(Load::Overtaking), gateway()).titled("1 MiB, one client slow".into());
    vec![
        paced.at_most(Figure::MemoryGrowth, GROWTH_KIB),
        one.at_most(Figure::Overtaking, 1.0).at_most(Figure::MemoryGrowth, GROWTH_KIB),
    ]
}
