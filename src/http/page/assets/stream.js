// The event stream for all tabs of this browser: one connection in all, because a browser opens only six per host.

const SECTIONS = ["overview", "queues", "workers", "running", "deletions", "python", "tree"];
const tabs = new Set();
/** The newest sections, for tabs that connect later. */
const newest = new Map();
let source = null;

const tell = (message) => tabs.forEach((tab) => tab.postMessage(message));

function open() {
  if (source) return;
  const mine = (source = new EventSource("../api/v1/events"));
  mine.onopen = () => tell({ link: "live" });
  mine.onerror = () => {
    if (source !== mine) return;
    tell({ link: "lost" });
    // The browser reconnects by itself, unless the service refused.
    if (mine.readyState === EventSource.CLOSED) end();
  };
  for (const section of SECTIONS) {
    mine.addEventListener(section, ({ data }) => {
      newest.set(section, data);
      tell({ section, data });
    });
  }
}

function end() {
  source?.close();
  source = null;
  newest.clear();
  tell({ link: "ended" });
}

const orders = {
  open: (tab) => {
    open();
    if (source.readyState === EventSource.OPEN) tab.postMessage({ link: "live" });
    newest.forEach((data, section) => tab.postMessage({ section, data }));
  },
  close: end,
  leave: (tab) => {
    tabs.delete(tab);
    if (tabs.size === 0) end();
  },
};

addEventListener("connect", (/** @type {MessageEvent} */ { ports: [tab] }) => {
  tabs.add(tab);
  tab.onmessage = ({ data }) => orders[data]?.(tab);
});
