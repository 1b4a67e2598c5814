"""A gateway with uWebSockets, through its binding for Python: every client subscribes to one topic."""

import argparse
import resource
import signal

import zmq
import zmq.asyncio
from socketify import App, AppListenOptions, OpCode

# Above so many bytes uWebSockets drops what a client gets, silently; its default is 64 KiB.
BACKPRESSURE_BYTES_MAX = 16 * 1024 * 1024


async def forward(app, endpoint):
    socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
    socket.rcvhwm = 10_000
    socket.subscribe(b"")
    socket.connect(endpoint)
    while True:
        _topic, body = await socket.recv_multipart()
        app.publish("all", body, OpCode.TEXT)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zmq", required=True)
    parser.add_argument("--listen", required=True)
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    app = App()
    app.ws(
        "/ws",
        {
            "max_backpressure": BACKPRESSURE_BYTES_MAX,
            "open": lambda client: client.subscribe("all"),
        },
    )
    app.listen(
        AppListenOptions(port=int(port), host=host),
        lambda listener: print(f"listening on {host}:{listener.port}", flush=True),
    )
    app.loop.loop.add_signal_handler(signal.SIGTERM, app.close)
    app.loop.ensure_future(forward(app, args.zmq))
    app.run()


main()
