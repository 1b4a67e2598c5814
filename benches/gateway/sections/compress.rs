//! Deflated messages beside plain ones: one compression for all against fewer bytes for each.

use super::{Effort, Section, flat};
use crate::case::{Case, Load, Work, grouped};
use crate::transport::Transport;

pub(super) const SECTION: Section = Section {
    name: "compress",
    about: "messages of 1 KiB, deflated beside plain, to few and many clients",
    cases,
    chart: None,
};

fn cases(effort: Effort) -> Vec<Case> {
    let gentle = Load::Paced { per_second: 100, seconds: effort.seconds(4.0) };
    let flat_out = [10, 100, 1_000].map(|clients| ("flat out", flat::work(effort, clients)));
    let works = flat_out.into_iter().chain([("100/s", Work::new(gentle, 1_000))]);
    let case = |(load, work): (&str, Work)| {
        let plain = Work { body_bytes: 1024, ..work };
        let deflated = Work { transport: Transport::Deflated, ..plain };
        let case = Case::beside_itself(&["--compress"], ("deflated", deflated), ("plain", plain));
        case.titled(format!("1024 B, {load}, {} clients", grouped(work.clients)))
    };
    works.map(case).collect()
}
