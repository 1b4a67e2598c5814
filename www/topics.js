// The topics as a live tree: newest value, rate, counts and a sparkline of each, in virtual rows.
//
// A message only touches its node and the nodes above it. Rows are made for what is in sight, a few times a second.

import { $, blank, formatAge, formatBytes, formatNumber, ink, make, setText } from "./dom.js";
import { firstNumber, visible } from "./message.js";

const TOPICS_MAX = 20_000;
const ROW = 32;
const SPARK = 60;
const DEPTH_MAX = 12;
/** A folder with more children begins folded. */
const UNFOLDED_MAX = 12;

class Node {
  children = new Map();
  count = 0;
  bytes = 0;
  at = 0;
  rate = 0;
  counted = 0;
  topics = 0;
  /** The newest message, of a topic. */
  last = null;
  previous = null;
  /** A reading each second: the first number of the newest message, or the rate. */
  readings = null;
  next = 0;
  isFolded = null;
  /** Where the tree shows it, and by what part of its name. */
  level = 0;
  shownAs = "";

  constructor(parent, key, name, depth) {
    Object.assign(this, { parent, key, name, depth });
  }

  get folded() {
    return this.isFolded ?? this.children.size > UNFOLDED_MAX;
  }

  tick() {
    this.rate = this.count - this.counted;
    this.counted = this.count;
    if (!this.last) return;
    this.readings ??= new Float32Array(SPARK).fill(NaN);
    const value = firstNumber(this.last.parts[0]?.text ?? "");
    this.readings[this.next] = Number.isNaN(value) ? this.rate : value;
    this.next = (this.next + 1) % SPARK;
  }
}

/** How each column is compared; the second time the other way round. */
const ORDERS = {
  name: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  rate: (a, b) => b.rate - a.rate,
  count: (a, b) => b.count - a.count,
  bytes: (a, b) => b.bytes - a.bytes,
  at: (a, b) => b.at - a.at,
};

export class Topics {
  #root = new Node(null, "", "", -1);
  /** Topics by key, in the order in which they came. */
  #topics = new Map();
  #rows = [];
  #pool = [];
  #isStale = true;
  #active = 0;
  #onOpen;
  query = "";
  sort = "name";
  isReversed = false;
  isTree = true;
  selected = null;
  forgotten = 0;

