// One topic's newest message: as JSON that folds, as text or in hex, with what changed since the one before.
//
// Lines are kept from one message to the next, so that focus and scrolling stay where they are.

import { $, copy, formatAge, formatBytes, make, setText } from "./dom.js";
import { hexLines, visible } from "./message.js";

const LINES_MAX = 2_000;
const TEXT_MAX = 65_536;
const STRING_MAX = 2_000;
/** Bytes of a message that are kept whole. */
const WHOLE_MAX = 1 << 20;

export class Detail {
  #node = null;
  /** The message as it came, where it is not too large, and the one before. */
  #whole = null;
  #before = null;
  #as = "json";
  #folded = new Set();
  #isStale = false;
  #actions;

  /** `actions` has `plot(path)`, `link()`, `follow(topic)` and `close()`. */
  constructor(actions) {
    this.#actions = actions;
    $("panel").addEventListener("click", ({ target }) => this.#click(target.closest("button")));
  }

  get key() {
    return this.#node?.key ?? null;
  }

  open(node) {
    this.#node = node;
    this.#whole = this.#before = null;
    this.#folded.clear();
    this.#isStale = true;
    $("panel").hidden = !node;
    document.body.classList.toggle("has-panel", Boolean(node));
    if (node) setText($("panel-topic"), node.name);
    this.render();
  }

  /** A further message of the topic that is open. */
  add(message, size) {
    this.#before = this.#whole;
    this.#whole = size <= WHOLE_MAX ? message : null;
    this.#isStale = true;
  }

  render() {
    const node = this.#node;
    if (!node) return;
    const { last } = node;
    const count = last.parts.length + last.hidden;
    setText($("panel-facts"), `${formatBytes(last.size)}${count > 1 ? ` in ${count} parts` : ""} · id ${visible(last.id)} · ${formatAge(Date.now() - last.at)} ago`);
    if (!this.#isStale) return;
    this.#isStale = false;
    const now = this.#parts(last, this.#whole);
    const before = node.previous ? this.#parts(node.previous, this.#before) : null;
    const lines = this.#lines(now, before);
    const isCut = !this.#whole && (last.hidden > 0 || last.parts.some((part) => part.isCut));
    setText($("panel-note"), isCut ? "Only its beginning is kept. The next message is shown whole, up to 1 MiB." : lines.length >= LINES_MAX ? `Only the first ${LINES_MAX} lines are shown.` : "");
    this.#show(lines);
  }

  #parts(item, whole) {
    if (whole) return Array.isArray(whole.data) ? whole.data : [whole.data];
    return item.parts.map(({ text, isBinary }) => (isBinary ? fromHex(text) : text));
  }

  #lines(now, before) {
    const lines = [];
    now.forEach((raw, index) => {
      const part = this.#as === "hex" ? raw : asText(raw);
      if (now.length > 1) lines.push({ path: `part ${index}`, depth: 0, kind: "head", text: `part ${index + 1}` });
      const old = before && asText(before[index]);
      const value = this.#as === "json" ? parse(part) : undefined;
      if (value !== undefined) {
        const known = before ? parse(old) : undefined;
        this.#walk(lines, value, known, before !== null && known !== undefined, now.length > 1 ? `${index}` : "", "", 0, []);
      } else if (this.#as === "hex" || typeof part !== "string") {
        const bytes = typeof part === "string" ? new TextEncoder().encode(part.slice(0, TEXT_MAX)) : part;
        hexLines(bytes, LINES_MAX).forEach((text, at) => lines.push({ path: `${index}x${at}`, depth: 0, kind: "hex", text }));
      } else {
        const olds = typeof old === "string" ? old.slice(0, TEXT_MAX).split("\n") : null;
        part.slice(0, TEXT_MAX).split("\n").forEach((text, at) => {
          lines.push({ path: `${index}t${at}`, depth: 0, kind: "text", text: visible(text), isChanged: olds !== null && olds[at] !== text });
        });
      }
    });
    return lines.slice(0, LINES_MAX);
  }

