"""A gateway as people write it in Python: asyncio, pyzmq, and the broadcast of the websockets library."""

import argparse
import asyncio
import http
import resource
import signal

import zmq
import zmq.asyncio
from websockets.asyncio.server import broadcast, serve

clients = set()


def route(client, request):
    if request.path != "/ws":
        return client.respond(http.HTTPStatus.NOT_FOUND, "the path is /ws\n")
    return None


async def handler(client):
    clients.add(client)
    try:
        await client.wait_closed()
    finally:
        clients.remove(client)


async def forward(endpoint):
    socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
    socket.rcvhwm = 10_000
    socket.subscribe(b"")
    socket.connect(endpoint)
    while True:
        _topic, body = await socket.recv_multipart()
        broadcast(clients, body, text=True)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zmq", required=True)
    parser.add_argument("--listen", required=True)
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    forwarding = asyncio.create_task(forward(args.zmq))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    forwarding.add_done_callback(lambda _: stop.set())
    async with serve(handler, host, int(port), process_request=route, backlog=4096) as server:
        address = server.sockets[0].getsockname()
        print(f"listening on {address[0]}:{address[1]}", flush=True)
        await stop.wait()
    if forwarding.done():
        forwarding.result()
    forwarding.cancel()


asyncio.run(main())
