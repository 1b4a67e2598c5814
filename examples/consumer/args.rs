//! What the user may say.

use std::time::Duration;

use clap::builder::ArgPredicate;
use clap::{Parser, value_parser};
use zmq2ws_examples::endpoint::Endpoint;

/// Print ZeroMQ messages, or how many there are.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Bind, for publishers that connect
    #[arg(short, long, value_name = "ENDPOINT", value_parser = Endpoint::to_bind)]
    #[arg(default_value = "tcp://127.0.0.1:5556")]
    #[arg(default_value_if("connect", ArgPredicate::IsPresent, None))]
    pub(crate) bind: Vec<Endpoint>,
    /// Connect to a publisher that binds; or listen to a multicast group with udp://GROUP:PORT,
    /// udp://INTERFACE;GROUP:PORT or epgm://INTERFACE;GROUP:PORT
    #[arg(short, long, value_name = "ENDPOINT", value_parser = Endpoint::to_connect)]
    pub(crate) connect: Vec<Endpoint>,
    /// Only topics that start so; may be repeated [default: everything]
    #[arg(short, long, value_name = "PREFIX")]
    pub(crate) topic: Vec<String>,
    /// One JSON object in each line, as the gateway's without the id
    #[arg(long)]
    json: bool,
    /// No messages, but a table of the rates of each producer and topic
    #[arg(long, conflicts_with = "json")]
    stats: bool,
    /// Neither messages nor a table: only what there was in all, at the end
    #[arg(short, long, conflicts_with_all = ["json", "stats"])]
    quiet: bool,
    /// Renew the table so often
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, requires = "stats")]
    #[arg(value_parser = value_parser!(u32).range(50..=3_600_000))]
    interval: u32,
    /// Stop after so many messages, 0 for never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) count: u64,
    /// Queue at most so many messages for each publisher, who then waits or drops; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = value_parser!(i32).range(0..))]
    pub(crate) hwm: i32,
}

/// What goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Lines,
    Json,
    Stats,
    Nothing,
}

impl Args {
    pub(crate) fn output(&self) -> Output {
        match (self.json, self.stats, self.quiet) {
            (true, _, _) => Output::Json,
            (_, true, _) => Output::Stats,
            (_, _, true) => Output::Nothing,
            _ => Output::Lines,
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval.into())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args =
            Args::parse_from(["consumer", "--topic=a", "-t=b", "--connect=udp://239.1.1.1:1"]);
        assert_eq!((args.topic.len(), args.bind.len(), args.connect.len()), (2, 0, 1));
        assert_eq!(args.output(), Output::Lines);
        assert!(Args::try_parse_from(["consumer", "--json", "--stats"]).is_err());
    }
}
