//! The formats that are not raw, flat out. The floor sends frames of the same size, which it need not make.

use super::{Effort, Section};
use crate::case::{Case, Figure, Load};
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
    let load = Load::FlatOut { seconds: effort.seconds(2.0) };
    let sizes = |(format, suffix)| [64, 1024].map(|bytes| (format, suffix, bytes));
    let case = |(format, suffix_bytes, bytes)| {
        let servers = vec![Server::gateway(&["--format", format]), Server::floor(Sends::Batch)];
        let case = Case::new(load, 1_000, servers).body(bytes);
        let title = format!("{format}, {}", case.title);
        let case = Case { title, has_topic: true, suffix_bytes, ..case };
        case.within(Figure::CpuPerDelivery, 1.15)
    };
    FORMATS.into_iter().flat_map(sizes).map(case).collect()
}
