//! Runs cases in rounds, A B C A B C, so that what the machine does meanwhile falls on all servers alike.

use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;
use crate::case::{Case, Figure};
use crate::cores::Cores;
use crate::drive::{self, Figures};
use crate::report::{CaseReport, Results};
use crate::server::Server;

/// A progress bar on standard error; none where that is no terminal.
pub(crate) fn progress_bar(runs: usize) -> Result<ProgressBar> {
    let style = "{bar:24} {pos}/{len} runs, {elapsed} so far, about {eta} to go: {wide_msg}";
    Ok(ProgressBar::new(runs as u64).with_style(ProgressStyle::with_template(style)?))
}

/// Runs each server of `case` once in each round.
pub(crate) fn run(case: &Case, rounds: usize, cores: Cores, bar: &ProgressBar) -> CaseReport {
    let new = |server: &Server| Results { server: server.name().to_owned(), rounds: Vec::new() };
    let mut results: Vec<Results> = case.servers.iter().map(new).collect();
    let mut envelope = 0;
    for _ in 0..rounds {
        for (results, server) in results.iter_mut().zip(&case.servers) {
            let server = with_envelope(server, envelope);
            let message = format!("{}, {}", case.title, server.name());
            bar.set_message(message.clone());
            let result = drive::run(case, &server, cores, |open| {
                if open == case.clients {
                    bar.set_message(message.clone());
                } else {
                    bar.set_message(format!("{message}: {open} connected"));
                }
            });
            if let (Server::Gateway { .. }, Ok(figures)) = (&server, &result) {
                envelope = envelope_of(case, figures);
            }
            results.rounds.push(result.map_err(|error| error.to_string()));
            bar.inc(1);
        }
    }
    CaseReport::new(case, &results)
}

fn with_envelope(server: &Server, gateways: usize) -> Server {
    match server {
        Server::Floor { sends, envelope } => {
            Server::Floor { sends: *sends, envelope: Some(envelope.unwrap_or(gateways)) }
        }
        other => other.clone(),
    }
}

/// What the gateway sent beside the body, without the frame's header.
fn envelope_of(case: &Case, figures: &Figures) -> usize {
    let frame = figures.get(&Figure::FrameBytes).map_or(0, |bytes| bytes.round() as usize);
    let header = match frame {
        0..128 => 2,
        128..65_540 => 4,
        _ => 10,
    };
    frame.saturating_sub(header + case.body_bytes)
}
