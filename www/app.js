// zmq2ws's own page: the topics, the stream of messages, one message, plots, and how it is going.
//
// It is a client as any other: all that it knows comes through `zmq2ws.js` and the public `/status`. Messages may come
// faster than anyone can read: each is counted as it arrives, and the views are drawn once per frame at most.

import { Detail } from "./detail.js";
import { $, copy, formatBytes, formatNumber, setText } from "./dom.js";
import { Health, TRANSPORTS } from "./health.js";
import { digest, digestGap, visible } from "./message.js";
import { Plot } from "./plot.js";
import { Stream } from "./stream.js";
import { Topics } from "./topics.js";
import { zmq2ws } from "./zmq2ws.js";

const VIEWS = ["topics", "stream", "health"];
/** Between two drawings of what changes with every message. */
const DRAW_MILLIS = 200;

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

// ---- What the page knows ---------------------------------------------------------------------

const asked = new URLSearchParams(location.search);
const token = asked.get("token") ?? "";
const totals = { messages: 0, bytes: 0, gaps: 0 };
const meter = new Meter();
/** As the filter has it: prefixes, and very topics behind `=`. */
let wanted = [...asked.getAll("topic").filter(Boolean), ...asked.getAll("exact").map((topic) => `=${topic}`)];
let view = VIEWS.includes(asked.get("view")) ? asked.get("view") : "topics";
/** The topic to open once it is there. */
let toOpen = asked.get("open");
let toPlot = asked.getAll("plot");
let feed = null;
/** What the feed last said of itself, and while it waits: when it goes on. */
let status = { state: "connecting" };
let retryAt = 0;
let lastId = "";
let wasOpen = false;
let isFrameRequested = false;
let drawnAt = 0;

const stream = new Stream((item) => open(topics.get(item.key)));
const topics = new Topics((node) => (node ? open(node) : remember()));
const plot = new Plot(remember);
const health = new Health(token);
const detail = new Detail({
  plot: (node, steps) => plot.toggle(node.key, node.name, steps),
  link: () => address({ withToken: false }).href,
  follow: (node) => ask(node.last.topic.isBinary ? [] : [`${node.last.topic.isCut ? "" : "="}${node.last.topic.text}`]),
  close: () => open(null),
});

// ---- Messages --------------------------------------------------------------------------------

/** Leaves the present feed, if any, for one of what is wanted. */
function connect() {
  const old = feed;
  feed = null;
  old?.close();
  status = { state: "connecting" };
  const clean = wanted.map((topic) => topic.toWellFormed());
  const exact = clean.filter((topic) => topic.startsWith("=")).map((topic) => topic.slice(1));
  // Beside the page, not at the root of the host: a proxy may serve it under any path.
  const mine = zmq2ws(".", { topics: clean.filter((topic) => !topic.startsWith("=")), exact, token, shared: true });
  feed = mine;
  wasOpen = false;
  lastId = "";
  mine.on("message", receive);
  mine.on("gap", receiveGap);
  mine.on("state", (newest) => {
    // The one that is left says that it is closed.
    if (feed !== mine) return;
    status = newest;
    retryAt = performance.now() + (newest.delay ?? 0);
    health.state(newest);
    if (newest.state === "open") {
      if (wasOpen && lastId) health.resumed(lastId);
      wasOpen = true;
      health.ask();
    }
    requestFrame();
  });
}

function receive(message) {
  const item = digest(message);
  const bytes = item.topic.size + item.size;
  totals.messages += 1;
  totals.bytes += bytes;
  lastId = item.id;
  meter.add(bytes);
  const node = topics.add(item);
  stream.add(item);
  if (toPlot.length) replot(item.key, node.name);
  if (plot.has(item.key)) plot.add(item.key, item.at, message.data);
  if (toOpen === item.key) open(node);
  if (detail.key === item.key) detail.add(message, item.size);
  // A frame costs more than a message: only a plot moves with each.
  if (plot.has(item.key) || performance.now() - drawnAt >= DRAW_MILLIS) requestFrame();
}

/** Lines that the page's address asks for begin with the first message of their topic. */
function replot(key, name) {
  const isOf = (text) => {
    try {
      const [of, ...steps] = JSON.parse(text);
      if (of !== key || !steps.every((step) => typeof step === "string")) return false;
      plot.toggle(key, name, steps);
      return true;
    } catch {
      return false;
    }
  };
  const left = toPlot.filter((text) => !isOf(text));
  if (left.length !== toPlot.length) {
    toPlot = left;
    remember();
  }
}

function receiveGap(gap) {
  totals.gaps += 1;
  const item = digestGap(gap);
  stream.add(item);
  health.gap(item);
  requestFrame();
}

// ---- Drawing ---------------------------------------------------------------------------------

function requestFrame() {
  if (isFrameRequested) return;
  isFrameRequested = true;
  requestAnimationFrame(render);
}

function render(now) {
  isFrameRequested = false;
  renderState();
  plot.render(false);
  if (now - drawnAt < DRAW_MILLIS) return;
  drawnAt = now;
  const rate = meter.read();
  setData("count", totals.messages, formatNumber);
  setData("rate", rate.messages, formatNumber);
  setData("bytes", totals.bytes, formatBytes);
  setData("byte-rate", rate.bytes, formatBytes);
  setData("gaps", totals.gaps, formatNumber);
  stream.render();
  topics.render();
  detail.render();
  renderWhy();
}

function renderState() {
  const { state, transport, error } = status;
  const words = { open: "live", waiting: navigator.onLine ? "reconnecting" : "offline" };
  const wait = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
  const why = error ? `(${visible(error.message)})` : "";
  const details = { open: `over ${TRANSPORTS[transport]}`, waiting: `in ${wait} s ${why}`, closed: why };
  $("state").dataset.state = words[state] === "live" ? "live" : state;
  $("state").dataset.transport = state === "open" ? transport : "";
  setText($("state"), words[state] ?? state);
  setText($("detail"), details[state] ?? "");
}

