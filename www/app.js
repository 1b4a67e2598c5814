// zmq2ws's own page: counts, and shows the newest messages and how they come here.
//
// Messages may come faster than anyone can read. Each is cut to a bounded size and counted as it
// arrives, but rows are made once per animation frame, of the newest only. What a message holds
// reaches the document only as textContent.

import { digest, digestGap, visible } from "./message.js";
import { zmq2ws } from "./zmq2ws.js";

const ROWS_MAX = 200;

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
let topics = new URLSearchParams(location.search).getAll("topic").filter(Boolean);
let feed = null;
/** What the feed last said of itself, and while it waits: when it goes on. */
let status = { state: "connecting" };
let retryAt = 0;
/** Arrived and not shown, oldest first: never more than fit on the page, however long it is hidden. */
let pending = [];
let pendingTotal = 0;
let isPaused = false;
let isFrameRequested = false;

/** Leaves the present feed, if any, for one of the topics. */
function connect() {
  feed?.close();
  // Beside the page, not at the root of the host: a proxy may serve it under any path.
  const token = new URLSearchParams(location.search).get("token") ?? "";
  feed = zmq2ws(".", { topics: topics.map((topic) => topic.toWellFormed()), token });
  feed.on("message", receive);
  feed.on("gap", receiveGap);
  feed.on("state", (newest) => {
    status = newest;
    retryAt = performance.now() + (newest.delay ?? 0);
    requestFrame();
  });
}

function receive(message) {
  const item = digest(message);
  const bytes = item.topic.size + item.size;
  totals.messages += 1;
  totals.bytes += bytes;
  meter.add(bytes);
  show(item);
}

function receiveGap(gap) {
  totals.gaps += 1;
  show(digestGap(gap));
}

function show(item) {
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

/** What the page calls a transport. */
const TRANSPORTS = { websocket: "WebSocket", sse: "Server-Sent Events", poll: "long-polling" };

function renderState() {
  const { state, transport, error } = status;
  const words = { open: "live", waiting: navigator.onLine ? "reconnecting" : "offline" };
  const wait = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
  const why = error ? `(${visible(error.message)})` : "";
  const details = { open: `over ${TRANSPORTS[transport]}`, waiting: `in ${wait} s ${why}`, closed: why };
  $("state").dataset.state = words[state] === "live" ? "live" : state;
  $("state").dataset.transport = state === "open" ? transport : "";
  setText("state", words[state] ?? state);
  setText("detail", details[state] ?? "");
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

  const body = make("div", "body");
  if (item.parts.length === 1) body.append(makeText("", item.parts[0]));
  else body.append(...item.parts.map((part) => makeText("part", part)));
  if (item.hidden) body.append(make("span", "part", `… ${formatNumber(item.hidden)} more parts`));
  const size = make("span", "size", formatBytes(item.size));
  const row = make("li", "message", time, makeText("topic", item.topic), body, size);
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
  forgetPending();
  $("messages").replaceChildren();
  connect(); // A new question: its answer begins now, not where the old one ended.
});

$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  requestFrame();
});

$("filter").value = topics.join(", ");
setInterval(requestFrame, 250); // The rate falls and the countdown runs when nothing arrives, too.
connect();
