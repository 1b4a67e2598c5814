//! The memory of clients to whom nothing is sent, and what it takes to ping them.

use super::{Effort, Section, gateway_and_batches};
use crate::case::{Case, Figure, Load, Work};
use crate::server::Server;
use crate::transport::Transport;

pub(super) const SECTION: Section = Section {
    name: "idle",
    about: "proportional set size: of the server alone, and what each client adds that is not among the first; pings",
    cases,
    chart: None,
};

/// What the gateway may take up beyond the floor, which is libzmq and little else.
const BASE_KIB: f64 = 4096.0;

fn cases(effort: Effort) -> Vec<Case> {
    let mut counts = vec![10_000, effort.clients_max()];
    counts.retain(|&count| count <= effort.clients_max());
    counts.dedup();
    let case = |clients| {
        let case = Case::new(Work::new(Load::Idle, clients), gateway_and_batches());
        let case = if clients == 10_000 { case.with_peers() } else { case };
        case.at_most(Figure::MemoryPerClient, 300.0).at_most_above(Figure::BaseMemory, BASE_KIB)
    };
    let cases = counts.into_iter().map(case);
    cases.chain(OTHERS.map(beside_web_sockets)).chain([pings(effort)]).collect()
}

/// Clients that are no WebSockets, and the bytes that each may take.
const OTHERS: [(&str, Transport, f64); 3] = [
    ("event streams", Transport::Events, 300.0),
    ("polls", Transport::Polls, 512.0),
    // A session outlives its connections: it has an id, a filter and deadlines of its own.
    ("Socket.IO sessions", Transport::SocketIo, 1024.0),
];

/// As many of them as WebSockets. What the kernel has for a socket is in nobody's set.
fn beside_web_sockets((name, transport, bytes_max): (&str, Transport, f64)) -> Case {
    let web_sockets = Work::new(Load::Idle, 10_000);
    let others = Work { transport, ..web_sockets };
    Case::beside_itself(&[], (name, others), ("WebSockets", web_sockets))
        .titled(format!("10,000 {name}"))
        .at_most(Figure::MemoryPerClient, bytes_max)
}

/// Often, so that a short look sees many; the figure is what it comes to at the default interval.
fn pings(effort: Effort) -> Case {
    let seconds = if effort.is_quick { 10.0 } else { 20.0 };
    let work = Work::new(Load::Pings { seconds }, 10_000);
    let case = Case::new(work, vec![Server::gateway(&["--ping-interval", "5s"])]);
    case.titled("10,000 clients, pinged".into()).at_most(Figure::PingCpuShare, 1.0)
}
