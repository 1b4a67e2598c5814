/** The browser client of zmq2ws: types of `zmq2ws.js`. */

/** What carries the messages. */
export type Transport = "websocket" | "sse" | "poll";

/** Text, or bytes where it is not UTF-8. */
export type Text = string | Uint8Array;

export interface Message {
  /** Where the gateway counts it: `EPOCH-SEQ`. Give it as `since` to go on behind this message. */
  id: string;
  topic: Text;
  /** A body of one part, or the parts of one with several. */
  data: Text | Text[];
}

/** Messages are missing here. */
export interface Gap {
  /** How many, where that is known. */
  missed: number | null;
  /** Too slow; away for longer than the gateway keeps messages; another run of the gateway; lost before the gateway. */
  reason: "lag" | "history" | "restart" | "upstream";
}

export interface Problem extends Error {
  /** Of an answer that was none of the kind that was asked for. */
  status?: number;
  /** How many milliseconds the gateway asks clients to stay away. */
  retryAfter?: number;
}

export type State =
  | { state: "connecting"; transport?: Transport }
  | { state: "open"; transport: Transport }
  /** The next try begins `delay` milliseconds later. The error says why the last one ended. */
  | { state: "waiting"; transport: Transport; delay: number; error: Problem }
  /** For good. With an error where the gateway refuses what was asked for, or who asked. */
  | { state: "closed"; error?: Problem };

export interface Options {
  /** Topics that start with one of these. Without `topics` and `exact`: everything. */
  topics?: readonly string[];
  /** These very topics. */
  exact?: readonly string[];
  /** The id of the last message that was seen: what came after it is sent first. Default: from now on. */
  since?: string;
  /** Sent along: as a field where a request can have one, in the query of a WebSocket. A function is called each time. */
  token?: string | (() => string);
  /** Which transports to use, the better ones first. Default: `["websocket", "sse", "poll"]`. */
  transports?: readonly Transport[];
  /** Milliseconds for a transport to open and to show that it delivers. Default: 5,000. */
  timeout?: number;
  /** Milliseconds of silence after which the gateway is asked whether there is nothing to say. Default: 60,000. */
  quiet?: number;
  /** Milliseconds that the first wait takes at most; each further one may take twice as long. Default: 1,000. */
  retryMin?: number;
  /** Milliseconds that no wait exceeds, but where the gateway asks for a longer one. Default: 30,000. */
  retryMax?: number;
  /** Milliseconds, half of them at least, until a better transport than the one in use is tried again. Default: 300,000. */
  upgradeAfter?: number;
  /** Closes the feed when it is aborted. */
  signal?: AbortSignal | null;
  /** Keeps the newest message of each topic in `feed.latest`, of 10,000 topics at most. */
  latest?: boolean;
  /**
   * One connection for all tabs that ask the same: another one resumes when its tab is closed. Where the browser has no Web
   * Locks (without https, except on localhost), or with `since`, each tab has its own.
   */
  shared?: boolean;
}

export interface Events {
  message: Message;
  gap: Gap;
  state: State;
  /** The id to resume behind has moved without a message. */
  id: string;
}

/** The newest message by topic; a topic of bytes by "\0" and its bytes in hex. A store as Svelte has them. */
export interface Latest extends ReadonlyMap<string, Message> {
  /** Calls `watcher` at once, and with changes once per frame. Returns a function that ends this. */
  readonly subscribe: (watcher: (latest: Latest) => void) => () => void;
  /** A copy, the same one until something changes: for React's `useSyncExternalStore`. */
  readonly snapshot: () => ReadonlyMap<string, Message>;
}

/** Iterated over, it gives the messages until it is closed, and throws where it was closed with an error. */
export interface Feed extends AsyncIterable<Message> {
  /** With `latest: true`. */
  readonly latest: Latest | null;
  /** The id to resume behind, or "". */
  readonly id: string;
  /** What the last `state` event said. */
  readonly status: State;
  /** Has `handler` called for each event. Returns a function that ends this. */
  on<Type extends keyof Events>(type: Type, handler: (event: Events[Type]) => void): () => void;
  /** Ends everything, at once and for good. May be called again. */
  close(): void;
}

/**
 * Connects to the gateway at `url` (default: `"/"`), and stays connected until `close()`.
 *
 * The URL's query is kept, and a `/ws`, `/sse` or `/poll` at its end is not.
 *
 * @throws TypeError for a URL, an option, a transport or an event that does not exist; URIError for a topic with half a surrogate pair.
 */
export function zmq2ws(url?: string | URL, options?: Options): Feed;

export default zmq2ws;
