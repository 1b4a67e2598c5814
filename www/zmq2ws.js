// zmq2ws in a browser: the messages of a gateway over WebSocket, else Server-Sent Events, else long-polling.
//
//   import { zmq2ws } from "/zmq2ws.js";
//   const feed = zmq2ws("/", { topics: ["weather."] });
//   feed.on("message", ({ topic, data, id }) => console.log(id, topic, data));
//
// A page learns little about its connections: not why a WebSocket could not be opened, nor whether one that is silent is
// dead. So this module asks, by a poll that does not wait (`GET /poll?timeout=0&since=ID`), whether the gateway is there
// and lets it in, and what it should have seen by now. The answer decides
//
//   when a transport failed     whose fault that is: the next transport has its turn only where the gateway is there
//   when a stream is silent     whether there are no messages, or messages do not arrive
//   before the first message    where to resume
//
// A new connection resumes by id, so that nothing is lost or doubled between two transports.

/** The better ones first: the next has its turn where one does not work. */
const TRANSPORTS = { websocket: webSocket, sse: events, poll: polls };

/** Times are in milliseconds; `zmq2ws.d.ts` says what each is for. */
const DEFAULTS = {
  topics: [],
  exact: [],
  since: "",
  token: "",
  transports: Object.keys(TRANSPORTS),
  timeout: 5_000,
  quiet: 60_000,
  retryMin: 1_000,
  retryMax: 30_000,
  upgradeAfter: 300_000,
  signal: null,
  latest: false,
  shared: false,
};

/** How long a poll waits: some proxies give up after 30 s. */
const POLL_SECONDS = 25;

/** Milliseconds: a poll that waits, and brings nothing, takes longer. */
const HASTE = 1_000;

/** Milliseconds: the longest wait, also where the gateway asks for more. */
const HOUR = 3_600_000;

/** The gateway's refusals that stay, however often one asks. */
const LASTING = [400, 401, 403, 414];

/** The gateway's own 404: the URL is wrong. Another server's may end with a deployment. */
const NOTHING_HERE = "there is nothing at this path";

/**
 * Connects to the gateway at `url`, and stays connected until `close()`.
 * @param {string | URL} [url]
 * @param {import("./zmq2ws.d.ts").Options} [options]
 * @returns {import("./zmq2ws.d.ts").Feed}
 */
export function zmq2ws(url = "/", options = {}) {
  for (const name of Object.keys(options)) if (!Object.hasOwn(DEFAULTS, name)) throw unknownOption(name);
  const settings = { ...DEFAULTS, ...options };
  for (const name of ["topics", "exact", "transports"]) {
    const isList = Array.isArray(settings[name]) && settings[name].every((item) => typeof item === "string");
    if (!isList) throw new TypeError(`zmq2ws: ${name} must be an array of strings`);
  }
  settings.transports = settings.transports.filter((name) => {
    if (!Object.hasOwn(TRANSPORTS, name)) throw new TypeError(`zmq2ws: unknown transport '${name}'`);
    return name !== "websocket" || globalThis.WebSocket;
  });
  if (settings.transports.length === 0) throw new TypeError("zmq2ws: none of the transports is there");
  const gateway = new Gateway(url, settings);
  const canShare = settings.shared && !gateway.since && globalThis.navigator?.locks && globalThis.BroadcastChannel;
  return canShare ? new SharedFeed(gateway, settings) : new Feed(gateway, settings);
}

function unknownOption(name) {
  const meant = { __proto__: null, topic: "topics", filter: "topics", prefixes: "topics", transport: "transports", lastEventId: "since" }[name];
  return new TypeError(`zmq2ws: unknown option '${name}'${meant ? `: the name is '${meant}'` : ""}`);
}

export default zmq2ws;

// ---- What every feed offers -------------------------------------------------------------------------------------------

/** Messages that wait for an iterator, and topics in `latest`. */
const QUEUE_MAX = 10_000;

