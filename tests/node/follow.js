// A client of eventsource or ws: prints what happens to it as JSON, a line each, the bodies of binary messages in base64.
const [library, url] = process.argv.slice(2);

function print(name, data, id) {
  console.log(JSON.stringify({ name, data, id }));
}

if (library === "eventsource") {
  const source = new (require("eventsource").EventSource)(url);
  source.addEventListener("open", () => print("open"));
  for (const name of ["message", "binary", "gap"]) {
    source.addEventListener(name, (event) => print(name, event.data, event.lastEventId));
  }
} else {
  const socket = new (require("ws"))(url);
  socket.on("open", () => print("open"));
  socket.on("message", (data, isBinary) => {
    print(isBinary ? "binary" : "message", data.toString(isBinary ? "base64" : "utf8"));
  });
  socket.on("close", (code) => print("close", code));
}

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
