// A client of Socket.IO: prints what happens to it, a JSON array a line, and does what standard input says. Version 4 of
// the library, or 2, which speaks Engine.IO 3.
const [version, url, options] = process.argv.slice(2);
const { io } = version === "2" ? { io: require("socket.io-client-v2") } : require("socket.io-client");

function print(...what) {
  const plain = (value) => (Buffer.isBuffer(value) ? { hex: value.toString("hex") } : value);
  console.log(JSON.stringify(what.map(plain)));
}

const socket = io(url, { reconnectionDelay: 20, reconnectionDelayMax: 100, ...JSON.parse(options) });
const transport = () => socket.io.engine.transport.name;

socket.io.on("open", () => {
  const { engine } = socket.io;
  engine.on("upgrade", () => print("upgrade", transport()));
  engine.on("upgradeError", (error) => print("upgradeError", error.message));
});
socket.on("connect", () => print("connect", Boolean(socket.recovered), transport()));
socket.on("message", (...args) => print("message", ...args));
socket.on("gap", (...args) => print("gap", ...args));
socket.on("disconnect", (reason) => print("disconnect", reason));
socket.on("connect_error", (error) => print("connect_error", error.message, (error.context || {}).responseText));
for (const name of ["reconnect_attempt", "reconnect"]) {
  socket.io.on(name, () => print(name));
}

require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "cut") {
      // As when the network is gone: nobody says goodbye, and a request that waits may wait on.
      const { transport } = socket.io.engine;
      transport.readyState = "closed";
      if (transport.ws) transport.ws.close();
      transport.onError("cut");
    } else if (line === "disconnect") {
      socket.disconnect();
    } else if (line.startsWith("emit ")) {
      socket.emit(...JSON.parse(line.slice(5)), Buffer.from([1, 255]));
    }
  })
  .on("close", () => process.exit(0));
