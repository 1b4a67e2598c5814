//! What the user may say.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Parser, ValueHint, value_parser};

use zmq2ws_examples::endpoint::Endpoint;

use crate::follower::Start;
use crate::patterns::TopicFrom;
use crate::publisher::Delivery;
use crate::readings;

/// Four times what the gateway takes by default; some hundred messages are under way at a time.
const BODY_BYTES_MAX: i64 = 64 << 20;

/// Publish files, standard input or made-up readings over ZeroMQ.
#[derive(Parser)]
#[command(version, arg_required_else_help = false)]
pub(crate) struct Args {
    /// Connect to subscribers that bind, as the gateway does; or send to a multicast group with
    /// udp://GROUP:PORT, udp://INTERFACE;GROUP:PORT or epgm://INTERFACE;GROUP:PORT
    #[arg(short, long, value_name = "ENDPOINT", value_parser = Endpoint::to_connect)]
    #[arg(default_value = "tcp://127.0.0.1:5556", help_heading = "Where to")]
    #[arg(default_value_if("bind", ArgPredicate::IsPresent, None))]
    pub(crate) connect: Vec<Endpoint>,
    /// Bind, for subscribers that connect
    #[arg(short, long, value_name = "ENDPOINT", value_parser = Endpoint::to_bind)]
    #[arg(help_heading = "Where to")]
    pub(crate) bind: Vec<Endpoint>,
    /// What to do while there is no subscriber or a subscriber's queue is full [default: wait; with
    /// --demo drop]
    #[arg(long, value_enum, help_heading = "Where to")]
    delivery: Option<Delivery>,
    /// Wait at first for so many subscriptions, so that all of those get everything
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Where to")]
    pub(crate) subscriptions: u64,
    /// But no longer than this [default: for ever; with --delivery drop 2]
    #[arg(long, value_name = "SECONDS", help_heading = "Where to")]
    wait: Option<u32>,
    /// Queue at most so many messages for each subscriber, 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 10_000, help_heading = "Where to")]
    #[arg(value_parser = value_parser!(i32).range(0..))]
    pub(crate) hwm: i32,
    /// At the end, send on what is queued for at most so long
    #[arg(long, value_name = "SECONDS", default_value_t = 5, help_heading = "Where to")]
    linger: u32,
    /// Multicast at most so fast: nothing tells a sender that he is too fast
    #[arg(long, value_name = "KBIT/S", default_value_t = 100_000, help_heading = "Where to")]
    #[arg(value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub(crate) multicast_kbits: u32,
    /// Multicast through at most N - 1 routers
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Where to")]
    #[arg(value_parser = value_parser!(u32).range(1..=255))]
    pub(crate) multicast_hops: u32,

