// Builds elements from data, and updates the page with the fewest changes, so that focus, selection and transitions
// survive.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "rect", "circle", "line", "g", "polyline", "title"]);

/** Builds an element: `h("p.muted", { id: "x" }, "text", child)`. null, undefined and false are left out. */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const drawn = DRAWN.has(tag) && (tag !== "title" || attributes?.svg);
  const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false || key === "svg") continue;
    if (key === "class") element.setAttribute("class", [...classes, value].filter(Boolean).join(" "));
    else if (key === "value" && "value" in element) {
      element.value = value;
      element.setAttribute("value", value);
    } else element.setAttribute(key, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Makes `element` contain `children`, and changes only what differs. */
export function show(element, ...children) {
  const wanted = document.createElement(element.tagName);
  add(wanted, children);
  morphChildren(element, wanted);
}

/** What each element shows: the function, and its input. */
const shown = new WeakMap();

/** Shows `draw(given)` if an input has changed since the last time; returns whether it has. */
export function redraw(element, draw, given) {
  const last = shown.get(element);
  const names = Object.keys({ ...last?.given, ...given });
  if (last?.draw === draw && names.every((name) => last.given[name] === given[name])) return false;
  shown.set(element, { draw, given });
  show(element, ...draw(given));
  return true;
}

function same(a, b) {
  return (
    a.nodeType === b.nodeType &&
    a.nodeName === b.nodeName &&
    (a.nodeType !== 1 || a.getAttribute("data-key") === b.getAttribute("data-key"))
  );
}

const key = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);

function morphChildren(from, to) {
  const wanted = [...to.childNodes];
  const keys = new Set(wanted.map(key));
  let at = from.firstChild;
  // Elements with a key that is no longer used are removed first, so that the others need not be moved.
  const pass = () => {
    while (at && key(at) !== null && !keys.has(key(at))) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };
  for (const node of wanted) {
    pass();
    if (at && !same(at, node) && node.nodeType === 1 && node.hasAttribute("data-key")) {
      const found = [...from.children].find((one) => same(one, node));
      if (found) {
        from.insertBefore(found, at);
        at = found;
      }
    }
    if (at && same(at, node)) {
      morph(at, node);
      at = at.nextSibling;
    } else {
      from.insertBefore(node, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morph(from, to) {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  if (from instanceof HTMLInputElement || from instanceof HTMLSelectElement) {
    // A field keeps what the user types while it has the focus.
    if (document.activeElement !== from && to.hasAttribute("value") && from.value !== to.value) from.value = to.value;
  }
  if (from instanceof HTMLOptionElement) from.selected = to.hasAttribute("selected");
  morphChildren(from, to);
}

/** Text that is left to right in any language: ids, functions, numbers with signs. */
export function ltr(text, name = "bdi") {
  return h(name, { dir: "ltr" }, text);
}
