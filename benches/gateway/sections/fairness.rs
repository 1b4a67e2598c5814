//! Ten clients of a quiet feed and newcomers, while very many others are served flat out.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load, Work};

pub(super) const SECTION: Section = Section {
    name: "fairness",
    about: "10 clients get 10 messages a second and newcomers knock, beside 10,000 who are served flat out, and alone",
    cases,
    chart: None,
};

/// What a newcomer may wait, µs.
const NEWCOMER_MICROS: f64 = 50_000.0;

fn cases(effort: Effort) -> Vec<Case> {
    let load = Load::Fairness { seconds: effort.seconds(20.0) };
    let loud = effort.clients_max().min(10_000);
    let crowd = ("beside many", Work::new(load, loud));
    let case = Case::beside_itself(&[], crowd, ("alone", Work::new(load, 0)));
    let case = case.within(Figure::LastP99, 3.0);
    vec![
        case.at_most(Figure::HandshakeP99, NEWCOMER_MICROS)
            .at_most(Figure::HealthP99, NEWCOMER_MICROS),
    ]
}