/** Milliseconds between two calls to those who look at `latest`: a frame. */
const FRAME = 16;

class Emitter {
  /** The newest message of each topic, with `latest: true`. */
  latest;
  /** @type {import("./zmq2ws.d.ts").State} What the last `state` event said. */
  status = { state: "connecting" };
  #handlers = { message: new Set(), gap: new Set(), state: new Set(), id: new Set() };
  #signal;
  #abort = () => this.close();

  constructor({ signal, latest }) {
    this.latest = latest ? new Latest() : null;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
    // The page has the rest of this turn to add handlers.
    queueMicrotask(() => {
      if (signal?.aborted) this.close();
      if (this.status.state !== "closed") this.begin();
    });
  }

  /** Calls `handler` for each "message", "gap", "state" or "id". Returns a function that ends this. */
  on(type, handler) {
    const handlers = Object.hasOwn(this.#handlers, type) && this.#handlers[type];
    if (!handlers) throw new TypeError(`zmq2ws: unknown event '${type}'`);
    handlers.add(handler);
    return () => void handlers.delete(handler);
  }

  /** The messages, until the feed is closed. An iterator that lags loses the oldest, and the feed tells a gap. */
  async *[Symbol.asyncIterator]() {
    let queue = [];
    /** @type {(value?: any) => void} */
    let wake = () => {};
    const offs = [
      this.on("message", (message) => {
        queue.push(message);
        if (queue.length >= QUEUE_MAX * 2) {
          queue = queue.slice(-QUEUE_MAX);
          this.emit("gap", { missed: QUEUE_MAX, reason: "lag" });
        }
        wake();
      }),
      this.on("state", () => wake()),
    ];
    try {
      for (;;) {
        const batch = queue;
        queue = [];
        yield* batch;
        if (queue.length > 0) continue;
        if (this.status.state === "closed") {
          if (this.status.error) throw this.status.error;
          return;
        }
        await new Promise((go) => (wake = go));
      }
    } finally {
      offs.forEach((off) => off());
    }
  }

  /** Begins what `close` ends. */
  begin() {}

  close() {}

  become(status) {
    this.status = status;
    if (status.state === "closed") {
      this.#signal?.removeEventListener("abort", this.#abort);
      this.latest?.end();
    }
    this.emit("state", status);
  }

  emit(type, event) {
    if (type === "message") this.latest?.put(event);
    for (const handler of [...this.#handlers[type]]) {
      try {
        handler(event);
      } catch (error) {
        // A mistake of the page does not stop the next message.
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

/** Topics and their newest messages; a topic of bytes by "\0" and its bytes in hex. */
class Latest extends Map {
  #watchers = new Set();
  /** @type {Map<string, any> | null} */
  #snapshot = null;
  #timer;

  put(message) {
    const { topic } = message;
    const key = typeof topic === "string" ? topic : `\0${Array.from(topic, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    if (!this.has(key) && this.size >= QUEUE_MAX) this.delete(this.keys().next().value);
    this.set(key, message);
    this.#snapshot = null;
    if (this.#watchers.size > 0) this.#timer ??= setTimeout(() => this.#tell(), FRAME);
  }

  /** Calls `watcher` now and once per frame with changes. Returns a function that ends this. */
  subscribe = (watcher) => {
    this.#watchers.add(watcher);
    watcher(this);
    return () => void this.#watchers.delete(watcher);
  };

  /** A copy, the same one until something changes. */
  snapshot = () => (this.#snapshot ??= new Map(this));

  end() {
    if (this.#timer) this.#tell();
  }

  #tell() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(this);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }
}

// ---- The feed: which transport, when, and from where ------------------------------------------------------------------

class Feed extends Emitter {
  #settings;
  #gateway;
  /** The id to resume behind: of the last message, or a later one with nothing for this feed in between. */
  #since;
  /** The transport in use, by its place in the settings. */
  #index = 0;
  /** @type {Link | null} */
  #link = null;
  /** @type {Link | null} A better transport, tried beside the one in use. */
  #trial = null;
  #trials = 0;
  #failures = 0;
  #retryTimer;
  #trialTimer;

  constructor(gateway, settings) {
    super(settings);
    this.#settings = settings;
    this.#gateway = gateway;
    this.#since = gateway.since;
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  /** The id to resume behind, or "". */
  get id() {
    return this.#since;
  }

  /** Leaves every connection and every wait; the last event says so. */
  close() {
    this.#end();
  }

  begin() {
    this.#connect();
  }

  #connect() {
    // Asked first, so that hardly a message of the stream is older than the answer.
    if (!this.#since && this.#transport !== "poll") this.#learnPosition();
    this.#link = this.#open(this.#index);
    this.become({ state: "connecting", transport: this.#transport });
  }

  get #transport() {
    return this.#settings.transports[this.#index];
  }

  #open(index) {
    const link = new Link(this.#settings.transports[index], this.#gateway, () => this.#since, this.#settings, {
      open: () => this.#opened(link, index),
      receive: (object) => link === this.#link && this.#receive(object, link),
      steady: () => (this.#failures = 0),
      check: () => this.#check(link),
      end: (error) => this.#ended(link, error),
    });
    return link;
  }

  #opened(link, index) {
    if (link === this.#trial) {
      this.#link?.close();
      this.#link = link;
      this.#trial = null;
      this.#index = index;
      // It resumed where the other was when it began; that one has gone on meanwhile.
      link.skipTo = this.#since;
    }
    this.#tryBetterLater();
    this.become({ state: "open", transport: this.#transport });
  }

  /** A message, a gap, or where an answer to a poll ends. */
  #receive(object, link) {
    if (object.gap) return this.emit("gap", object.gap);
    const id = object.next ?? object.id;
    if (typeof id !== "string") throw new TypeError("this is no message of zmq2ws");
    if (link.skipTo && !isAfter(id, link.skipTo)) return;
    link.skipTo = "";
    this.#since = id;
    if (object.next) this.emit("id", id);
    else this.emit("message", decode(object));
  }

  /** A stream is silent: is there nothing to say? */
  async #check(link) {
    const since = this.#since;
    const asked = performance.now();
    const answer = await this.#gateway.ask(since, 0, link.signal).catch((error) => ({ error }));
    const isSilent = () => link === this.#link && since === this.#since;
    if (!isSilent()) return;
    if (answer.error) {
      // It answered before, and now it neither speaks nor answers: it is gone. Where comments still come over the stream,
      // it lives, and the poll only found no free connection: browsers open six to a host.
      const isAlive = link.transport === "sse" && performance.now() - link.heardAt < this.#settings.quiet;
      if (!answer.error.status && this.#gateway.hasAnswered && !isAlive) link.fail(answer.error);
    } else if (answer.messages.length === 0 && !answer.gap) {
      this.#since = answer.next;
      this.emit("id", answer.next);
    } else if (answer.messages.length > 0 && since && epochOf(since) === epochOf(answer.next)) {
      // What is large may be under way: the stream gets the time that the answer took.
      const patience = Math.max(this.#settings.timeout, performance.now() - asked);
      const doubt = new Error(`messages do not arrive over ${link.transport}`);
      link.after(patience, () => isSilent() && link.fail(doubt, true));
    }
  }

  /** Where to resume should the stream break before its first message. */
  async #learnPosition() {
    const { messages, next } = await this.#gateway.ask("", 0).catch(() => ({}));
    if (this.#since || messages?.length !== 0 || this.status.state === "closed") return;
    this.#since = next;
    this.emit("id", next);
  }

  async #ended(link, error) {
    if (link === this.#trial) {
      this.#trial = null;
      return this.#tryBetterLater();
    }
    if (link !== this.#link) return;
    this.#drop();
    // Whatever was open may end, and that only now and then.
    if (link.isProven || (link.isOpen && this.#failures === 0)) return this.#retryLater(error);

    if (this.status.state === "open") this.become({ state: "connecting", transport: this.#transport });
    const isKnown = error.isLasting || error.retryAfter || link.transport === "poll";
    const verdict = isKnown ? error : await this.#gateway.ask(this.#since, 0).then(() => null, (reason) => reason);
    if (this.status.state === "closed") return;
    if (verdict?.isLasting) return this.#end(verdict);
    // An answer unlike a gateway's may come from a proxy that passes only another path.
    if (!verdict || (verdict.status && verdict.status < 500)) {
      this.#index = (this.#index + 1) % this.#settings.transports.length;
      if (!verdict && this.#index > 0) return this.#connect();
    }
    this.#retryLater(verdict ?? error);
  }

  #retryLater(error) {
    const ceiling = Math.min(this.#settings.retryMax, this.#settings.retryMin * 2 ** this.#failures);
    this.#failures += 1;
    // Over the whole range, so that a gateway that restarts does not meet everyone at once.
    const delay = (error.retryAfter ?? 0) + Math.random() * ceiling;
    this.#retryTimer = setTimeout(() => this.#connect(), delay);
    this.become({ state: "waiting", transport: this.#transport, delay, error });
  }

  #tryBetterLater() {
    clearTimeout(this.#trialTimer);
    if (this.#index === 0) return;
    const delay = this.#settings.upgradeAfter * (0.5 + Math.random() / 2);
    this.#trialTimer = setTimeout(() => {
      if (this.#since) this.#trial = this.#open(this.#trials++ % this.#index);
      else this.#tryBetterLater();
    }, delay);
  }

  /** The network or the reader is back: no wait is sat out, and what was open before is not trusted. */
  #wake = ({ type }) => {
    const status = this.status;
    if (globalThis.document?.hidden) return;
    if (status.state === "open") this.#check(this.#link);
    if (status.state !== "waiting" || status.error.retryAfter) return;
    // Another network may let through what the last one did not.
    if (type === "online") this.#index = this.#failures = 0;
    clearTimeout(this.#retryTimer);
    this.#connect();
  };

  #end(error) {
    if (this.status.state === "closed") return;
    this.#drop();
    this.#gateway.leave();
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.become(error ? { state: "closed", error } : { state: "closed" });
  }

  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#trialTimer);
    this.#link?.close();
    this.#trial?.close();
    this.#link = this.#trial = null;
  }
}

// ---- One connection for all tabs ----------------------------------------------------------------------------------------

/** Milliseconds that a new leader gives the others to say where they are. */
const ROLL_CALL = 150;

/**
 * The tab that holds the lock has the connection and tells the others by a channel. When it goes, the next one resumes
 * behind the earliest of their ids, and each takes only what is new to it.
 */
class SharedFeed extends Emitter {
  #gateway;
  #settings;
  #channel;
  /** @type {Feed | null} */
  #leader = null;
  #since = "";
  #positions = [];
  /** Whether another tab was heard; without one nothing is sent. */
  #hasOthers = false;
  #end = new AbortController();

  constructor(gateway, settings) {
    super(settings);
    this.#gateway = gateway;
    this.#settings = settings;
  }

  get id() {
    return this.#since;
  }

  begin() {
    const name = `zmq2ws ${this.#gateway.name}`;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#tell({ hello: true });
    const { signal } = this.#end;
    const lead = () => (signal.aborted ? null : this.#lead(signal));
    navigator.locks.request(name, { signal }, lead).catch(() => {});
  }

  close() {
    this.#close();
  }

  /** Holds the lock until the feed is closed. */
  async #lead(signal) {
    this.#positions = this.#since ? [this.#since] : [];
    this.#tell({ where: true });
    await new Promise((go) => setTimeout(go, ROLL_CALL));
    if (signal.aborted) return;
    const since = this.#positions.reduce((first, id) => (first && !isAfter(first, id) ? first : id), "");
    const settings = { ...this.#settings, signal: null, latest: false };
    const leader = new Feed(Object.assign(this.#gateway, { since }), settings);
    this.#leader = leader;
    const forward = (kind) => leader.on(kind, (event) => {
      // What is closed here on purpose goes on elsewhere.
      if (!this.#leader) return;
      const told = { [kind]: kind === "state" ? plainState(event) : event, id: leader.id };
      if (this.#hasOthers) this.#tell(told);
      this.#take(told);
    });
    ["message", "gap", "state", "id"].forEach(forward);
    await new Promise((go) => signal.addEventListener("abort", go));
  }

  /** What the leader tells, or asks. @param {any} told */
  #hear({ hello, where, at, ...told }) {
    if (this.status.state === "closed") return;
    this.#hasOthers = true;
    if (hello && this.#leader) this.#tell({ state: plainState(this.#leader.status), id: this.#leader.id });
    if (where) this.#tell({ at: this.#since });
    if (at) this.#positions.push(at);
    this.#take(told);
  }

  /** @param {any} told */
  #take({ message, gap, state, id }) {
    if (message) {
      if (this.#since && !isAfter(message.id, this.#since)) return;
      this.#since = message.id;
      this.emit("message", message);
    } else if (id && (!this.#since || isAfter(id, this.#since)) && !gap) {
      this.#since = id;
      this.emit("id", id);
    }
    if (gap) this.emit("gap", gap);
    if (state?.state === "closed") this.#close(revive(state).error);
    else if (state) this.become(revive(state));
  }

  #tell(what) {
    this.#channel.postMessage(what);
  }

  #close(error) {
    if (this.status.state === "closed") return;
    const leader = this.#leader;
    this.#leader = null;
    this.#end.abort();
    leader?.close();
    this.#channel?.close();
    this.become(error ? { state: "closed", error } : { state: "closed" });
  }
}

/** A state as a channel carries it: of an error it would keep only the message. @param {any} state */
function plainState({ error, ...state }) {
  return error ? { ...state, error: { ...error, message: error.message } } : state;
}

function revive({ error, ...state }) {
  return error ? { ...state, error: Object.assign(new Error(error.message), error) } : state;
}

// ---- One connection, whatever its transport -----------------------------------------------------------------------------

class Link {
  /** Whether the gateway has consented. */
  isOpen = false;
  /** Whether the transport has shown that it delivers. */
  isProven = false;
  /** When the last bytes came, comments included. */
  heardAt = 0;
  /** Another link has delivered the messages up to this id. */
  skipTo = "";
  transport;
  gateway;
  since;
  #settings;
  #events;
  #abort = new AbortController();
  #timers = new Set();
  #isSilent = true;

  /** `since` gives the id to resume behind; `events` gets what happens, each `end` once and last. */
  constructor(transport, gateway, since, settings, events) {
    this.transport = transport;
    this.gateway = gateway;
    this.since = since;
    this.#settings = settings;
    this.#events = events;
    const { timeout } = settings;
    this.after(timeout, () => this.isOpen || this.fail(new Error(`no ${transport} within ${timeout} ms`)));
    TRANSPORTS[transport](this).catch((error) => this.fail(error));
  }

  get signal() {
    return this.#abort.signal;
  }

  /** The gateway has consented. */
  open() {
    if (this.isOpen || this.signal.aborted) return;
    this.isOpen = true;
    this.#events.open();
    this.after(this.#settings.timeout, () => {
      this.#events.steady();
      // A poll has a time limit of its own.
      if (this.transport !== "poll") this.#watch();
    });
  }

  /** Bytes of the gateway's came. */
  heard() {
    this.isProven = true;
    this.heardAt = performance.now();
    this.open();
  }

  receive(object) {
    if (this.signal.aborted) return;
    this.#isSilent = false;
    this.heard();
    this.#events.receive(object);
  }

  fail(error, isTransportsFault = false) {
    if (this.signal.aborted) return;
    if (isTransportsFault) this.isOpen = this.isProven = false;
    this.close();
    this.#events.end(error);
  }

  close() {
    this.#abort.abort();
    this.#timers.forEach(clearTimeout);
  }

  /** Calls `action` in `delay` milliseconds, if the link is still there. */
  after(delay, action) {
    if (this.signal.aborted) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delay);
    this.#timers.add(timer);
  }

  #watch() {
    if (this.#isSilent) this.#events.check();
    this.#isSilent = true;
    this.after(this.#settings.quiet, () => this.#watch());
  }
}

// ---- The transports: each goes on until it fails, or its link is closed -------------------------------------------------

async function webSocket(link) {
  const socket = new WebSocket(link.gateway.socketUrl(link.since()));
  link.signal.addEventListener("abort", () => socket.close());
  await new Promise((_, reject) => {
    socket.onopen = () => link.open();
    socket.onclose = ({ code, reason }) => reject(new Error(`WebSocket closed with ${code} ${reason}`.trim()));
    socket.onmessage = ({ data }) => {
      try {
        link.receive(JSON.parse(data));
      } catch (error) {
        reject(error);
      }
    };
  });
}

/** Not by EventSource, which tells neither why it was refused nor that the first bytes came. */
async function events(link) {
  const query = { format: "json", since: link.since() };
  await link.gateway.get("sse", query, "text/event-stream", 0, link.signal, async ({ body }) => {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the event stream ended");
      link.heard();
      const lines = decoder.decode(value, { stream: true }).split("\n");
      lines[0] = rest + lines[0];
      rest = lines.pop() ?? "";
      // Each message and each gap is one line of JSON, which says itself what it is.
      for (const line of lines) if (line.startsWith("data: ")) link.receive(JSON.parse(line.slice(6)));
    }
  });
}

async function polls(link) {
  // The first does not wait: its answer shows that polls work.
  for (let seconds = 0; ; seconds = POLL_SECONDS) {
    const asked = performance.now();
    const { gap, messages, next } = await link.gateway.ask(link.since(), seconds, link.signal);
    if (gap) link.receive({ gap });
    for (const message of messages) link.receive(message);
    link.receive({ next });
    // So says a gateway that ends, and what remembers answers: neither is to be asked again at once.
    const isHasty = seconds > 0 && messages.length === 0 && !gap && performance.now() - asked < HASTE;
    if (isHasty) throw new Error("a poll was answered with nothing, and too early");
  }
}

// ---- The gateway: where it is, and how it is asked ----------------------------------------------------------------------

class Gateway {
  /** Whether it ever answered a poll. */
  hasAnswered = false;
  /** The id to begin behind, or "". */
  since;
  #base;
  #filter;
  #settings;
  #abort = new AbortController();

  constructor(url, settings) {
    const base = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    base.protocol = base.protocol.replace("ws", "http");
    // The addresses that the gateway prints name a transport.
    base.pathname = base.pathname.replace(/\/(ws|sse|poll)\/?$/, "/").replace(/\/?$/, "/");
    const query = new URLSearchParams(base.search);
    this.since = settings.since || (query.get("since") ?? "");
    this.#settings = { ...settings, token: settings.token || (query.get("token") ?? "") };
    const own = ["since", "token", "format", "timeout"];
    const kept = [...query].filter(([name]) => !own.includes(name)).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    base.search = base.hash = "";
    this.#base = base;
    const pairs = (name, topics) => topics.map((topic) => `${name}=${encodeURIComponent(topic)}`);
    this.#filter = [...kept, ...pairs("topic", settings.topics), ...pairs("exact", settings.exact)];
  }

  /** The same for feeds that may share a connection. */
  get name() {
    const { token } = this.#settings;
    return JSON.stringify([this.#base.href, ...this.#filter, typeof token === "string" ? token : ""]);
  }

  /** Ends what is asked without a signal. */
  leave() {
    this.#abort.abort();
  }

  /** A page cannot add fields to a WebSocket's request, so the token is in its query. */
  socketUrl(since) {
    return this.#url("ws", { format: "json", since, token: this.#token }).replace(/^http/, "ws");
  }

  /** The messages behind `since`, or else those that come within `seconds`. */
  ask(since, seconds, signal = this.#abort.signal) {
    const query = { since, timeout: String(seconds) };
    return this.get("poll", query, "application/json", seconds * 1_000, signal, async (response) => {
      const answer = await response.json();
      if (!Array.isArray(answer?.messages)) throw await refusal(response);
      this.hasAnswered = true;
      return answer;
    });
  }

  /** Has `read` read the answer, which has to begin in time after `wait` milliseconds, and may then take longer. */
  async get(path, query, type, wait, signal, read) {
    const abort = new AbortController();
    const stop = () => abort.abort();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    const limit = wait + this.#settings.timeout;
    const timer = setTimeout(() => abort.abort(new Error(`no answer within ${limit} ms`)), limit);
    const token = this.#token;
    try {
      const response = await fetch(this.#url(path, query), {
        signal: abort.signal,
        cache: "no-store",
        credentials: "include", // As a WebSocket does it.
        headers: token ? { Authorization: `Bearer ${token}` } : {},
      });
      clearTimeout(timer);
      const isMeant = response.ok && response.headers.get("Content-Type")?.startsWith(type);
      if (!isMeant) throw await refusal(response);
      return await read(response);
    } catch (error) {
      const origin = globalThis.location?.origin;
      if (!(error instanceof TypeError) || !origin || origin === this.#base.origin) throw error;
      // Browsers do not tell a page which of them it is.
      throw new Error(`no answer: ${this.#base.origin} is down, or does not let pages of ${origin} in (--origin)`);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      stop();
    }
  }

  get #token() {
    const { token } = this.#settings;
    return typeof token === "function" ? token() : token;
  }

  #url(path, query) {
    const given = Object.entries(query).filter(([, value]) => value);
    const pairs = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const url = new URL(path, this.#base);
    url.search = [...this.#filter, ...pairs].join("&");
    return url.href;
  }
}

/** What is no answer of the kind that was asked for, as an error that says what to do about it. */
async function refusal(response) {
  const { status, headers, bodyUsed } = response;
  // The gateway gives its reason as plain text, on one line; what a proxy says may be different soon.
  const isGateways = !bodyUsed && headers.get("Content-Type")?.startsWith("text/plain");
  const reason = isGateways ? (await response.text()).trim() : "this is no answer of zmq2ws";
  const retryAfter = Math.min(Math.max(Number(headers.get("Retry-After")) * 1_000 || 0, 0), HOUR);
  const isLasting = isGateways && (LASTING.includes(status) || reason === NOTHING_HERE);
  return Object.assign(new Error(`${status}: ${reason}`), { status, retryAfter, isLasting });
}

// ---- Messages and ids ---------------------------------------------------------------------------------------------------

function decode({ id, topic, topic64, data, encoding }) {
  const part = (text, name) => (name === "base64" ? decodeBase64(text) : text);
  const body = Array.isArray(data) ? data.map((text, at) => part(text, encoding?.[at])) : part(data, encoding);
  return { id, topic: topic ?? decodeBase64(topic64), data: body };
}

function decodeBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** The run of the gateway that an id is of. */
const epochOf = (id) => id.split("-")[0];

/** Whether `id` is later than `other`, or of another run. */
function isAfter(id, other) {
  return epochOf(id) !== epochOf(other) || Number(id.split("-")[1]) > Number(other.split("-")[1]);
}
