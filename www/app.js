// zmq2ws's own page: connects, counts, shows the newest messages.
//
// Messages may come faster than anyone can read. Each is cut to a bounded size and counted as it
// arrives, but rows are made once per animation frame, of the newest only. What a message holds
// reaches the document only as textContent.

import { digest, frameSize, visible } from "./message.js";

const ROWS_MAX = 200;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 30_000;
/** A connection that lived so long was a good one: the next failure starts the backoff afresh. */
const STABLE_MS = 5_000;
/** Browsers wait for minutes for a network that swallows packets. */
const CONNECT_TIMEOUT_MS = 10_000;

// ---- The connection --------------------------------------------------------------------------

/** One WebSocket at a time, opened again with jittered backoff for as long as the page lives. */
class Link {
  /** "connecting", "live" or "waiting". */
  state = "connecting";
  /** While waiting: why the last connection ended, and when the next begins. */
  ended = "";
  retryAt = 0;

  #socket = null;
  #retryTimer = 0;
  #failures = 0;

  constructor(makeUrl, onFrame, onChange) {
    Object.assign(this, { makeUrl, onFrame, onChange });
  }

  /** Leaves the present connection, if any, for a new one. */
  connect() {
    clearTimeout(this.#retryTimer);
    this.#socket?.close();

    const socket = new WebSocket(this.makeUrl());
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const connectTimer = setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS);
    let openedAt = null;

    // A socket that was left may still have events under way: they are no longer ours.
    const listen = (type, handler) =>
      socket.addEventListener(type, (event) => socket === this.#socket && handler(event));

    listen("open", () => {
      clearTimeout(connectTimer);
      openedAt = performance.now();
      this.#become("live");
    });
    listen("message", (event) => this.onFrame(event.data));
    listen("close", (event) => {
      clearTimeout(connectTimer);
      if (openedAt !== null && performance.now() - openedAt >= STABLE_MS) this.#failures = 0;
      this.ended = openedAt === null ? "could not connect" : describeClose(event);
      this.#retryLater();
    });
    this.#become("connecting");
  }

  /** The network or the reader is back: do not sit out the rest of the wait. */
  retryNow() {
    if (this.state === "waiting") this.connect();
  }

  #retryLater() {
    this.#failures += 1;
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.#failures);
    // Spread over the whole range, so that a restarted gateway does not meet everyone at once.
    const delay = RETRY_MIN_MS + Math.random() * (ceiling - RETRY_MIN_MS);
    this.retryAt = performance.now() + delay;
    this.#retryTimer = setTimeout(() => this.connect(), delay);
    this.#become("waiting");
  }

  #become(state) {
    this.state = state;
    this.onChange();
  }
}

function describeClose({ code, reason }) {
  const known = { 1001: "server going away", 1006: "connection lost", 1008: "refused by policy" };
  return [`closed with ${code}`, reason || known[code]].filter(Boolean).join(": ");
}

