//! What waiting for more messages saves: the gateway with `--coalesce`, compared with itself without.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work, grouped};

pub(super) const SECTION: Section = Section {
    name: "coalesce",
    about: "--coalesce 5ms beside 0: half the CPU, and no more than the 5 ms later",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let case = |clients, per_second: u32| {
        let work = Work::new(Load::Paced { per_second, seconds: effort.seconds(4.0) }, clients);
        let case = Case::with_and_without(work, &["--coalesce", "5ms"], &["--coalesce", "0"]);
        let title = format!("{}, {} messages/s", case.title, grouped(per_second as usize));
        case.titled(title)
    };
    let target = case(100, 2_000)
        .within(Figure::CpuPerDelivery, 0.5)
        .at_most_above(Figure::FirstP50, 5_000.0)
        .at_most_above(Figure::LastP50, 5_000.0);
    // More clients than a turn serves, at a rate that both can keep; there is less to gather.
    vec![target, case(300, 500)]
}
