//! The formats that are not raw, flat out. The floor sends frames of the same size, which it need not make.

use super::{Effort, Section, flat};
use crate::case::{Case, Figure, Work};
use crate::floor::Sends;
use crate::server::Server;

pub(super) const SECTION: Section = Section {
    name: "formats",
    about: "flat out in json and parts, 1,000 clients: a message is encoded once, whatever its format",
    cases,
    chart: None,
};

/// Formats, and what follows the body in each.
const FORMATS: [(&str, usize); 2] = [("json", "\"}".len()), ("parts", 0)];

fn cases(effort: Effort) -> Vec<Case> {
    let sizes = |(format, suffix)| [64, 1024].map(|bytes| (format, suffix, bytes));
    let case = |(format, suffix_bytes, body_bytes)| {
        let servers = vec![Server::gateway(&["--format", format]), Server::floor(Sends::Batch)];
        let case = Case::new(Work { body_bytes, ..flat::work(effort, 1_000) }, servers);
        let title = format!("{format}, {body_bytes} B, {}", case.title);
        let case = Case { title, suffix_bytes, ..case };
        case.within(Figure::CpuPerDelivery, 1.15)
    };
    FORMATS.into_iter().flat_map(sizes).map(case).collect()
}
