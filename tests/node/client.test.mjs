// `zmq2ws.js` under Node's own test runner, against servers that answer as each test wants, and the gateway at the URL that
// it is given: `node client.test.mjs http://127.0.0.1:8080`.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { test as define } from "node:test";

// Taken as a module whatever the folder says of its files.
const source = await readFile(new URL("../../www/zmq2ws.js", import.meta.url), "base64");
const { zmq2ws, default: byDefault } = await import(`data:text/javascript;base64,${source}`);

const test = (name, run) => define(name, { timeout: 30_000 }, run);

/** A server of the test's own; ends with it. Returns its URL and what it was asked. */
async function serve(t, answer) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request);
    answer(request, response, asked.length);
  });
  await new Promise((go) => server.listen(0, "127.0.0.1", go));
  t.after(() => (server.closeAllConnections(), server.close()));
  return { url: `http://127.0.0.1:${server.address().port}`, asked };
}

/** A feed that ends with the test, and what it tells. */
function listen(t, url, options) {
  const feed = zmq2ws(url, { timeout: 5_000, retryMin: 1, retryMax: 1, ...options });
  t.after(() => feed.close());
  const told = { messages: [], gaps: [], states: [] };
  feed.on("message", (message) => told.messages.push(message));
  feed.on("gap", (gap) => told.gaps.push(gap));
  feed.on("state", (state) => told.states.push(state));
  const until = (isSo) =>
    new Promise((go) => {
      const look = () => isSo(told) && go();
      for (const type of ["state", "message", "gap"]) feed.on(type, look);
      look();
    });
  return { feed, told, until };
}

const json = (response, value) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(value));
const text = (response, status, body, type = "text/plain; charset=utf-8") =>
  response.writeHead(status, { "Content-Type": type, ...(status === 503 && { "Retry-After": "7" }) }).end(body);

test("it is exported by its name and as the default", () => {
  assert.equal(zmq2ws, byDefault);
});

test("the URL may be a folder, with or without a slash, and any scheme of both", async (t) => {
  for (const form of [(url) => `${url}/x/y`, (url) => `${url}/x/y/`, (url) => `${url.replace("http", "ws")}/x/y?z=1#a`]) {
    const { url, asked } = await serve(t, (_, response) => json(response, { messages: [], next: "a-1" }));
    const base = form(url);
    const { feed, until } = listen(t, base, { topics: ["ä +&"], exact: ["b"], transports: ["poll"] });
    await until(({ states }) => states.at(-1)?.state === "open");
    feed.close();
    const kept = base.includes("z=1") ? "z=1&" : "";
    assert.equal(asked[0].url.replace(/since.*|timeout.*/, ""), `/x/y/poll?${kept}topic=%C3%A4%20%2B%26&exact=b&`);
  }
});

test("the URL's query is kept, and the addresses that the gateway prints are taken", async (t) => {
  for (const [given, path] of [["?topic=a.&exact=b", "/poll?topic=a.&exact=b&timeout=0"], ["ws?since=a-5&format=raw", "/poll?since=a-5&timeout=0"], ["p/sse", "/p/poll?timeout=0"]]) {
    const { url, asked } = await serve(t, (_, response) => json(response, { messages: [], next: "a-1" }));
    const { feed, until } = listen(t, `${url}/${given}`, { transports: ["poll"] });
    await until(({ states }) => states.at(-1)?.state === "open");
    feed.close();
    assert.equal(asked[0].url, path);
  }
});

test("options that do not exist are refused by their right name, and lists must be lists", () => {
  for (const [options, reason] of [
    [{ topic: ["a"] }, /unknown option 'topic': the name is 'topics'/],
    [{ pigeon: 1 }, /unknown option 'pigeon'$/],
    [{ __proto__: null, constructor: 1 }, /unknown option 'constructor'$/],
    [{ topics: "weather." }, /topics must be an array of strings/],
    [{ exact: [1] }, /exact must be an array of strings/],
  ]) {
    assert.throws(() => zmq2ws("http://127.0.0.1:9/", options), { name: "TypeError", message: reason });
  }
});

test("a path where no gateway is ends the feed, if a gateway says so", async (t) => {
  const { url, asked } = await serve(t, (_, response) => text(response, 404, "there is nothing at this path\n"));
  const { told, until } = listen(t, `${url}/wrong`, { transports: ["sse"] });
  await until(({ states }) => states.at(-1)?.state === "closed");
  assert.equal(told.states.at(-1).error.status, 404);
  assert.ok(asked.length <= 3, String(asked.length));
});