  constructor(onOpen) {
    this.#onOpen = onOpen;
    const grid = $("grid");
    grid.addEventListener("scroll", () => this.#draw(true), { passive: true });
    grid.addEventListener("click", (event) => this.#click(event));
    grid.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw(true)).observe(grid);
  }

  get size() {
    return this.#topics.size;
  }

  get(key) {
    return this.#topics.get(key);
  }

  add(item) {
    const node = this.#topics.get(item.key) ?? this.#grow(item);
    node.previous = node.last;
    node.last = item;
    const bytes = item.topic.size + item.size;
    for (let up = node; up; up = up.parent) {
      up.count += 1;
      up.bytes += bytes;
      up.at = item.at;
    }
    return node;
  }

  clear() {
    this.#root = new Node(null, "", "", -1);
    this.#topics.clear();
    this.forgotten = 0;
    this.restate();
  }

  /** Once a second. */
  tick() {
    const walk = (node) => {
      node.tick();
      for (const child of node.children.values()) walk(child);
    };
    walk(this.#root);
    if (this.sort !== "name") this.#isStale = true;
    this.render(true);
  }

  /** Another order, search or shape. */
  restate() {
    this.#isStale = true;
    this.render(true);
  }

  render(withSparks = false) {
    if ($("topics").hidden) return;
    if (this.#isStale) this.#list();
    this.#draw(withSparks);
  }

  #grow(item) {
    if (this.#topics.size >= TOPICS_MAX) this.#forget(this.#topics.values().next().value);
    const name = visible(item.topic.text) + (item.topic.isCut ? "…" : "");
    let parent = this.#root;
    if (!item.topic.isBinary) {
      // A separator belongs to the folder before it.
      const steps = item.topic.text.match(/[^./]*[./]/g)?.slice(0, DEPTH_MAX) ?? [];
      let path = "";
      for (const step of steps) {
        path += step;
        if (path.length === item.topic.text.length) break;
        parent = this.#child(parent, path, visible(step));
      }
    }
    const node = new Node(parent, item.key, name, parent.depth + 1);
    node.label = name.slice(parent.name.length) || name;
    parent.children.set(`=${item.key}`, node);
    this.#topics.set(item.key, node);
    for (let up = node; up; up = up.parent) up.topics += 1;
    this.#isStale = true;
    return node;
  }

  #child(parent, path, label) {
    let node = parent.children.get(path);
    if (!node) {
      node = new Node(parent, path, visible(path), parent.depth + 1);
      node.label = label;
      parent.children.set(path, node);
    }
    return node;
  }

  /** The oldest makes room: of garbage there is no end. */
  #forget(node) {
    this.forgotten += 1;
    this.#topics.delete(node.key);
    node.parent.children.delete(`=${node.key}`);
    for (let up = node.parent; up; up = up.parent) {
      up.topics -= 1;
      if (up.topics === 0 && up.parent) up.parent.children.delete(up.key);
    }
  }

  /** Which rows there are. */
  #list() {
    this.#isStale = false;
    const order = ORDERS[this.sort];
    const compare = this.isReversed ? (a, b) => order(b, a) : order;
    const query = this.query.toLowerCase();
    const rows = [];
    if (this.isTree && !query) {
      const walk = (node, level) => {
        for (const child of [...node.children.values()].sort(compare)) {
          // A folder of one topic is no folder.
          let shown = child;
          let { label } = child;
          while (!shown.last && shown.children.size === 1) {
            [shown] = shown.children.values();
            label += shown.label;
          }
          rows.push(Object.assign(shown, { level, shownAs: label }));
          if (!shown.folded) walk(shown, level + 1);
        }
      };
      walk(this.#root, 0);
    } else {
      for (const node of this.#topics.values()) if (!query || this.#matches(node, query)) rows.push(node);
      rows.sort(compare);
    }
    this.#rows = rows;
    this.#active = Math.min(this.#active, Math.max(0, rows.length - 1));
    $("grid-body").style.height = `${rows.length * ROW}px`;
    $("grid").setAttribute("aria-rowcount", String(rows.length + 1));
  }

  #matches(node, query) {
    return node.name.toLowerCase().includes(query) || valueOf(node).toLowerCase().includes(query);
  }

  /** Makes what is in sight. */
  #draw(withSparks) {
    const grid = $("grid");
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW) - 2);
    const count = Math.min(this.#rows.length - first, Math.ceil(grid.clientHeight / ROW) + 4);
    while (this.#pool.length < count) this.#pool.push(new Row());
    const body = $("grid-body");
    const now = Date.now();
    let active = "";
    this.#pool.forEach((row, index) => {
      const node = index < count ? this.#rows[first + index] : null;
      if (!node) return row.element.remove();
      if (row.element.parentNode !== body) body.append(row.element);
      const at = first + index;
      row.show(node, at, { now, withSparks, isTree: this.isTree && !this.query, isSelected: node.key === this.selected && !!node.last, isActive: at === this.#active });
      if (at === this.#active) active = row.element.id;
    });
    if (active) grid.setAttribute("aria-activedescendant", active);
    else grid.removeAttribute("aria-activedescendant");
  }

  #click({ target }) {
    const sort = target.closest("[data-sort]")?.dataset.sort;
    if (sort) return this.order(sort);
    const row = target.closest("[data-at]");
    if (row) this.#use(Number(row.dataset.at));
  }

  order(sort, isReversed = this.sort === sort && !this.isReversed) {
    if (!Object.hasOwn(ORDERS, sort)) return;
    Object.assign(this, { sort, isReversed });
    for (const button of $("grid-head").querySelectorAll("[data-sort]")) {
      const isThis = button.dataset.sort === sort;
      const isRising = (sort === "name") !== isReversed;
      if (isThis) button.parentNode.setAttribute("aria-sort", isRising ? "ascending" : "descending");
      else button.parentNode.removeAttribute("aria-sort");
    }
    this.restate();
    this.#onOpen(null);
  }

  #use(at) {
    const node = this.#rows[at];
    if (!node) return;
    this.#active = at;
    if (node.last) this.#onOpen(node);
    else this.#fold(node, !node.folded);
    this.#draw(false);
  }

  #fold(node, isFolded) {
    node.isFolded = isFolded;
    this.restate();
  }

  #key(event) {
    if (event.target !== $("grid") || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor($("grid").clientHeight / ROW) - 2);
    const node = this.#rows[this.#active];
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (Object.hasOwn(moves, event.key)) this.#move(this.#active + moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#use(this.#active);
    else if (event.key === "ArrowRight" && node && !node.last && node.folded) this.#fold(node, false);
    else if (event.key === "ArrowLeft" && node && !node.last && !node.folded) this.#fold(node, true);
    else if (event.key === "ArrowLeft" && node?.parent) this.#move(this.#rows.indexOf(node.parent));
    else return;
    event.preventDefault();
  }

  #move(to) {
    this.#active = Math.max(0, Math.min(this.#rows.length - 1, to));
    const grid = $("grid");
    const [top, head] = [this.#active * ROW, $("grid-head").clientHeight];
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW + head > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + ROW + head - grid.clientHeight;
    this.#draw(false);
  }
}

