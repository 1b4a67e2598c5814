// A client with the package ws, which offers permessage-deflate unless told otherwise: prints what was agreed on, then each
// message and how many bytes came over the wire so far. Says one long message of its own, deflated where that was agreed on.
const WebSocket = require("ws");

const [url, offers] = process.argv.slice(2);
const perMessageDeflate = offers === "yes" ? { threshold: 0 } : false;
const socket = new WebSocket(url, { perMessageDeflate });

let underneath;
socket.on("upgrade", (response) => (underneath = response.socket));
socket.on("open", () => {
  console.log(JSON.stringify(socket.extensions));
  socket.send("what clients say goes nowhere ".repeat(1000));
});
socket.on("message", (data, isBinary) => {
  const body = data.toString(isBinary ? "hex" : "utf8");
  console.log(JSON.stringify({ body, isBinary, bytes: underneath.bytesRead }));
});
socket.on("close", (code) => console.log(JSON.stringify({ code })));
socket.on("error", (error) => console.log(JSON.stringify({ error: String(error) })));
process.stdin.on("end", () => process.exit(0)).resume();
