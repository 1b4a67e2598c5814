// Turns one message or gap into what the page shows of it. Knows no document.
//
// Everything in a message is hostile: nothing here throws, and what is kept is bounded however large the message was.

const BODY_BYTES_MAX = 2048;
const TOPIC_BYTES_MAX = 160;
const WORD_BYTES_MAX = 64;
const PARTS_MAX = 16;
/** Of binary data. */
const HEX_BYTES_MAX = 96;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** One message, digested: its id, topic, parts, how many parts are hidden, and the size of the body in bytes. */
export function digest({ id, topic, data }) {
  const body = cutParts(Array.isArray(data) ? data : [data]);
  const name = cut(topic, TOPIC_BYTES_MAX);
  return { kind: "message", at: Date.now(), id: cutWord(id), topic: name, key: keyOf(name), ...body };
}

/** The same for the same topic only, unless two long ones begin alike and are of one size. */
function keyOf({ text, size, isCut, isBinary }) {
  return (isBinary ? `\0${text}` : text) + (isCut ? `\0${size}` : "");
}

/** One gap, digested. */
export function digestGap({ missed, reason }) {
  return { kind: "gap", at: Date.now(), missed: Number.isSafeInteger(missed) ? missed : null, reason: cutWord(reason) };
}

/** The first number in a text: the body itself, or the first member of a JSON that is one. */
export function firstNumber(text) {
  const found = /^\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*$|[[:,]\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*[,\]}]/.exec(text);
  return found ? Number(found[1] ?? found[2]) : NaN;
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

/** The first parts, which share one budget, and the size of all. */
function cutParts(body) {
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

const cut = (text, bytesMax) => (typeof text === "string" ? cutText(text, bytesMax) : cutBytes(text));

const scratch = new Uint8Array(BODY_BYTES_MAX);

/** As many whole characters as fit. What is cut goes through bytes: a slice would keep its whole string alive. */
function cutText(text, bytesMax) {
  const { read, written } = encoder.encodeInto(text, scratch.subarray(0, bytesMax));
  const isCut = read < text.length;
  const size = isCut ? encoder.encode(text).length : written;
  return { text: isCut ? decoder.decode(scratch.subarray(0, written)) : text, size, isCut };
}

function cutBytes(bytes) {
  const text = hex(bytes.subarray(0, HEX_BYTES_MAX));
  return { text, size: bytes.length, isBinary: true, isCut: bytes.length > HEX_BYTES_MAX };
}

const cutWord = (text) => cutText(text, WORD_BYTES_MAX).text;

/** Bytes as lines of an editor for such: offset, sixteen in hex, and what of it is ASCII. */
export function hexLines(bytes, linesMax) {
  const lines = [];
  for (let at = 0; at < bytes.length && lines.length < linesMax; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const ascii = Array.from(row, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex(row).padEnd(47)}  ${ascii}`);
  }
  return lines;
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
