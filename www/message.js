// Turns one frame of the WebSocket into what the page shows of it. Knows no document.
//
// Everything in a frame is hostile: nothing here throws, and what is kept is bounded however large
// the frame was.

const BODY_BYTES_MAX = 2048;
const TOPIC_BYTES_MAX = 160;
const WORD_BYTES_MAX = 64;
const PARTS_MAX = 16;
/** Of binary data; a multiple of three, so that its base64 ends on a whole group. */
const HEX_BYTES_MAX = 96;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * One frame, digested: a `message` (id, topic, parts, how many parts are hidden, size of the body in
 * bytes), a `gap` (missed, reason), or `malformed` (parts, size), which is anything else.
 */
export function digest(frame) {
  const at = new Date();
  if (typeof frame !== "string") {
    const head = new Uint8Array(frame, 0, Math.min(frame.byteLength, HEX_BYTES_MAX));
    const part = { text: hex(head), isBinary: true, isCut: head.length < frame.byteLength };
    return { kind: "malformed", at, parts: [part], hidden: 0, size: frame.byteLength };
  }

  const { id, topic, topic64, data, encoding, gap } = parse(frame);
  if (typeof gap === "object" && gap !== null) {
    const missed = Number.isSafeInteger(gap.missed) ? gap.missed : null;
    return { kind: "gap", at, missed, reason: cutWord(gap.reason) };
  }
  const body = Array.isArray(data) ? data : [data];
  if (!isString(topic ?? topic64) || body.length === 0 || !body.every(isString)) {
    return { kind: "malformed", at, ...cutParts([frame], cutText) };
  }
  return {
    kind: "message",
    at,
    id: cutWord(id),
    topic: isString(topic) ? cutText(topic, TOPIC_BYTES_MAX) : cutBase64(topic64),
    ...cutParts(body, encoding === "base64" ? cutBase64 : cutText),
  };
}

/** The size of a whole frame in bytes of UTF-8, as it was sent. */
export function frameSize(frame) {
  return isString(frame) ? encoder.encode(frame).length : frame.byteLength;
}

/** Controls as their symbols; what reorders or hides text as its code point. Lines still break. */
export function visible(text) {
  return text.replace(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\u200b\u2060\ufeff]/gu, (char) => {
    const code = char.codePointAt(0);
    if (char === "\n") return "␊\n";
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    return code === 0x7f ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

const isString = (value) => typeof value === "string";

/** The fields of a JSON object; of anything else, none. */
function parse(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}

/** The first parts, which share one budget, and the size of all. */
function cutParts(body, cut) {
  const parts = [];
  let budget = BODY_BYTES_MAX;
  let size = 0;
  for (const text of body) {
    const isShown = parts.length < PARTS_MAX && budget > 0;
    const part = cut(text, isShown ? budget : 0);
    size += part.size;
    budget -= part.text.length;
    if (isShown) parts.push(part);
  }
  return { parts, size, hidden: body.length - parts.length };
}

const scratch = new Uint8Array(BODY_BYTES_MAX);

/** As many whole characters as fit. It goes through bytes because a slice keeps its whole string alive. */
function cutText(text, bytesMax) {
  const { read, written } = encoder.encodeInto(text, scratch.subarray(0, bytesMax));
  const isCut = read < text.length;
  const size = isCut ? encoder.encode(text).length : written;
  return { text: decoder.decode(scratch.subarray(0, written)), size, isCut };
}

function cutBase64(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const size = Math.floor((text.length * 3) / 4) - padding;
  try {
    const head = atob(text.slice(0, (HEX_BYTES_MAX / 3) * 4));
    const bytes = Uint8Array.from(head, (char) => char.charCodeAt(0));
    return { text: hex(bytes), size, isBinary: true, isCut: bytes.length < size };
  } catch {
    return cutText(text, TOPIC_BYTES_MAX);
  }
}

const cutWord = (value) => (isString(value) ? cutText(value, WORD_BYTES_MAX).text : "");

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