  /** One line for each member; a folder's has a button. */
  #walk(lines, value, old, hasOld, part, key, depth, steps) {
    if (lines.length >= LINES_MAX || depth > 60) return;
    const path = JSON.stringify([part, ...steps]);
    const isFolder = value !== null && typeof value === "object";
    const isChanged = hasOld && (isFolder ? old === null || typeof old !== "object" : old !== value);
    if (!isFolder) {
      const kind = value === null ? "null" : typeof value;
      const whole = kind === "string" ? JSON.stringify(value.slice(0, STRING_MAX)) : String(value);
      lines.push({ path, key, depth, kind, text: visible(whole), isChanged, steps: kind === "number" ? [part, ...steps] : null });
      return;
    }
    const isList = Array.isArray(value);
    const members = Object.keys(value);
    const isFolded = this.#folded.has(path);
    lines.push({ path, key, depth, kind: "folder", isFolded, text: isList ? `[${members.length}]` : `{${members.length}}`, isChanged });
    if (isFolded) return;
    const from = old !== null && typeof old === "object" ? old : {};
    for (const name of members) {
      const had = Object.hasOwn(from, name);
      this.#walk(lines, value[name], had ? from[name] : undefined, hasOld, part, name, depth + 1, [...steps, name]);
      if (lines.length >= LINES_MAX) return;
    }
  }

  #show(lines) {
    const body = $("panel-body");
    while (body.childElementCount > lines.length) body.lastElementChild.remove();
    lines.forEach((line, at) => {
      const old = body.children[at];
      if (old?.path === line.path && old.kind === line.kind && old.isFolded === line.isFolded) return patch(old, line);
      const made = makeLine(line);
      if (old) old.replaceWith(made);
      else body.append(made);
    });
  }

  #click(button) {
    if (!button) return;
    const { as, copy: what } = button.dataset;
    const line = button.closest(".line");
    if (as) {
      this.#as = as;
      for (const other of $("panel-tools").querySelectorAll("[data-as]")) other.setAttribute("aria-pressed", String(other === button));
    } else if (what) return this.#copy(what, button);
    else if (button.id === "follow") return this.#actions.follow(this.#node);
    else if (button.id === "panel-close") return this.#actions.close();
    else if (button.classList.contains("number")) return this.#actions.plot(this.#node, line.steps);
    else if (line && !this.#folded.delete(line.path)) this.#folded.add(line.path);
    const path = line?.path;
    this.#isStale = true;
    this.render();
    if (path) [...$("panel-body").children].find((it) => it.path === path)?.querySelector("button")?.focus();
  }

  #copy(what, button) {
    const { last } = this.#node;
    if (what === "link") return copy(this.#actions.link(), button);
    if (what === "curl") return copy(curl(last), button);
    const parts = this.#parts(last, this.#whole).map((part) => (typeof part === "string" ? part : { hex: toHex(part) }));
    const topic = last.topic.isBinary ? { hex: last.topic.text } : last.topic.text;
    copy(JSON.stringify({ id: last.id, topic, data: parts.length === 1 ? parts[0] : parts }), button);
  }
}

function makeLine(line) {
  const { path, key, depth, kind, isFolded, steps } = line;
  const node = make("div", "line");
  node.style.paddingInlineStart = `${depth * 1.1}rem`;
  Object.assign(node, { path, kind, isFolded, steps });
  if (kind === "folder") {
    const fold = make("button", "fold", isFolded ? "▸" : "▾");
    fold.setAttribute("aria-expanded", String(!isFolded));
    fold.setAttribute("aria-label", `${isFolded ? "Unfold" : "Fold"} ${key || "all"}`);
    node.append(fold);
  }
  if (key) node.append(make("span", "key", visible(key)), ": ");
  node.value = make(steps ? "button" : "span", kind);
  if (steps) node.value.title = "Plot this number";
  node.append(node.value);
  patch(node, line);
  return node;
}

function patch(node, { text, isChanged }) {
  setText(node.value, text);
  node.value.classList.toggle("changed", Boolean(isChanged));
}

/** A message again, by its id: the poll from just before it begins with it, if it is still kept. */
function curl({ id, topic }) {
  const [, epoch, seq] = /^([a-z0-9]+)-(\d+)$/.exec(id) ?? [];
  const name = topic.isBinary ? topic.text.split(" ").map((byte) => `%${byte}`).join("") : encodeURIComponent(topic.text.toWellFormed());
  const query = [topic.isCut ? "" : `exact=${name}`, epoch ? `since=${epoch}-${Math.max(0, Number(seq) - 1)}` : "", "timeout=0"].filter(Boolean);
  return `curl '${new URL("poll", document.baseURI).href}?${query.join("&").replaceAll("'", "%27")}'`;
}

/** JSON of an object, a list or a number; `undefined` where the text is none. */
export function parse(text) {
  if (typeof text !== "string" || !/^\s*[-[{\d]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A part as text where it is: beside a part that is not, it may have come as bytes. */
function asText(part) {
  if (!(part instanceof Uint8Array)) return part;
  try {
    return strict.decode(part);
  } catch {
    return part;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const fromHex = (text) => Uint8Array.from(text ? text.split(" ") : [], (byte) => parseInt(byte, 16));
