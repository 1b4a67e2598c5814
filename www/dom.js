// Small helpers for the document and for figures. Text reaches the document as text only.

export const $ = (id) => document.getElementById(id);

/** Strings among the children become text nodes: nothing here parses markup. */
export function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** Writes only what changed: a write costs layout, and one to a live region is announced. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const formatNumber = new Intl.NumberFormat().format;

export function formatBytes(bytes) {
  const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const unit = ["B", "KiB", "MiB", "GiB", "TiB"][power];
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${unit}`;
}

/** Milliseconds, as short as they can be said. */
export function formatAge(millis) {
  const seconds = Math.max(0, Math.floor(millis / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

export const formatTime = (at) => new Date(at).toTimeString().slice(0, 8);

/** What of the page's colours a canvas needs, read again when the scheme changes. */
let inks = null;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (inks = null));
export function ink(name) {
  inks ??= new Map();
  if (!inks.has(name)) inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return inks.get(name);
}

/** The canvas, sized to its place and cleared, and its size in CSS pixels. `null` where it has none. */
export function blank(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return null;
  const scale = Math.min(devicePixelRatio || 1, 2);
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Copies; says by the button whether it could. Without https, browsers offer only the old way. */
export async function copy(text, button) {
  let isDone = await (navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false);
  if (!isDone) {
    const area = make("textarea", "unseen", text);
    document.body.append(area);
    area.select();
    isDone = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const label = (button.dataset.label ??= button.textContent);
  setText(button, isDone ? "Copied" : "Cannot copy");
  setTimeout(() => setText(button, label), 1_500);
}