function renderWhy() {
  const why = health.reason(status, totals, wanted.length > 0, stream.isPaused && view === "stream");
  $("why").hidden = !why;
  setText($("why"), why);
  $("state").classList.toggle("idle", Boolean(why));
  const isEmpty = totals.messages === 0 && totals.gaps === 0 && view !== "health";
  $("empty").hidden = !isEmpty;
  document.body.classList.toggle("is-empty", isEmpty);
  if (isEmpty) teach();
  setText($("empty-title"), wanted.length ? "No message of these topics yet" : "No message yet");
}

function setData(id, value, format) {
  $(id).value = value;
  setText($(id), format(value));
}

// ---- What the reader does --------------------------------------------------------------------

function show(name) {
  view = name;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const isThis = tab.dataset.view === name;
    tab.setAttribute("aria-selected", String(isThis));
    tab.tabIndex = isThis ? 0 : -1;
    $(tab.dataset.view).hidden = !isThis;
  }
  for (const control of document.querySelectorAll("[data-for]")) control.hidden = control.dataset.for !== name;
  $("search").hidden = name === "health";
  search();
  health.render();
  remember();
  drawnAt = 0;
  requestFrame();
}

function search() {
  const query = $("search").value;
  topics.query = query;
  if (view === "topics") topics.restate();
  if (view === "stream") stream.search(query);
}

function open(node) {
  toOpen = null;
  topics.selected = node?.key ?? null;
  detail.open(node ?? null);
  topics.render();
  remember();
  if (!node && document.activeElement === document.body) $("grid").focus();
}

/** A new question: its answer begins now, not where the old one ended. */
function ask(newest) {
  wanted = newest;
  $("filter").value = wanted.join(", ");
  stream.clear();
  topics.clear();
  open(null);
  remember();
  connect();
}

/** The page's address says what is looked at, for a reload and for others. */
function address({ withToken = true } = {}) {
  const page = new URL(location.href);
  const query = new URLSearchParams();
  if (token && withToken) query.set("token", token);
  if (view !== "topics") query.set("view", view);
  for (const topic of wanted) query.append(topic.startsWith("=") ? "exact" : "topic", topic.replace(/^=/, ""));
  if ($("search").value) query.set("q", $("search").value);
  if (topics.sort !== "name" || topics.isReversed) query.set("sort", (topics.isReversed ? "-" : "") + topics.sort);
  if (!topics.isTree) query.set("tree", "0");
  const opened = detail.key ?? toOpen;
  if (opened) query.set("open", opened);
  for (const line of [...plot.lines, ...toPlot]) query.append("plot", line);
  page.search = query;
  page.hash = "";
  return page;
}

function remember() {
  const { href } = address();
  if (href !== location.href) history.replaceState(null, "", href);
}

function setTree(isTree) {
  topics.isTree = isTree;
  $("tree").setAttribute("aria-pressed", String(isTree));
  topics.restate();
}

function pause() {
  stream.isPaused = !stream.isPaused;
  drawnAt = 0;
  requestFrame();
}

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  ask($("filter").value.split(",").map((topic) => topic.trim()).filter(Boolean));
});
$("pause").addEventListener("click", pause);
$("search").addEventListener("input", () => (search(), remember()));
$("tree").addEventListener("click", () => (setTree(!topics.isTree), remember()));
$("help-open").addEventListener("click", () => $("help").showModal());
$("copy-lesson").addEventListener("click", ({ target }) => copy($("lesson").textContent, target));
for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => show(tab.dataset.view));

document.querySelector("[role=tablist]").addEventListener("keydown", ({ key }) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (!step) return;
  show(VIEWS[(VIEWS.indexOf(view) + step + VIEWS.length) % VIEWS.length]);
  $(`tab-${view}`).focus();
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, dialog");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && !$("help").open) return isTyping ? event.target.blur() : detail.key && open(null);
  if (isTyping) return;
  const actions = {
    1: () => show("topics"),
    2: () => show("stream"),
    3: () => show("health"),
    "/": () => $("search").focus(),
    f: () => $("filter").focus(),
    p: () => (view === "stream" ? pause() : plot.toggleHold()),
    t: () => (setTree(!topics.isTree), remember()),
    "?": () => $("help").showModal(),
  };
  if (!Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  actions[event.key]();
});

const host = ["localhost", "", "[::1]"].includes(location.hostname) ? "127.0.0.1" : location.hostname;
/** Teaches what would show up here now: a topic that is asked for, if Python takes it as it is. */
function teach() {
  const topic = wanted.map((it) => it.replace(/^=/, "")).find((it) => /^[\w./-]+$/.test(it)) ?? "hello";
  setText($("lesson"), `import time, zmq   # pip install pyzmq

socket = zmq.Context().socket(zmq.PUB)
socket.connect("tcp://${host}:5556")
time.sleep(1)      # until the gateway has subscribed
socket.send_multipart([b"${topic}", b'{"celsius": 4.5}'])
time.sleep(1)      # until the message is sent
`);
}


$("filter").value = wanted.join(", ");
$("search").value = asked.get("q") ?? "";
const sort = asked.get("sort") ?? "name";
setTree(asked.get("tree") !== "0");
topics.order(sort.replace(/^-/, ""), sort.startsWith("-"));
show(view);
setInterval(() => {
  topics.tick();
  health.tick(totals);
}, 1_000);
// The rate falls and the countdown runs when nothing arrives, too.
setInterval(() => {
  plot.render(true);
  requestFrame();
}, 250);
connect();