/** What a topic's row shows of its newest message. */
function valueOf({ last }) {
  return last ? last.parts.map(({ text, isCut }) => text.slice(0, 160) + (isCut ? "…" : "")).join(" │ ") : "";
}

let rows = 0;

/** One row of the pool, for whatever topic is at its place. */
class Row {
  element = make("div");
  #cells = {};
  #node = null;
  #shown = null;

  constructor() {
    const { element } = this;
    element.setAttribute("role", "row");
    element.id = `row-${rows++}`;
    for (const name of ["name", "value", "spark", "rate", "count", "bytes", "age"]) {
      const cell = make("div", ["rate", "count", "bytes", "age"].includes(name) ? `num ${name}` : name);
      cell.setAttribute("role", "gridcell");
      this.#cells[name] = cell;
      element.append(cell);
    }
    this.#cells.fold = make("span", "fold");
    this.#cells.label = make("span", "topic");
    this.#cells.name.append(this.#cells.fold, this.#cells.label);
    this.canvas = make("canvas");
    this.#cells.spark.append(this.canvas);
  }

  show(node, at, { now, withSparks, isTree, isSelected, isActive }) {
    const { element } = this;
    const cells = this.#cells;
    const isNew = this.#node !== node;
    this.#node = node;
    element.dataset.at = String(at);
    element.style.transform = `translateY(${at * ROW}px)`;
    element.setAttribute("aria-rowindex", String(at + 2));
    element.setAttribute("aria-level", String(isTree ? node.level + 1 : 1));
    element.setAttribute("aria-selected", String(isSelected));
    element.classList.toggle("active", isActive);
    element.classList.toggle("fresh", now - node.at < 400);
    element.classList.toggle("folder", !node.last);
    if (node.last) element.removeAttribute("aria-expanded");
    else element.setAttribute("aria-expanded", String(!node.folded));
    cells.name.style.paddingInlineStart = `${0.5 + (isTree ? node.level * 1.1 : 0)}rem`;
    setText(cells.fold, node.last ? "" : node.folded ? "▸" : "▾");
    setText(cells.label, isTree ? node.shownAs : node.name);
    cells.label.classList.toggle("binary", Boolean(node.last?.topic.isBinary));
    if (isNew || this.#shown !== node.last) {
      cells.value.replaceChildren(...(node.last ? [visible(valueOf(node)).replaceAll("\n", " ")] : []));
      this.#shown = node.last;
    }
    if (!node.last) setText(cells.value, `${formatNumber(node.topics)} topics`);
    cells.value.classList.toggle("binary", Boolean(node.last?.parts[0]?.isBinary));
    setText(cells.rate, formatNumber(node.rate));
    setText(cells.count, formatNumber(node.count));
    setText(cells.bytes, formatBytes(node.bytes));
    setText(cells.age, formatAge(now - node.at));
    if (withSparks || isNew) this.#spark(node);
  }

  #spark({ readings, next }) {
    const place = blank(this.canvas);
    if (!place || !readings) return;
    const { context, width, height } = place;
    let [low, high] = [Infinity, -Infinity];
    for (const value of readings) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (high < low) return;
    const span = high - low || 1;
    context.strokeStyle = ink("live");
    context.lineWidth = 1.25;
    context.beginPath();
    let isFirst = true;
    for (let index = 0; index < SPARK; index += 1) {
      const value = readings[(next + index) % SPARK];
      if (Number.isNaN(value)) continue;
      const y = high === low ? height / 2 : height - 2 - ((value - low) / span) * (height - 4);
      const x = (index / (SPARK - 1)) * (width - 2) + 1;
      if (isFirst) context.moveTo(x, y);
      else context.lineTo(x, y);
      isFirst = false;
    }
    context.stroke();
  }
}