    /// Follow these files as `tail -F` does; quoted patterns such as '/var/log/*.log' find new ones
    /// while running
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::FilePath)]
    #[arg(help_heading = "What", conflicts_with_all = ["stdin", "demo"])]
    pub(crate) files: Vec<PathBuf>,
    /// Each line of standard input is a message: the topic, a space, the body
    #[arg(long, help_heading = "What", conflicts_with = "demo")]
    pub(crate) stdin: bool,
    /// Readings of made-up weather stations; so it is when nothing else is asked for
    #[arg(long, help_heading = "What")]
    demo: bool,
    /// Messages a second in all, 0 for as fast as possible [default: 0; with --demo 10]
    #[arg(long, value_name = "N", help_heading = "What")]
    rate: Option<u32>,
    /// Stop after so many messages, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "What")]
    pub(crate) count: u64,
    /// Read the files, or make the readings, in so many threads
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "What")]
    #[arg(value_parser = value_parser!(u16).range(1..=1024), conflicts_with = "stdin")]
    threads: u16,
    /// The host in the topics HOST/FILENAME and HOST/STATION [default: the system's name]
    #[arg(long, value_name = "NAME", help_heading = "What", conflicts_with = "stdin")]
    host: Option<String>,

    /// What a topic has after the host
    #[arg(long, value_enum, default_value = "name", help_heading = "Files")]
    pub(crate) topic_from: TopicFrom,
    /// Begin so many lines before the end of files that are there at the start, or with `all`
    #[arg(long, value_name = "N|all", default_value = "10", value_parser = start)]
    #[arg(help_heading = "Files")]
    pub(crate) lines: Start,
    /// Cut lines that are longer, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, help_heading = "Files")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 30))]
    max_line: u32,
    /// Follow at most so many files at a time; fewer where there are not enough descriptors
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Files")]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    max_files: u32,
    /// Look for new lines and new files so often
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100, help_heading = "Files")]
    #[arg(value_parser = value_parser!(u32).range(1..=1_000))]
    interval: u32,

    /// How many stations, or a comma-separated list of them
    #[arg(long, value_name = "N|LIST", default_value = "8", value_parser = readings::stations)]
    #[arg(help_heading = "Demo", conflicts_with_all = ["stdin", "files"])]
    pub(crate) topics: Box<[String]>, // Not a Vec: clap would want a parser for one topic.
    /// Pad each body to so many bytes; a reading alone has about 110
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = "Demo")]
    #[arg(value_parser = value_parser!(u32).range(..=BODY_BYTES_MAX))]
    #[arg(conflicts_with_all = ["stdin", "files"])]
    size: u32,
}

impl Args {
    fn is_demo(&self) -> bool {
        self.files.is_empty() && !self.stdin
    }

    pub(crate) fn delivery(&self) -> Delivery {
        let default = if self.is_demo() { Delivery::Drop } else { Delivery::Wait };
        self.delivery.unwrap_or(default)
    }

    /// How long to wait for subscriptions at first; `None` for ever.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let default = (self.delivery() == Delivery::Drop).then_some(2);
        self.wait.or(default).map(|seconds| Duration::from_secs(seconds.into()))
    }

    pub(crate) fn rate(&self) -> u32 {
        self.rate.unwrap_or(if self.is_demo() { 10 } else { 0 })
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_secs(self.linger.into())
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval.into())
    }

    pub(crate) fn line_bytes_max(&self) -> usize {
        self.max_line as usize
    }

    pub(crate) fn files_max(&self) -> usize {
        self.max_files as usize
    }

    pub(crate) fn body_bytes_min(&self) -> usize {
        self.size as usize
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.into()
    }

    pub(crate) fn host(&self) -> String {
        let system = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.host.clone().unwrap_or_else(system)
    }
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "all" => Ok(Start::All),
        _ => text.parse().map(Start::Last).map_err(|_| "expected a number or all".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_would_take_all_memory_or_do_nothing_is_refused() {
        for line in
            ["--demo --size 99999999999", "--demo --size 67108865", "--files a --max-files 0"]
        {
            let words = ["producer"].into_iter().chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn files_wait_and_a_demo_does_not() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).unwrap();
        let files = parse("producer --files a b --threads 2");
        assert_eq!((files.delivery(), files.wait(), files.rate()), (Delivery::Wait, None, 0));
        assert_eq!((files.files.len(), files.threads(), files.lines), (2, 2, Start::Last(10)));
        let demo = parse("producer --demo --lines all");
        assert_eq!((demo.delivery(), demo.rate()), (Delivery::Drop, 10));
        assert_eq!((demo.wait(), demo.lines), (Some(Duration::from_secs(2)), Start::All));
        assert!(!demo.connect.is_empty() && demo.bind.is_empty());
        assert!(parse("producer --bind tcp://*:*").connect.is_empty());
        assert_eq!(parse("producer --connect udp://239.1.1.1:1").connect.len(), 1);
        assert!(Args::try_parse_from(["producer", "--stdin", "--demo"]).is_err());
    }
}
