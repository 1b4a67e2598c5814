// A RADIO socket of zeromq: reads a group, a space and a body in hexadecimal on standard input, a line for each message.
// That drafts may change is known.
process.removeAllListeners("warning");
const { Radio } = require("zeromq/draft");

const socket = new Radio({ linger: 0 });
socket.connect(process.argv[2]);

(async () => {
  const lines = require("readline").createInterface({ input: process.stdin });
  for await (const line of lines) {
    const [group, body] = line.split(" ");
    await socket.send(Buffer.from(body, "hex"), { group });
  }
  process.exit(0);
})();