/** Beside the page, not at the root of the host: a proxy may serve it under any path. */
function socketUrl() {
  const query = ["format=json", ...topics.map((topic) => `topic=${encode(topic)}`)];
  const token = new URLSearchParams(location.search).get("token");
  if (token) query.push(`token=${encode(token)}`);
  if (lastId) query.push(`since=${encode(lastId)}`);
  const url = new URL(`ws?${query.join("&")}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** URLSearchParams would write a space as "+"; encodeURIComponent throws on half a surrogate pair. */
const encode = (text) => encodeURIComponent(text.toWellFormed());

// ---- Figures ---------------------------------------------------------------------------------

/** What came in the last second, counted in tenths of a second. */
class Meter {
  #slots = Array.from({ length: 11 }, () => ({ tenth: -1, messages: 0, bytes: 0 }));

  add(bytes) {
    const tenth = Meter.#tenth();
    const slot = this.#slots[tenth % 11];
    if (slot.tenth !== tenth) Object.assign(slot, { tenth, messages: 0, bytes: 0 });
    slot.messages += 1;
    slot.bytes += bytes;
  }

  /** The present tenth is not over: the ten before it are the second. */
  read() {
    const now = Meter.#tenth();
    const second = this.#slots.filter(({ tenth }) => tenth >= now - 10 && tenth < now);
    const sum = (key) => second.reduce((total, slot) => total + slot[key], 0);
    return { messages: sum("messages"), bytes: sum("bytes") };
  }

  static #tenth() {
    return Math.floor(performance.now() / 100);
  }
}

const formatNumber = new Intl.NumberFormat().format;

function formatBytes(bytes) {
  const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const unit = ["B", "KiB", "MiB", "GiB", "TiB"][power];
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${unit}`;
}

// ---- The page --------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

const totals = { messages: 0, bytes: 0, gaps: 0 };
const meter = new Meter();
const link = new Link(socketUrl, receive, requestFrame);
let topics = new URLSearchParams(location.search).getAll("topic").filter(Boolean);
/** Where to resume after a reconnect. */
let lastId = "";
/** Arrived and not shown, oldest first: never more than fit on the page, however long it is hidden. */
let pending = [];
let pendingTotal = 0;
let isPaused = false;
let isFrameRequested = false;

function receive(frame) {
  const item = digest(frame);
  const size = frameSize(frame);
  totals.bytes += size;
  if (item.kind === "gap") {
    totals.gaps += 1;
  } else {
    totals.messages += 1;
    meter.add(size);
  }
  lastId = item.id || lastId;
  pending.push(item);
  pendingTotal += 1;
  if (pending.length > ROWS_MAX) pending.shift();
  requestFrame();
}

function requestFrame() {
  if (isFrameRequested) return;
  isFrameRequested = true;
  requestAnimationFrame(render);
}

function render() {
  isFrameRequested = false;
  renderState();
  const rate = meter.read();
  setData("count", totals.messages, formatNumber);
  setData("rate", rate.messages, formatNumber);
  setData("bytes", totals.bytes, formatBytes);
  setData("byte-rate", rate.bytes, formatBytes);
  setData("gaps", totals.gaps, formatNumber);
  setText("pause", isPaused ? `Resume (${formatNumber(pendingTotal)} new)` : "Pause");
  if (!isPaused) renderRows();
}

function renderState() {
  const waiting = navigator.onLine ? "reconnecting" : "offline";
  const wait = Math.max(0, Math.ceil((link.retryAt - performance.now()) / 1000));
  $("state").dataset.state = link.state;
  setText("state", link.state === "waiting" ? waiting : link.state);
  setText("detail", link.state === "waiting" ? `in ${wait} s (${visible(link.ended)})` : "");
}

function renderRows() {
  if (pending.length === 0) return;
  const list = $("messages");
  const keep = ROWS_MAX - pending.length;
  while (list.childElementCount > keep) list.lastElementChild.remove();
  list.prepend(...pending.reverse().map(makeRow));
  forgetPending();
}

function forgetPending() {
  pending = [];
  pendingTotal = 0;
}

function makeRow(item) {
  const millis = String(item.at.getMilliseconds()).padStart(3, "0");
  const time = make("time", "", `${item.at.toTimeString().slice(0, 8)}.${millis}`);
  if (item.kind === "gap") {
    const body = make("div", "body", describeGap(item));
    return make("li", "gap", time, make("span", "topic", "gap"), body);
  }

  const isMessage = item.kind === "message";
  const topic = isMessage ? makeText("topic", item.topic) : make("span", "topic", "not a message");
  const body = make("div", "body");
  if (item.parts.length === 1) body.append(makeText("", item.parts[0]));
  else body.append(...item.parts.map((part) => makeText("part", part)));
  if (item.hidden) body.append(make("span", "part", `… ${formatNumber(item.hidden)} more parts`));
  const size = make("span", "size", formatBytes(item.size));
  const row = make("li", isMessage ? "message" : "message malformed", time, topic, body, size);
  if (item.id) row.title = `id ${visible(item.id)}`;
  return row;
}

function makeText(className, { text, isCut, isBinary }) {
  return make("span", isBinary ? `${className} binary` : className, visible(text), isCut ? "…" : "");
}

function describeGap({ missed, reason }) {
  const causes = {
    lag: "this page could not keep up",
    history: "away for longer than the gateway remembers",
    restart: "the gateway was restarted",
    upstream: "lost before reaching the gateway",
  };
  const some = missed === null ? "some messages" : missed === 1 ? "1 message" : `${formatNumber(missed)} messages`;
  return `missed ${some}: ${Object.hasOwn(causes, reason) ? causes[reason] : visible(reason)}`;
}

/** Strings among the children become text nodes: nothing here parses markup. */
function make(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

function setData(id, value, format) {
  $(id).value = value;
  setText(id, format(value));
}

/** Writes only what changed: every write to the state would be announced. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  topics = $("filter").value.split(",").map((topic) => topic.trim()).filter(Boolean);
  const page = new URL(location.href);
  page.searchParams.delete("topic");
  for (const topic of topics) page.searchParams.append("topic", topic);
  history.replaceState(null, "", page);
  lastId = ""; // A new question: its answer begins now, not where the old one ended.
  forgetPending();
  $("messages").replaceChildren();
  link.connect();
});

$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  requestFrame();
});

addEventListener("online", () => link.retryNow());
document.addEventListener("visibilitychange", () => document.hidden || link.retryNow());

$("filter").value = topics.join(", ");
setInterval(requestFrame, 250); // The rate falls and the countdown runs when nothing arrives, too.
link.connect();
