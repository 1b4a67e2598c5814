//! Clients that never read, among many who do: nobody waits for them, and memory stays within bounds.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work};

pub(super) const SECTION: Section = Section {
    name: "stalled",
    about: "1,000 clients, 10 messages of 16 KiB a second, 1 % of them never read",
    cases,
    chart: None,
};

/// How far a client may lag, and what is granted beyond it, above what grows without stalled clients too: history.
const LAG_KIB: f64 = 1024.0;
const SLACK_KIB: f64 = 1024.0;

fn cases(effort: Effort) -> Vec<Case> {
    // Long enough that what a stalled client is owed fills the kernel's buffers, and more.
    let load = Load::Paced { per_second: 10, seconds: effort.seconds(25.0) };
    let none = Work { body_bytes: 16 << 10, ..Work::new(load, 1_000) };
    let some = Work { stalled: 10, ..none };
    let case = Case::beside_itself(&[], ("10 stalled", some), ("none stalled", none));
    let case = case.within(Figure::FirstP99, 1.10).within(Figure::LastP99, 1.10);
    vec![case.at_most_above(Figure::MemoryGrowth, LAG_KIB + SLACK_KIB)]
}
