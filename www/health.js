// How it is going: rates of the last five minutes, gaps, what the connection went through, and why nothing comes.

import { $, blank, formatAge, formatBytes, formatNumber, formatTime, ink, make } from "./dom.js";
import { visible } from "./message.js";
import { frame } from "./plot.js";
import { describeGap } from "./stream.js";

const SECONDS = 300;
const ENTRIES_MAX = 50;

/** What the page calls a transport. */
export const TRANSPORTS = { websocket: "WebSocket", sse: "Server-Sent Events", poll: "long-polling" };

export class Health {
  #messages = new Float64Array(SECONDS);
  #bytes = new Float64Array(SECONDS);
  /** Seconds of the ring in which a gap was told. */
  #gaps = new Uint8Array(SECONDS);
  #second = 0;
  #counted = { messages: 0, bytes: 0 };
  #gapNow = false;
  /** What `/status` last said, how long it took, and what it said before. */
  figures = null;
  #roundTrip = null;
  #before = null;
  #token;
  #asked = 0;

  constructor(token) {
    this.#token = token;
  }

  gap(item) {
    this.#gapNow = true;
    this.#log("gap-list", item.at, describeGap(item));
  }

  state({ state, transport, delay, error }) {
    const name = TRANSPORTS[transport] ?? "";
    const why = error ? `: ${visible(error.message)}` : "";
    const says = {
      connecting: `connecting${name && ` over ${name}`}`,
      open: `live over ${name}`,
      waiting: `${name} failed${why}; next try in ${Math.ceil((delay ?? 0) / 1000)} s`,
      closed: `closed${why}`,
    };
    this.#log("link-list", Date.now(), says[state]);
  }

  resumed(id) {
    this.#log("link-list", Date.now(), `resumed behind ${visible(id)}`);
  }

  /** Once a second. */
  tick(totals) {
    const at = this.#second % SECONDS;
    this.#messages[at] = totals.messages - this.#counted.messages;
    this.#bytes[at] = totals.bytes - this.#counted.bytes;
    this.#gaps[at] = Number(this.#gapNow);
    this.#gapNow = false;
    this.#counted = { ...totals };
    this.#second += 1;
    const isSilent = this.#messages[at] === 0;
    // Asked seldom; more often where the answer says why nothing comes.
    if (!document.hidden && this.#second - this.#asked >= (isSilent ? 3 : 10)) this.ask();
    this.render();
  }

  async ask() {
    this.#asked = this.#second;
    const began = performance.now();
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
    try {
      const response = await fetch("status", { headers, cache: "no-store", signal: AbortSignal.timeout(5_000) });
      if (!response.ok) throw new Error(String(response.status));
      const figures = await response.json();
      this.#before = this.figures;
      this.figures = figures;
      this.#roundTrip = performance.now() - began;
    } catch {
      this.figures = this.#before = this.#roundTrip = null;
    }
  }

  /** Why no message comes, or "": `hasFilter` says whether not everything is asked for. */
  reason(status, totals, hasFilter, isPaused) {
    if (isPaused) return "Paused: messages are counted, and not shown.";
    if (status.state !== "open" || !this.figures) return "";
    const quiet = Math.min(this.#second, 3);
    for (let back = 1; back <= quiet; back += 1) if (this.#messages[(this.#second - back) % SECONDS] > 0) return "";
    if (this.figures.upstream_connections === 0) {
      return "Connected to the gateway, but no publisher is connected to it.";
    }
    const hasGrown = this.#before && this.figures.messages_received > this.#before.messages_received;
    if (hasFilter && hasGrown) return "Messages reach the gateway, but no topic matches what this page asks for.";
    return totals.messages === 0 ? "A publisher is connected, and has sent nothing yet." : "";
  }

  render() {
    if ($("health").hidden) return;
    const { figures } = this;
    const facts = figures
      ? [
          ["gateway", visible(String(figures.version))],
          ["up for", formatAge(Number(figures.uptime_seconds) * 1000)],
          ["publishers", formatNumber(Number(figures.upstream_connections))],
          ["messages taken in", formatNumber(Number(figures.messages_received))],
          ["clients", formatNumber(Number(figures.clients))],
          ["round trip", `${Math.max(1, Math.round(this.#roundTrip))} ms`],
        ]
      : [["gateway", "does not say how it is"]];
    $("gateway").replaceChildren(...facts.map(([name, value]) => make("div", "", make("dt", "", name), make("dd", "", value))));
    this.#draw($("rate-plot"), this.#messages, formatNumber);
    this.#draw($("byte-plot"), this.#bytes, formatBytes);
  }

  #draw(canvas, ring, format) {
    const place = blank(canvas);
    if (!place) return;
    const now = Date.now();
    const high = Math.max(1, ...ring) * 1.1;
    const { x, y } = frame(place, [now - SECONDS * 1000, now], [0, high], (value) => (Number.isInteger(value) || high > 10 ? format(Math.round(value)) : ""));
    const { context } = place;
    const width = Math.max(1, x(1000) - x(0));
    const count = Math.min(this.#second, SECONDS);
    for (let back = 1; back <= count; back += 1) {
      const at = (this.#second - back) % SECONDS;
      const left = x(now - back * 1000);
      if (this.#gaps[at]) {
        context.fillStyle = ink("gap-mark");
        context.fillRect(left, y(high), Math.max(2, width), y(0) - y(high));
      }
      context.fillStyle = ink("live");
      context.fillRect(left, y(ring[at]), width + 0.3, y(0) - y(ring[at]));
    }
  }

  #log(id, at, text) {
    const list = $(id);
    list.prepend(make("li", "", make("time", "", formatTime(at)), " ", text));
    while (list.childElementCount > ENTRIES_MAX) list.lastElementChild.remove();
  }
}
