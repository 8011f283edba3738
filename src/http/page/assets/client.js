// The client for /api/v1: calls, with problems that can be shown, and the event stream, which reconnects by itself.

import { exact } from "./exact.js";
import { set, state } from "./state.js";

/** The error of a call: a stable code, and a text. */
export class CallProblem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Aborts the reads in progress. */
let reads = new AbortController();

/** Makes a call; a `body` of text is sent unchanged. With `once: false` it is sent without an idempotency key. */
export async function call(method, path, body, { once = true } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["X-CSRF-Token"] = state.session?.csrf_token ?? "";
    if (once) headers["Idempotency-Key"] = key();
    headers["Content-Type"] = "application/json";
  }
  const signal = method === "GET" ? reads.signal : undefined;
  let answer;
  try {
    answer = await fetch(`api/v1${path}`, {
      method,
      headers,
      body: typeof body === "object" ? JSON.stringify(body) : body,
      cache: "no-store",
      signal,
    });
  } catch {
    // The result is no longer needed.
    if (signal?.aborted) return new Promise(() => {});
    throw new CallProblem(0, "offline", "the service cannot be reached");
  }
  const json = await answer
    .text()
    .then(exact)
    .catch(() => null);
  if (answer.ok) return json;
  if (answer.status === 401 && path !== "/session") signedOut();
  throw new CallProblem(answer.status, json?.code ?? "unknown", json?.detail ?? answer.statusText);
}

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads the session; the page does this before all other calls. */
export async function session() {
  const found = await call("GET", "/session");
  set({ session: found.signed_in ? found : null });
}

/** Signs out. Reads in progress are aborted first, because they would be refused. */
export async function signOut() {
  close();
  reads.abort();
  try {
    await call("DELETE", "/session");
    set({ session: null });
  } finally {
    reads = new AbortController();
    follow();
  }
}

function signedOut() {
  close();
  set({ session: null });
}

/** After this many milliseconds without an event the connection counts as dead. */
const SILENCE = 40_000;
let stream = null;
let following = false;
let again = 0;
let heard = 0;

/** One stream for all tabs of this browser. */
function shared() {
  const worker = new SharedWorker("page/stream.js", { name: "tikkun-2" });
  const order = (word) => worker.port.postMessage(word);
  worker.port.onmessage = ({ data }) => hear(data);
  worker.onerror = () => {
    stream = own();
    if (following) stream.open();
  };
  const leave = () => {
    order("leave");
    // The worker has dropped this tab; the tab connects again when it is shown.
    stream = null;
  };
  return { open: () => order("open"), close: () => order("close"), leave };
}

/** A stream for this tab only, if the browser cannot share one. It is open while the tab is visible. */
function own() {
  let source = null;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource("api/v1/events");
    source.onopen = () => hear({ link: "live" });
    source.onerror = () => {
      hear({ link: "lost" });
      if (source?.readyState === EventSource.CLOSED) {
        close();
        hear({ link: "ended" });
      }
    };
    for (const section of ["overview", "queues", "workers", "running", "deletions", "python", "tree"]) {
      source.addEventListener(section, ({ data }) => hear({ section, data }));
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    heard = Date.now();
    if (following) open();
  });
  return { open, close, leave: close };
}

/** @param {{ link?: string, section?: string, data?: string }} news */
function hear({ link: word, section, data }) {
  if (!following) return;
  if (section) {
    heard = Date.now();
    set({ [section]: exact(data) });
    link("live");
    dispatchEvent(new Event(`board-${section}`));
  } else if (word === "ended") restart();
  else link(word);
}

/** Follows the board until the sign-out. */
export function follow() {
  if (following || !state.session) return;
  clearTimeout(again);
  heard = Date.now();
  following = true;
  stream ??= "SharedWorker" in window ? shared() : own();
  stream.open();
}

function restart() {
  following = false;
  link("lost");
  clearTimeout(again);
  again = setTimeout(async () => {
    try {
      await session();
    } catch {
      // The service cannot be reached yet; the next attempt will show.
    }
    if (state.session) follow();
  }, 1500);
}

setInterval(() => {
  if (following && state.link === "live" && Date.now() - heard > SILENCE && !document.hidden) {
    stream?.close();
    if (following) restart();
  }
}, 5000);

addEventListener("pagehide", () => stream?.leave());
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  // The browser restored the page from its cache.
  following = false;
  follow();
});

function close() {
  following = false;
  stream?.close();
}

function link(word) {
  if (state.link !== word) set({ link: word });
}
