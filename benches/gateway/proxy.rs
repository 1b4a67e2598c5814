//! ZeroMQ's own proxy between the publisher and several gateways. Knows neither messages nor clients.

use std::io::Write;

use zmq::{Context, XPUB, XSUB};

use crate::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// The publisher to connect to.
    #[arg(long)]
    zmq: String,
}

/// Forwards until it is killed.
pub(crate) fn run(args: &ProxyArgs) -> Result<()> {
    let context = Context::new();
    let (from, to) = (context.socket(XSUB)?, context.socket(XPUB)?);
    // The window of the publisher bounds what waits here.
    from.set_rcvhwm(0)?;
    to.set_sndhwm(0)?;
    from.connect(&args.zmq)?;
    to.bind("tcp://127.0.0.1:*")?;
    let endpoint = to.get_last_endpoint()?.map_err(|_| "an endpoint that is no text")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {}", endpoint.trim_start_matches("tcp://"))?;
    stdout.flush()?;
    Ok(zmq::proxy(&from, &to)?)
}
