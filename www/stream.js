// The stream: the newest messages and gaps as they came, searched, held and exported.
//
// Messages may come faster than anyone can read. Each is kept cut to a bounded size; rows are made once per frame.

import { $, formatBytes, formatNumber, make, setText } from "./dom.js";
import { visible } from "./message.js";

const ROWS_MAX = 200;
const KEPT_MAX = 2_000;

export class Stream {
  /** What came, oldest first. */
  #kept = [];
  /** Came and is not shown yet, oldest first: never more than fit on the page. */
  #pending = [];
  #pendingTotal = 0;
  #query = "";
  isPaused = false;

  constructor(onOpen) {
    $("messages").addEventListener("click", ({ target }) => {
      const item = target.closest("li")?.item;
      if (item && target.closest(".topic")) onOpen(item);
    });
    $("export").addEventListener("click", () => this.#export());
  }

  add(item) {
    this.#kept.push(item);
    // Cut in strides: to shift the first of thousands for each message costs more than all else.
    if (this.#kept.length >= KEPT_MAX * 2) this.#kept = this.#kept.slice(-KEPT_MAX);
    if (!this.#matches(item)) return;
    this.#pending.push(item);
    this.#pendingTotal += 1;
    if (this.#pending.length >= ROWS_MAX * 2) this.#pending = this.#pending.slice(-ROWS_MAX);
  }

  clear() {
    this.#kept = [];
    this.#forgetPending();
    $("messages").replaceChildren();
  }

  search(query) {
    this.#query = query.toLowerCase();
    this.#forgetPending();
    this.#pending = this.#found().slice(-ROWS_MAX);
    $("messages").replaceChildren();
    this.#renderRows();
  }

  render() {
    setText($("pause"), this.isPaused ? `Resume (${formatNumber(this.#pendingTotal)} new)` : "Pause");
    $("pause").setAttribute("aria-pressed", String(this.isPaused));
    if (!this.isPaused && !$("stream").hidden) this.#renderRows();
  }

  #found() {
    const kept = this.#kept.slice(-KEPT_MAX);
    return this.#query ? kept.filter((item) => this.#matches(item)) : kept;
  }

  #matches({ kind, topic, parts, reason }) {
    if (!this.#query) return true;
    const texts = kind === "gap" ? ["gap", reason] : [topic.text, ...parts.map(({ text }) => text)];
    return texts.some((text) => text.toLowerCase().includes(this.#query));
  }

  #renderRows() {
    const pending = this.#pending.slice(-ROWS_MAX);
    if (pending.length === 0) return;
    const list = $("messages");
    const keep = ROWS_MAX - pending.length;
    while (list.childElementCount > keep) list.lastElementChild.remove();
    list.prepend(...pending.reverse().map(makeRow));
    this.#forgetPending();
  }

  #forgetPending() {
    this.#pending = [];
    this.#pendingTotal = 0;
  }

  /** What is kept and found, one JSON per line. */
  #export() {
    const lines = this.#found().map((item) => JSON.stringify(plain(item)));
    const blob = new Blob(lines.map((line) => `${line}\n`), { type: "application/x-ndjson" });
    const anchor = make("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = `zmq2ws-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.ndjson`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
  }
}

/** A message or gap for a file. What was cut says so. */
function plain({ kind, at, id, topic, parts, hidden, missed, reason }) {
  const time = new Date(at).toISOString();
  if (kind === "gap") return { time, gap: { missed, reason } };
  const isCut = hidden > 0 || parts.some((part) => part.isCut) || topic.isCut;
  const data = parts.map(({ text, isBinary }) => (isBinary ? { hex: text } : text));
  const name = topic.isBinary ? { hex: topic.text } : topic.text;
  return { time, id, topic: name, data: data.length === 1 ? data[0] : data, ...(isCut && { cut: true }) };
}

function makeRow(item) {
  const at = new Date(item.at);
  const millis = String(at.getMilliseconds()).padStart(3, "0");
  const time = make("time", "", `${at.toTimeString().slice(0, 8)}.${millis}`);
  if (item.kind === "gap") {
    return make("li", "gap", time, make("span", "topic", "gap"), make("div", "body", describeGap(item)));
  }
  const body = make("div", "body");
  if (item.parts.length === 1) body.append(makeText("span", "", item.parts[0]));
  else body.append(...item.parts.map((part) => makeText("span", "part", part)));
  if (item.hidden) body.append(make("span", "part", `… ${formatNumber(item.hidden)} more parts`));
  const size = make("span", "size", formatBytes(item.size));
  const row = make("li", "message", time, makeText("button", "topic", item.topic), body, size);
  row.item = item;
  if (item.id) row.title = `id ${visible(item.id)}`;
  return row;
}

function makeText(tag, className, { text, isCut, isBinary }) {
  return make(tag, isBinary ? `${className} binary` : className, visible(text), isCut ? "…" : "");
}

export function describeGap({ missed, reason }) {
  const causes = {
    lag: "this page could not keep up",
    history: "away for longer than the gateway remembers",
    restart: "the gateway was restarted",
    upstream: "lost before reaching the gateway",
  };
  const some = missed === null ? "some messages" : missed === 1 ? "1 message" : `${formatNumber(missed)} messages`;
  return `missed ${some}: ${Object.hasOwn(causes, reason) ? causes[reason] : visible(reason)}`;
}
