// Numbers of messages over time, as lines on one canvas.
//
// Each line keeps a bounded ring of points. A frame draws for each pixel column the lowest and the highest of its points,
// so that ten lines of ten thousand points cost no more than the width of the screen.

import { $, blank, formatTime, ink, make, setText } from "./dom.js";
import { parse } from "./detail.js";
import { visible } from "./message.js";

const LINES_MAX = 10;
const POINTS_MAX = 10_000;
const MARGIN = { left: 56, right: 12, top: 10, bottom: 22 };

class Line {
  times = new Float64Array(POINTS_MAX);
  values = new Float64Array(POINTS_MAX);
  count = 0;

  constructor(key, name, steps) {
    Object.assign(this, { key, steps, id: JSON.stringify([key, ...steps]) });
    const path = steps.slice(1).map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`)).join("");
    this.label = visible(name + path + (steps[0] ? ` (part ${Number(steps[0]) + 1})` : "")).slice(0, 120);
  }

  add(time, parts) {
    const value = this.#find(parts);
    if (!Number.isFinite(value)) return false;
    const at = this.count % POINTS_MAX;
    this.times[at] = time;
    this.values[at] = value;
    this.count += 1;
    return true;
  }

  /** Own members only: a step may be called `__proto__`. */
  #find(parts) {
    let value = parse(parts[Number(this.steps[0] || 0)]);
    for (const step of this.steps.slice(1)) {
      if (value === null || typeof value !== "object" || !Object.hasOwn(value, step)) return NaN;
      value = value[step];
    }
    return typeof value === "number" ? value : NaN;
  }

  get newest() {
    return this.count ? this.values[(this.count - 1) % POINTS_MAX] : NaN;
  }

  /** Calls `each` with the time and value of the points, oldest first. */
  forEach(each) {
    const first = Math.max(0, this.count - POINTS_MAX);
    for (let at = first; at < this.count; at += 1) each(this.times[at % POINTS_MAX], this.values[at % POINTS_MAX]);
  }
}

export class Plot {
  #lines = [];
  #minutes = 1;
  /** The time at which it is held, or 0. */
  #heldAt = 0;
  /** What a drag has chosen, as two times. */
  #zoom = null;
  #drag = null;
  #isStale = false;
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
    $("plot").addEventListener("click", ({ target }) => this.#click(target.closest("button")));
    const canvas = $("plot-canvas");
    canvas.addEventListener("pointerdown", (event) => (this.#drag = { from: event.offsetX, to: event.offsetX }));
    canvas.addEventListener("pointermove", (event) => {
      if (this.#drag) this.#drag.to = event.offsetX;
      this.#isStale = true;
    });
    addEventListener("pointerup", () => this.#endDrag());
    canvas.addEventListener("dblclick", () => this.#show({ zoom: null }));
    new ResizeObserver(() => (this.#isStale = true)).observe(canvas);
  }

  /** What is drawn, for the page's address. */
  get lines() {
    return this.#lines.map(({ id }) => id);
  }

  has(key) {
    return this.#lines.some((line) => line.key === key);
  }

  /** A second click on the same number takes its line away. */
  toggle(key, name, steps) {
    const id = JSON.stringify([key, ...steps]);
    const at = this.#lines.findIndex((line) => line.id === id);
    if (at >= 0) this.#lines.splice(at, 1);
    else if (this.#lines.length < LINES_MAX) this.#lines.push(new Line(key, name, steps));
    this.#legend();
  }

  add(key, time, data) {
    const parts = Array.isArray(data) ? data : [data];
    for (const line of this.#lines) if (line.key === key && line.add(time, parts)) this.#isStale = true;
  }

  toggleHold() {
    this.#show({ heldAt: this.#heldAt ? 0 : Date.now() });
  }

  /** Once per frame; draws only what has changed, and while time runs twice a second. */
  render(isTick) {
    if ($("plot").hidden) return;
    if (this.#isStale || (isTick && !this.#heldAt && !this.#zoom)) this.#draw();
    this.#isStale = false;
  }

  #click(button) {
    if (!button) return;
    if (button.dataset.line) {
      this.#lines = this.#lines.filter(({ id }) => id !== button.dataset.line);
      this.#legend();
    } else if (button.dataset.minutes) this.#show({ minutes: Number(button.dataset.minutes), zoom: null });
    else if (button.id === "plot-pause") this.toggleHold();
    else if (button.id === "plot-close") {
      this.#lines = [];
      this.#legend();
    }
  }

  #show({ minutes = this.#minutes, heldAt = this.#heldAt, zoom = this.#zoom }) {
    this.#minutes = minutes;
    this.#heldAt = heldAt;
    this.#zoom = zoom;
    this.#isStale = true;
    for (const button of $("plot").querySelectorAll("[data-minutes]")) {
      button.setAttribute("aria-pressed", String(!zoom && Number(button.dataset.minutes) === minutes));
    }
    $("plot-pause").setAttribute("aria-pressed", String(heldAt > 0));
  }

  #legend() {
    $("plot").hidden = this.#lines.length === 0;
    const entries = this.#lines.map((line, at) => {
      const entry = make("li", `line-${at}`, make("span", "swatch"), make("span", "topic", line.label), (line.value = make("output")));
      const remove = make("button", "", "✕");
      Object.assign(remove, { type: "button", ariaLabel: `Take away ${line.label}` });
      remove.dataset.line = line.id;
      entry.append(remove);
      return entry;
    });
    $("legend").replaceChildren(...entries);
    this.#show({});
    this.#onChange();
  }

  #range() {
    if (this.#zoom) return this.#zoom;
    const end = this.#heldAt || Date.now();
    return [end - this.#minutes * 60_000, end];
  }

  #endDrag() {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || Math.abs(drag.to - drag.from) < 8) return;
    const [start, end] = this.#range();
    const width = $("plot-canvas").clientWidth - MARGIN.left - MARGIN.right;
    const timeAt = (x) => start + (Math.min(Math.max(x - MARGIN.left, 0), width) / width) * (end - start);
    const zoom = [timeAt(Math.min(drag.from, drag.to)), timeAt(Math.max(drag.from, drag.to))];
    if (zoom[1] > zoom[0]) this.#show({ zoom });
  }

  #draw() {
    for (const line of this.#lines) setText(line.value, Number.isNaN(line.newest) ? "…" : formatValue(line.newest));
    const place = blank($("plot-canvas"));
    if (!place) return;
    const [start, end] = this.#range();
    let [low, high] = [Infinity, -Infinity];
    for (const line of this.#lines) {
      line.forEach((time, value) => {
        if (time < start || time > end) return;
        if (value < low) low = value;
        if (value > high) high = value;
      });
    }
    if (high < low) [low, high] = [0, 1];
    if (high === low) [low, high] = [low - 1, high + 1];
    const pad = (high - low) * 0.06;
    const scale = frame(place, [start, end], [low - pad, high + pad]);
    this.#lines.forEach((line, at) => trace(place, line, ink(`line-${at}`), scale, start, end));
    if (this.#drag) {
      place.context.fillStyle = ink("shade");
      place.context.fillRect(this.#drag.from, MARGIN.top, this.#drag.to - this.#drag.from, place.height - MARGIN.top - MARGIN.bottom);
    }
  }
}

function formatValue(value) {
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(2);
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: size < 10 ? 3 : size < 1000 ? 2 : 0 }).format(value);
}

/** Steps of 1, 2 or 5 by ten: at most `count` of them between both. */
function niceStep(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((step) => step * power >= raw);
}

/** Grid and axes; returns where a time and a value are. */
export function frame({ context, width, height }, [start, end], [low, high], format = formatValue) {
  const plotWidth = width - MARGIN.left - MARGIN.right;
  const plotHeight = height - MARGIN.top - MARGIN.bottom;
  const x = (time) => MARGIN.left + ((time - start) / (end - start)) * plotWidth;
  const y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * plotHeight;
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = ink("quiet");
  context.strokeStyle = ink("line");
  context.lineWidth = 1;
  context.beginPath();
  context.textAlign = "right";
  context.textBaseline = "middle";
  const step = niceStep(low, high, Math.max(2, plotHeight / 34));
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    const at = Math.round(y(value)) + 0.5;
    context.moveTo(MARGIN.left, at);
    context.lineTo(width - MARGIN.right, at);
    context.fillText(format(Math.abs(value) < step / 1e6 ? 0 : value), MARGIN.left - 6, at);
  }
  context.stroke();
  context.textAlign = "center";
  context.textBaseline = "top";
  const seconds = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300].find((it) => (end - start) / 1000 / it <= plotWidth / 84) ?? 300;
  for (let time = Math.ceil(start / (seconds * 1000)) * seconds * 1000; time <= end; time += seconds * 1000) {
    if (x(time) > MARGIN.left + 20 && x(time) < width - 24) context.fillText(formatTime(time), x(time), height - MARGIN.bottom + 6);
  }
  return { x, y };
}

function trace({ context, width, height }, line, color, { x, y }, start, end) {
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top, width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.beginPath();
  let column = -Infinity;
  let [low, high, last] = [0, 0, 0];
  let isFirst = true;
  const flush = () => {
    if (column === -Infinity) return;
    if (isFirst) context.moveTo(column, y(low));
    else context.lineTo(column, y(low));
    if (high !== low) context.lineTo(column, y(high));
    if (last !== high) context.lineTo(column, y(last));
    isFirst = false;
  };
  // One point on each side is drawn too, so that lines reach the edge.
  const slack = (end - start) / 2;
  line.forEach((time, value) => {
    if (time < start - slack || time > end + slack) return;
    const at = Math.round(x(time) * 2) / 2;
    if (at !== column) {
      flush();
      [column, low, high] = [at, value, value];
    }
    if (value < low) low = value;
    if (value > high) high = value;
    last = value;
  });
  flush();
  context.stroke();
  context.restore();
}
