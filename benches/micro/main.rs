//! Micro-benches: what each piece of a message's way costs, and what clients cost in memory and time without a socket.
//!
//! `cargo bench --bench micro --features bench-internals [-- SECTION … --quick]`
#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(clippy::cast_lossless, reason = "figures are floating-point numbers")]

#[path = "../../tests/support/allocator.rs"]
mod allocator;
mod kernels;
mod sessions;
mod timing;

use timing::Effort;

type Section = (&'static str, fn(&Effort));

const SECTIONS: [Section; 7] = [
    ("encoding", kernels::encoding),
    ("topics", kernels::topics),
    ("feed", kernels::feed),
    ("requests", kernels::requests),
    ("idle", sessions::idle),
    ("distinct", sessions::distinct_filters),
    ("misses", sessions::feeds_that_do_not_match),
];

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let is_quick = arguments.iter().any(|it| it == "--quick");
    let effort = if is_quick { Effort::QUICK } else { Effort::FULL };
    let names: Vec<_> = arguments.iter().filter(|it| *it != "--quick").collect();
    let is_known = |name: &&String| SECTIONS.iter().any(|(section, _)| section == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known = SECTIONS.map(|(section, _)| section).join(", ");
        println!("there is no section '{unknown}': {known}");
        std::process::exit(2);
    }
    for (section, run) in SECTIONS {
        if names.is_empty() || names.iter().any(|name| *name == section) {
            println!("{section}");
            run(&effort);
        }
    }
}
