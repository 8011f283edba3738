// Texts, numbers and times in the user's language.

import { en } from "./en.js";
import { he } from "./he.js";

const DICTIONARIES = { en, he };
const made = new Map();
/** The language of the page. */
let language = "en";

function format(kind, make) {
  const name = `${language} ${kind}`;
  if (!made.has(name)) made.set(name, make(language === "he" ? "he-IL" : "en-GB"));
  return made.get(name);
}

/** The text for a key in the plural form for its number, which is `count` or `n`. */
function form(key, { n, count = n }) {
  const found = DICTIONARIES[language][key] ?? en[key] ?? key;
  if (typeof found === "string") return found;
  return found[format("plural", (tag) => new Intl.PluralRules(tag)).select(Number(count))] ?? found.other;
}

/** The text for a key, with its placeholders filled in; numbers are formatted for the language. */
export function t(key, blanks = {}) {
  return tell(key, blanks).join("");
}

/** The same as a list, for placeholders that are elements. */
export function tell(key, blanks) {
  const fill = (value) => (typeof value === "number" ? number(value) : (value ?? ""));
  const parts = form(key, blanks).split(/\{(\w+)\}/);
  return parts.map((part, index) => (index % 2 ? fill(blanks[part]) : part));
}

/** The text for a code of the service, or the code itself if there is none. */
export function word(kind, name) {
  const key = `${kind}_${name}`;
  return DICTIONARIES[language][key] ?? en[key] ?? name;
}

export function number(value, digits = 0) {
  return format(`number ${digits}`, (tag) => new Intl.NumberFormat(tag, { maximumFractionDigits: digits })).format(
    value,
  );
}

export function time(iso) {
  if (!iso) return "–";
  const make = (tag) => new Intl.DateTimeFormat(tag, { dateStyle: "short", timeStyle: "medium" });
  return format("time", make).format(new Date(iso));
}

/** Seconds between two times, each as text or as a number of milliseconds. */
export function secondsBetween(from, to) {
  return (new Date(to).getTime() - new Date(from).getTime()) / 1000;
}

export function ago(iso) {
  if (!iso) return "–";
  return span(Math.max(0, secondsBetween(iso, Date.now())));
}

/** How long ago in one unit, for lists, so that the text rarely changes. */
export function longAgo(iso) {
  const s = Math.max(0, secondsBetween(iso, Date.now()));
  if (s < 60) return t("just_now");
  const [unit, n] = s < 3600 ? ["m", s / 60] : s < 86_400 ? ["h", s / 3600] : ["d", s / 86_400];
  return t("time_ago", { time: t(`one_${unit}`, { n: Math.floor(n) }) });
}

/** The time of day to the millisecond. */
export function clock(iso) {
  const make = (tag) =>
    new Intl.DateTimeFormat(tag, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
  return format("clock", make).format(new Date(iso));
}

/** A duration in at most two units. */
export function span(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return t("span_s", { s });
  if (s < 3600) return t("span_m", { m: Math.floor(s / 60), s: s % 60 });
  if (s < 86_400) return t("span_h", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
  return t("span_d", { d: Math.floor(s / 86_400), h: Math.floor((s % 86_400) / 3600) });
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log(Math.max(1, value)) / Math.log(1000)));
  return `${number(value / 1000 ** power, power ? 1 : 0)} ${units[power]}`;
}

/** Sets the language, or English if it is unknown, and returns its tag. It also sets the page's direction. */
export function speak(wish) {
  language = Object.hasOwn(DICTIONARIES, wish) ? wish : "en";
  document.documentElement.lang = language;
  document.documentElement.dir = language === "he" ? "rtl" : "ltr";
  return language;
}
