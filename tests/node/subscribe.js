// A SUB socket of jszmq or zeromq: reads `+PREFIX` and `-PREFIX` on standard input, a line each, and prints each message
// as a JSON array of its parts in hexadecimal.
const [library, url] = process.argv.slice(2);

function print(parts) {
  console.log(JSON.stringify(parts.map((part) => Buffer.from(part).toString("hex"))));
}

let socket;
if (library === "jszmq") {
  socket = new (require("jszmq").Sub)();
  socket.on("message", (...parts) => print(parts));
} else {
  socket = new (require("zeromq").Subscriber)();
  socket.reconnectInterval = 50;
  (async () => {
    for await (const parts of socket) print(parts);
  })();
}
socket.connect(url);

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const topic = line.slice(1);
    if (line[0] === "+") socket.subscribe(topic);
    else socket.unsubscribe(topic);
  })
  .on("close", () => process.exit(0));
