// Talks to /api/v1: calls that fail with a problem that can be shown, and the stream that comes back by itself.

import { exact } from "./exact.js";
import { set, state } from "./state.js";

/** What went wrong with a call: a stable code, and words. */
export class CallProblem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Ends the reads that are not answered yet. */
let reads = new AbortController();

/** One call; a `body` that is text is sent as it is. What may be repeated without harm needs no key of its own. */
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
    // Nobody waits for it any more.
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

/** Whether somebody is signed in; the page asks before it asks for anything else. */
export async function session() {
  const found = await call("GET", "/session");
  set({ session: found.signed_in ? found : null });
}

/** Signs out. No read is under way meanwhile: it would be refused. */
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

/** Without a word for so long the connection is dead, whatever the browser thinks. */
const SILENCE = 40_000;
let stream = null;
let following = false;
let again = 0;
let heard = 0;

/** One stream for all tabs of this browser. */
function shared() {
  const worker = new SharedWorker("page/stream.js", { name: "tikkun-1" });
  const order = (word) => worker.port.postMessage(word);
  worker.port.onmessage = ({ data }) => hear(data);
  worker.onerror = () => {
    stream = own();
    if (following) stream.open();
  };
  const leave = () => {
    order("leave");
    // The worker has forgotten this tab: whoever comes back asks anew.
    stream = null;
  };
  return { open: () => order("open"), close: () => order("close"), leave };
}

/** A stream of this tab alone, where the browser can share none: open while somebody looks, so that the connections to
    this host go to those tabs that are looked at. */
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
    for (const section of ["overview", "queues", "workers", "running", "deletions", "tree"]) {
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

/** Follows the board until signed out. */
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
      // Still out of reach: the next try tells.
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
  // The browser kept the page as it was when somebody left it.
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
