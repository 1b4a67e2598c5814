// A gateway as people write it in Node: zeromq, and a loop over the clients of ws.

import { parseArgs } from "node:util";
import { WebSocket, WebSocketServer } from "ws";
import { Subscriber } from "zeromq";

const { values: args } = parseArgs({
  options: { zmq: { type: "string" }, listen: { type: "string" } },
});
const colon = args.listen.lastIndexOf(":");
const host = args.listen.slice(0, colon);
const port = Number(args.listen.slice(colon + 1));

// Node raises the limit of open files by itself.
const server = new WebSocketServer({ host, port, path: "/ws", backlog: 4096 });
server.on("connection", (client) => client.on("error", console.error));
server.on("listening", () => {
  const { address, port } = server.address();
  console.log(`listening on ${address}:${port}`);
});
process.on("SIGTERM", () => process.exit(0));

const socket = new Subscriber({ receiveHighWaterMark: 10_000 });
socket.connect(args.zmq);
socket.subscribe();
for await (const [_topic, body] of socket) {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) {
      client.send(body, { binary: false });
    }
  }
}
