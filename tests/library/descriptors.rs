//! What a gateway does about the descriptors that its process may have: the limit, what is promised within it, and what
//! happens where there are few. The limit is the process's, so the test has a process of its own.

use std::fs::{self, File};
use std::sync::Mutex;
use std::time::Duration;

use crate::alone::alone;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zmq2ws::{Builder, Error, Gateway};

/// Descriptors that are not for clients: of others, and of connections beside them.
const OTHERS: usize = 256 + 128;

/// What was logged.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LINES.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Descriptors that are open, but for the one that shows it.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

fn limit() -> usize {
    getrlimit(Resource::Nofile).current.unwrap() as usize
}

fn set_limit(descriptors: usize) {
    let limits = Rlimit { current: Some(descriptors as u64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limits).unwrap();
}

/// A gateway, and how many clients it says that there is room for, where it says so.
fn build(builder: Builder) -> (Gateway, Option<usize>) {
    LINES.lock().unwrap().clear();
    let gateway = builder.build().unwrap();
    let lines = LINES.lock().unwrap();
    let said = lines
        .iter()
        .find_map(|line| line.strip_prefix("at most "))
        .map(|rest| rest.split(' ').next().unwrap().parse().unwrap());
    (gateway, said)
}

#[test]
fn descriptors_are_the_hosts_until_it_says_otherwise() {
    alone(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        nothing_is_raised_that_nobody_asked_for();
        what_is_open_already_is_promised_to_nobody();
        who_asks_for_clients_gets_their_descriptors();
        too_few_for_zeromq_are_an_error();
    });
}

fn nothing_is_raised_that_nobody_asked_for() {
    set_limit(1_000);
    let before = open();
    let (_gateway, room) = build(Gateway::builder());
    assert_eq!((limit(), room), (1_000, Some(1_000 - before - OTHERS)));
    let (_gateway, room) = build(Gateway::builder().max_clients(100));
    assert_eq!((limit(), room), (1_000, None), "there is room for so many");
}

fn what_is_open_already_is_promised_to_nobody() {
    set_limit(1_000);
    let (gateway, alone) = build(Gateway::builder());
    let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
    let before = open();
    let (_beside, room) = build(Gateway::builder());
    assert_eq!(room, Some(1_000 - before - OTHERS));
    assert!(room.unwrap() < alone.unwrap() - files.len(), "the first gateway has some, too");
    drop(gateway);
}

fn who_asks_for_clients_gets_their_descriptors() {
    let ways: [fn() -> Builder; 2] = [
        || Gateway::builder().max_clients(1_000),
        || Builder::from_toml("max-clients = 1000", "a.toml").unwrap(),
    ];
    for asking in ways {
        set_limit(1_000);
        let before = open();
        let (_gateway, room) = build(asking());
        assert_eq!((limit(), room), (before + 1_000 + OTHERS, None));
    }
    let (_gateway, room) = build(Gateway::builder().max_clients(10_000_000));
    assert!(room.unwrap() >= 1_000, "as many as the hard limit allows");
}

/// libzmq aborts the process where it gets none.
fn too_few_for_zeromq_are_an_error() {
    for endpoints in [1, 3] {
        let (before, mut outcomes) = (open(), Vec::new());
        for left in 0..60 {
            set_limit(before + left);
            let builder = Gateway::builder().listen(([127, 0, 0, 1], 0));
            let builder = (0..endpoints).fold(builder, |it, _| it.bind("tcp://127.0.0.1:*"));
            let outcome =
                builder.build().and_then(|mut gateway| gateway.turn(Some(Duration::ZERO)));
            match &outcome {
                Ok(goes_on) => assert!(goes_on),
                Err(Error::System { .. } | Error::Listen { .. }) => {}
                Err(error) => panic!("{left} left: {error}"),
            }
            outcomes.push(outcome.is_ok());
            set_limit(1_000);
            assert_eq!(open(), before, "{left} left");
        }
        assert!(outcomes.is_sorted(), "{outcomes:?}");
        assert!(!outcomes[0] && outcomes[59], "{outcomes:?}");
    }
}
