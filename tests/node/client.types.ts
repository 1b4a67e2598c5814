// What the declarations of the browsers' client allow, and what not: compiled, never run.
import byDefault, { zmq2ws, type Feed, type Gap, type Message, type Options, type State, type Transport } from "../../www/zmq2ws.js";

const options: Options = {
  topics: ["weather."],
  exact: ["news"],
  since: "k3x9abcd-42",
  token: () => "secret",
  transports: ["sse", "poll"] as const,
  timeout: 1,
  quiet: 1,
  retryMin: 1,
  retryMax: 1,
  upgradeAfter: 1,
  signal: new AbortController().signal,
  latest: true,
  shared: true,
};
const feed: Feed = zmq2ws("/", options);
const feeds: Feed[] = [zmq2ws(), zmq2ws(new URL("https://a.example")), byDefault("/", { token: "secret" })];

const off: () => void = feed.on("message", ({ id, topic, data }: Message) => {
  const size: number = id.length + topic.length;
  if (typeof data === "string") data.startsWith("x");
  else if (data instanceof Uint8Array) data.subarray(size);
  else data.map((part: string | Uint8Array) => part.length);
  // @ts-expect-error: it may be bytes.
  topic.startsWith("x");
});
feed.on("gap", ({ missed, reason }: Gap) => {
  const isRestart: boolean = reason === "restart";
  // @ts-expect-error: it may be null.
  return isRestart && missed + 1;
});
feed.on("state", (state: State) => {
  if (state.state === "open") {
    const transport: Transport = state.transport;
    return transport;
  }
  if (state.state === "waiting") return state.delay + state.error.message.length + (state.error.status ?? 0);
  // @ts-expect-error: there is none.
  return state.delay;
});
feed.on("id", (id: string) => id.length);
const last: string = feed.id;
async function iterate() {
  for await (const { data, id } of feed) last.concat(id, String(data.length));
}
iterate();

// As React, Vue and Svelte take it.
declare function useSyncExternalStore<T>(subscribe: (changed: () => void) => () => void, snapshot: () => T): T;
declare function shallowRef<T>(value: T): { value: T };
interface Readable<T> {
  subscribe(run: (value: T) => void): () => void;
}
if (feed.latest) {
  const byTopic: ReadonlyMap<string, Message> = useSyncExternalStore(feed.latest.subscribe, feed.latest.snapshot);
  const newest = shallowRef(feed.latest.snapshot());
  feed.latest.subscribe((latest) => (newest.value = latest.snapshot()));
  const store: Readable<ReadonlyMap<string, Message>> = feed.latest;
  byTopic.get("x")?.data;
  store.subscribe((latest) => latest.size);
  // @ts-expect-error: only the feed writes it.
  feed.latest.set("x", byTopic.get("x"));
}
feed.status.state satisfies State["state"];
feed.close();
off();
feeds.length;

// @ts-expect-error
feed.on("massage", () => {});
// @ts-expect-error
zmq2ws("/", { topics: "weather." });
// @ts-expect-error
zmq2ws("/", { transports: ["pigeon"] });
// @ts-expect-error
zmq2ws("/", { timeout: "5s" });
// @ts-expect-error
zmq2ws("/", { topic: ["weather."] });
// @ts-expect-error
feed.status = { state: "closed" };
