//! Measures the gateway beside a floor that does nothing but what cannot be left out. `benches/README.md` says how to run
//! and read it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench talks to who runs it")]

mod case;
mod chart;
mod cores;
mod drive;
mod fairness;
mod floor;
mod flow;
mod frames;
mod host;
mod one_by_one;
#[cfg_attr(
    test,
    allow(dead_code, reason = "a bench counts as a test, but `tests/peers.rs` runs this one's")
)]
mod peers;
mod progress;
mod proxy;
mod publisher;
mod report;
mod requests;
mod resume;
mod rounds;
mod sections;
mod server;
mod stats;
mod swarm;
mod transport;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::case::Case;
use crate::cores::Cores;
use crate::floor::FloorArgs;
use crate::host::HostArgs;
use crate::peers::Peer;
use crate::proxy::ProxyArgs;
use crate::report::CaseReport;
use crate::rounds::Saturated;
use crate::sections::{Effort, SECTIONS, Section};
use crate::server::Server;

/// Whatever goes wrong, as a sentence.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

/// Measures zmq2ws beside a floor that does nothing but what cannot be left out
#[derive(Parser)]
#[command(name = "cargo bench --bench gateway --", args_conflicts_with_subcommands = true)]
struct Options {
    /// What to measure; everything when none is named
    #[arg(value_name = "SECTION")]
    sections: Vec<String>,
    /// Fewer rounds and less work: rough figures within minutes
    #[arg(long)]
    quick: bool,
    /// Rounds of each case [default: 5; 3 with --quick]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Measure these too where they can do the work, installed below target/bench: python, node, tokio, socketify
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peers: Vec<String>,
    /// List the sections
    #[arg(long)]
    list: bool,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it starts itself.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Floor(FloorArgs),
    #[command(hide = true)]
    Host(HostArgs),
    #[command(hide = true)]
    Proxy(ProxyArgs),
    /// Pins itself to a core and becomes another program.
    #[command(hide = true)]
    Launch { core: usize, command: Vec<String> },
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.role {
        Some(Role::Floor(args)) => floor::run(args),
        Some(Role::Host(args)) => host::run(args),
        Some(Role::Proxy(args)) => proxy::run(args),
        Some(Role::Launch { core, command }) => cores::launch(*core, command),
        None if options.list => {
            for Section { name, about, .. } in SECTIONS {
                println!("{name:<12} {about}");
            }
            Ok(())
        }
        None => bench(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Serialize)]
struct Report {
    machine: String,
    command: String,
    rounds: usize,
    sections: Vec<SectionReport>,
}

#[derive(Serialize)]
struct SectionReport {
    name: &'static str,
    cases: Vec<CaseReport>,
}

fn bench(options: &Options) -> Result<()> {
    frames::self_check();
    let sections = chosen(&options.sections)?;
    let cores = Cores::find()?;
    cores::pin_to(cores.bench)?;
    let effort = Effort { is_quick: options.quick, descriptors: cores::raise_descriptor_limit()? };
    let rounds = options.runs.unwrap_or(if options.quick { 3 } else { 5 });
    let mut report = Report {
        machine: machine(cores)?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        rounds,
        sections: Vec::new(),
    };
    fs::create_dir_all(FOLDER)?;
    let peers = peers(&options.peers)?;
    println!(
        "{}\n{rounds} rounds; ratios are medians of the ratios within a round\n",
        report.machine
    );
    for section in sections {
        let cases = (section.cases)(effort).into_iter();
        let cases: Vec<Case> = cases.map(|case| case.and_peers(&peers)).collect();
        let runs = cases.iter().map(|case| case.contenders.len() * rounds).sum();
        let bar = rounds::progress_bar(runs)?;
        let mut saturated = Saturated::default();
        let run = |case| rounds::run(case, rounds, cores, &mut saturated, &bar);
        let cases: Vec<_> = cases.iter().map(run).collect();
        bar.finish_and_clear();
        println!("{}: {}\n\n{}", section.name, section.about, report::table(&cases));
        if let Some(chart) = &section.chart {
            let path = Path::new(FOLDER).join(section.name).with_extension("svg");
            chart::draw(&path, chart, &cases)?;
            println!("{}\n", path.display());
        }
        report.sections.push(SectionReport { name: section.name, cases });
        // After each section: whoever stops the bench keeps what it has found.
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(Path::new(FOLDER).join("gateway.json"), json)?;
    }
    Ok(())
}

/// Those of the peers that can be had; why another cannot is said.
fn peers(names: &[String]) -> Result<Vec<Server>> {
    let folder = Path::new(FOLDER).join("peers");
    let peers = peers::prepare(names, &folder, &mut |line| eprintln!("{line}"))?;
    let server = |Peer { name, command }: Peer| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let folder = command.get_current_dir().unwrap_or(&folder).to_owned();
        Server::Peer { name, command: words, folder }
    };
    Ok(peers.into_iter().map(server).collect())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Section>> {
    let find = |name: &String| {
        let section = SECTIONS.iter().find(|section| section.name == name);
        section.ok_or_else(|| format!("there is no section {name}; --list shows all").into())
    };
    if names.is_empty() { Ok(SECTIONS.iter().collect()) } else { names.iter().map(find).collect() }
}

fn machine(cores: Cores) -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("a processor without a name", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let Cores { servers, bench } = cores;
    Ok(format!("{model}, Linux {}; servers on core {servers}, clients on {bench}", kernel.trim()))
}