test("a feed is an iterator, ends with its signal, and tells where it is", async (t) => {
  const message = (number) => ({ id: `a-${number}`, topic: "t", data: String(number) });
  const { url } = await serve(t, ({ url }, response) => {
    if (url.includes("timeout=0")) json(response, { messages: [message(1), message(2), message(3)], next: "a-9" });
  });
  const abort = new AbortController();
  const feed = zmq2ws(url, { transports: ["poll"], signal: abort.signal, latest: true });
  const seen = [];
  for await (const { data } of feed) {
    seen.push(data);
    if (seen.length === 3) abort.abort();
  }
  assert.deepEqual(seen, ["1", "2", "3"]);
  assert.equal(feed.status.state, "closed");
  assert.equal(feed.id, "a-9");

  const late = zmq2ws(url, { signal: AbortSignal.abort() });
  await new Promise(setImmediate);
  assert.equal(late.status.state, "closed");
});

test("an iterator throws what closed its feed, and one that lags is told what it lost", async (t) => {
  const { url } = await serve(t, (_, response) => text(response, 403, "no\n"));
  await assert.rejects(async () => {
    for await (const _ of zmq2ws(url, { transports: ["poll"] }));
  }, /403: no/);

  const messages = Array.from({ length: 20_000 }, (_, at) => ({ id: `a-${at}`, topic: "t", data: String(at) }));
  const many = await serve(t, ({ url }, response) => {
    if (url.includes("timeout=0")) json(response, { messages, next: "a-20000" });
  });
  const { feed, told, until } = listen(t, many.url, { transports: ["poll"] });
  const iterator = feed[Symbol.asyncIterator]();
  const first = iterator.next();
  await until(({ gaps }) => gaps.length === 1);
  assert.deepEqual(told.gaps, [{ missed: 10_000, reason: "lag" }]);
  assert.equal((await first).value.data, "10000");
  await iterator.return();
});

test("the newest message of each topic is a store for React and Svelte", async (t) => {
  const answers = [
    [{ id: "a-1", topic: "x", data: "1" }, { id: "a-2", topic64: "gP8=", data: ["t", "/w=="], encoding: ["utf8", "base64"] }],
    [{ id: "a-3", topic: "x", data: "2" }],
  ];
  const { url } = await serve(t, (_, response, count) => {
    if (count <= 2) json(response, { messages: answers[count - 1], next: `a-${count + 1}` });
  });
  const { feed, until } = listen(t, url, { transports: ["poll"], latest: true });
  let calls = 0;
  const off = feed.latest.subscribe(() => (calls += 1));
  assert.equal(calls, 1);
  await until(({ messages }) => messages.length === 3);
  assert.deepEqual([...feed.latest.keys()], ["x", "\0" + "80ff"]);
  assert.deepEqual(feed.latest.get("\0" + "80ff").data, ["t", new Uint8Array([255])]);
  const snapshot = feed.latest.snapshot();
  assert.equal(snapshot, feed.latest.snapshot());
  assert.equal(snapshot.get("x").data, "2");
  feed.close();
  // At once, and for one frame or two.
  assert.ok(calls === 2 || calls === 3, String(calls));
  off();
});

test("comments are signs of life for a stream whose check finds no free connection", async (t) => {
  const { url, asked } = await serve(t, ({ url }, response, count) => {
    // The first poll is answered; later ones wait for ever, as behind six streams.
    if (url.startsWith("/poll")) return void (count <= 2 && json(response, { messages: [], next: "a-0" }));
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(": zmq2ws\n");
    const timer = setInterval(() => response.write(": zmq2ws\n"), 50);
    response.on("close", () => clearInterval(timer));
  });
  const { told, until } = listen(t, url, { transports: ["sse"], timeout: 100, quiet: 150 });
  await until(({ states }) => states.at(-1)?.state === "open");
  while (asked.filter(({ url }) => url.startsWith("/poll")).length < 4) await new Promise((go) => setTimeout(go, 20));
  assert.deepEqual(told.states.map(({ state }) => state), ["connecting", "open"]);
});

test("refusals of the gateway last, those of others do not", async (t) => {
  for (const transport of ["sse", "poll"]) {
    for (const status of [400, 401, 403]) {
      const { url, asked } = await serve(t, (_, response) => text(response, status, "no reason\n"));
      const { told, until } = listen(t, url, { transports: [transport], since: "a-1" });
      await until(({ states }) => states.at(-1)?.state === "closed");
      assert.equal(told.states.at(-1).error.message, `${status}: no reason`);
      assert.equal(asked.length, 1);
    }
    for (const [status, type] of [[403, "text/html"], [404, "text/plain"], [500, "text/plain"], [200, "text/html"]]) {
      const { url, asked } = await serve(t, (_, response) => text(response, status, "<hr>", type));
      const { feed, until } = listen(t, url, { transports: [transport], since: "a-1" });
      await until(() => asked.length > 4);
      assert.notEqual(feed.status.state, "closed", `${status} ${type}`);
      feed.close();
    }
  }
});

test("a gateway says when to come back", async (t) => {
  const { url, asked } = await serve(t, (_, response) => text(response, 503, "too many clients\n"));
  for (const transport of ["sse", "poll"]) {
    const { feed, told, until } = listen(t, url, { transports: [transport], since: "a-1" });
    await until(({ states }) => states.at(-1)?.state === "waiting");
    const { delay, error } = told.states.at(-1);
    assert.ok(delay >= 7_000 && delay <= 7_001, delay);
    assert.deepEqual([error.status, error.retryAfter], [503, 7_000]);
    feed.close();
  }
  assert.equal(asked.length, 2);
});

