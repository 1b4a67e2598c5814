// A DISH socket of zeromq in a group: says when it listens, then prints what comes, the group, a space, the body in hexadecimal.
// That drafts may change is known.
process.removeAllListeners("warning");
const { Dish } = require("zeromq/draft");

const [endpoint, group] = process.argv.slice(2);
const socket = new Dish();

(async () => {
  await socket.bind(endpoint);
  socket.join(group);
  console.log("listening");
  for await (const [body, { group }] of socket) {
    console.log(`${group} ${body.toString("hex")}`);
  }
})();
