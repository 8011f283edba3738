// Talks to /api/v1: calls that fail with a problem that can be shown, and the stream that comes back by itself.

import { changed, state } from "./state.js";

/** What went wrong with a call: a stable code, and words. */
export class CallProblem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["X-CSRF-Token"] = state.session?.csrf_token ?? "";
    headers["Idempotency-Key"] = key();
    headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new CallProblem(0, "offline", "the service cannot be reached");
  }
  const json = await answer.json().catch(() => null);
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
  state.session = found.signed_in ? found : null;
  changed();
}

function signedOut() {
  state.session = null;
  close();
  changed();
}

const SECTIONS = ["overview", "queues", "workers", "running", "deletions", "tree"];
/** Without a word for so long the connection is dead, whatever the browser thinks. */
const SILENCE = 40_000;
let source = null;
let again = 0;
let heard = 0;

/** Follows the board until signed out. */
export function follow() {
  if (source || !state.session) return;
  clearTimeout(again);
  heard = Date.now();
  source = new EventSource("/api/v1/events");
  source.onopen = () => link("live");
  for (const section of SECTIONS) {
    source.addEventListener(section, (event) => {
      heard = Date.now();
      state.board[section] = JSON.parse(event.data);
      link("live");
      dispatchEvent(new Event(`board-${section}`));
      changed();
    });
  }
  source.onerror = () => {
    link("lost");
    // The browser comes back by itself, unless it was turned away.
    if (source?.readyState === EventSource.CLOSED) restart();
  };
}

function restart() {
  close();
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
  if (source && state.link === "live" && Date.now() - heard > SILENCE && !document.hidden) {
    link("lost");
    restart();
  }
}, 5000);

export function close() {
  source?.close();
  source = null;
}

function link(word) {
  if (state.link === word) return;
  state.link = word;
  changed();
}
