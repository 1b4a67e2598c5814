//! Runs cases in rounds, A B C A B C, so that what the machine does meanwhile falls on all servers alike.

use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;
use crate::case::{Case, Contender, Figure, Load};
use crate::cores::Cores;
use crate::drive::{self, Figures};
use crate::report::{CaseReport, Results};
use crate::server::Server;

/// A progress bar on standard error; none where that is no terminal.
pub(crate) fn progress_bar(runs: usize) -> Result<ProgressBar> {
    let style = "{bar:24} {pos}/{len} runs, {elapsed} so far, about {eta} to go: {wide_msg}";
    Ok(ProgressBar::new(runs as u64).with_style(ProgressStyle::with_template(style)?))
}

/// Below this part of a wanted rate a server is saturated.
const SATURATED_BELOW: f64 = 0.90;

/// Who could not keep a rate: a higher one would not be another load.
#[derive(Debug, Default)]
pub(crate) struct Saturated {
    names: Vec<String>,
}

impl Saturated {
    /// Whether there is no point in this contender at this load.
    fn contains(&self, contender: &Contender) -> bool {
        matches!(contender.work.load, Load::Paced { .. }) && self.names.contains(&contender.name)
    }
}

/// Runs each contender of `case` once in each round, but for those that were saturated in an earlier case.
pub(crate) fn run(
    case: &Case,
    rounds: usize,
    cores: Cores,
    saturated: &mut Saturated,
    bar: &ProgressBar,
) -> CaseReport {
    let new = |name: &String| Results { name: name.clone(), rounds: Vec::new() };
    let mut results: Vec<Results> = case.contenders.iter().map(|it| new(&it.name)).collect();
    let mut envelope = 0;
    let mut are_saturated = Vec::new();
    for _ in 0..rounds {
        for (results, contender) in results.iter_mut().zip(&case.contenders) {
            bar.inc(1);
            if saturated.contains(contender) {
                continue;
            }
            let message = format!("{}, {}", case.title, contender.name);
            bar.set_message(message.clone());
            let server = with_envelope(&contender.server, envelope);
            let contender = Contender { server, ..contender.clone() };
            let result = drive::run(case, &contender, cores, |open| {
                if open == contender.work.clients {
                    bar.set_message(message.clone());
                } else {
                    bar.set_message(format!("{message}: {open} connected"));
                }
            });
            match &result {
                Ok(figures) if matches!(contender.server, Server::Gateway { .. }) => {
                    envelope = envelope_of(case, figures);
                }
                Err(invalid) if invalid.rate_kept.is_some_and(|it| it < SATURATED_BELOW) => {
                    are_saturated.push(contender.name);
                }
                _ => {}
            }
            results.rounds.push(result.map_err(|invalid| invalid.reason));
        }
    }
    saturated.names.extend(are_saturated);
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
    frame.saturating_sub(header + case.work.body_bytes)
}
