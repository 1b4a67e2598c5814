//! Event streams beside WebSockets: the bytes are shared alike, so a client costs the same.

use super::{Effort, Section, flat};
use crate::case::{Case, Figure, Load, Work};
use crate::transport::Transport;

pub(super) const SECTION: Section = Section {
    name: "sse",
    about: "event streams beside as many WebSockets, flat out and one message at a time",
    cases,
    chart: None,
};

/// Formats, and what follows the body in each.
const FORMATS: [(&str, usize); 2] = [("raw", 0), ("json", "\"}".len())];

/// What an event adds to its body at most: its chunk's length, its id twice, the object.
const EVENT_BYTES: usize = 160;

fn cases(effort: Effort) -> Vec<Case> {
    let gentle = Load::Paced { per_second: 100, seconds: effort.seconds(4.0) };
    let flat_out = flat::work(effort, 1_000);
    let loads = [
        ("64 B, flat out", flat_out),
        ("1024 B, flat out", Work { body_bytes: 1024, ..flat_out }),
        ("64 B, 100/s", Work::new(gentle, 1_000)),
    ];
    let of = |(format, suffix)| loads.map(|(name, work)| (format, suffix, name, work));
    let case = |(format, suffix_bytes, name, work): (&str, usize, &str, Work)| {
        // The same window for both, so that as many messages are under way.
        let work = Work { envelope_bytes: EVENT_BYTES, ..work };
        let events = Work { transport: Transport::Events, ..work };
        let case =
            Case::beside_itself(&["--format", format], ("events", events), ("WebSockets", work));
        let case = Case { suffix_bytes, ..case.titled(format!("{format}, {name}, 1,000 clients")) };
        case.within(Figure::CpuPerDelivery, 1.15)
    };
    FORMATS.into_iter().flat_map(of).map(case).collect()
}