test("waits are drawn from the whole of a range that doubles", async (t) => {
  const { url } = await serve(t, (request) => request.socket.destroy());
  const { told, until } = listen(t, url, { transports: ["poll"], retryMin: 2, retryMax: 16 });
  await until(({ states }) => states.length > 80);
  const delays = told.states.filter(({ state }) => state === "waiting").map(({ delay }) => delay);
  [2, 4, 8].forEach((most, at) => assert.ok(delays[at] <= most, `${at} ${delays[at]}`));
  const rest = delays.slice(3);
  assert.ok(rest.every((delay) => delay >= 0 && delay <= 16));
  assert.ok(Math.min(...rest) < 5 && Math.max(...rest) > 11, String(rest));
});

test("a token goes where it can, anew each time", async (t) => {
  const { url, asked } = await serve(t, (request) => request.socket.destroy());
  let count = 0;
  const { until } = listen(t, url, { transports: ["poll"], token: () => `t${(count += 1)}` });
  await until(() => asked.length > 2);
  assert.deepEqual(asked.slice(0, 3).map(({ headers }) => headers.authorization), ["Bearer t1", "Bearer t2", "Bearer t3"]);
  assert.ok(asked.every(({ url }) => !url.includes("token")));

  const urls = [];
  const { WebSocket } = globalThis;
  globalThis.WebSocket = class {
    constructor(url) {
      urls.push(url);
    }
    close() {}
  };
  t.after(() => (globalThis.WebSocket = WebSocket));
  const { until: untilHere } = listen(t, "https://a.example:8080/x", { token: "a b", since: "a-1", exact: ["t"] });
  await untilHere(() => urls.length > 0);
  assert.deepEqual(urls, ["wss://a.example:8080/x/ws?exact=t&format=json&since=a-1&token=a%20b"]);
});

test("an event stream may be cut anywhere", async (t) => {
  const message = { id: "a-1", topic: "tøpic", data: "☂ line\nline" };
  const stream = Buffer.from(
    `retry: 1500\n: zmq2ws\n\nid: a-1\ndata: ${JSON.stringify(message)}\n\n` +
      `event: gap\ndata: {"gap":{"missed":null,"reason":"lag"}}\n\n: zmq2ws\n\n`,
  );
  const { url } = await serve(t, async ({ url }, response) => {
    if (url.startsWith("/poll")) return json(response, { messages: [], next: "a-0" });
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const byte of stream) {
      response.write(Buffer.of(byte));
      await new Promise(setImmediate);
    }
  });
  const { told, until } = listen(t, url, { transports: ["sse"] });
  await until(({ gaps }) => gaps.length === 1);
  assert.deepEqual(told.messages, [message]);
  assert.deepEqual(told.gaps, [{ missed: null, reason: "lag" }]);
});

test("a poll goes on behind what it got, and says what was missed before it", async (t) => {
  const message = (number) => ({ id: `a-${number}`, topic: "t", data: String(number) });
  const gap = { missed: 2, reason: "history" };
  const answers = [
    { messages: [], next: "a-3" },
    { messages: [message(6), message(7)], next: "a-9", gap },
  ];
  const { url, asked } = await serve(t, (_, response, count) => {
    if (count <= answers.length) json(response, answers[count - 1]);
  });
  const { told } = listen(t, url, { transports: ["poll"] });
  while (asked.length < 3) await new Promise(setImmediate);
  const queries = ["timeout=0", "since=a-3&timeout=25", "since=a-9&timeout=25"];
  assert.deepEqual(asked.map(({ url }) => url), queries.map((query) => `/poll?${query}`));
  assert.deepEqual(told.messages, [message(6), message(7)]);
  assert.deepEqual(told.gaps, [gap]);
});

test("polls that are answered with nothing, at once, are not asked on and on", async (t) => {
  const { url, asked } = await serve(t, (_, response) => json(response, { messages: [], next: "a-1" }));
  const { told, until } = listen(t, url, { transports: ["poll"], retryMin: 60_000, retryMax: 60_000 });
  await until(({ states }) => states.at(-1)?.state === "waiting");
  assert.match(told.states.at(-1).error.message, /too early/);
  assert.equal(asked.length, 2);
});

test("the gateway at hand is heard over what Node has", async (t) => {
  for (const transport of ["sse", "poll"]) {
    const { feed, told, until } = listen(t, process.argv.at(-1), { transports: [transport], topics: ["weather."] });
    await until(({ messages }) => messages.length >= 10);
    feed.close();
    const numbers = told.messages.map(({ id }) => Number(id.split("-")[1]));
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
    assert.ok(told.messages.every(({ topic, data }) => topic.startsWith("weather.") && data.length > 0));
  }
});
