// Small charts as SVG: geometry only, so that the page's policy against inline styles can hold.

import { h } from "./dom.js";

/** A progress bar; its end moves smoothly between two reads. */
export function bar(percent, label, tone = "") {
  const now = Math.max(0, Math.min(100, percent));
  return h(
    "div.bar",
    {
      class: tone,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": now,
    },
    h(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      h("rect.bar-fill", { x: 0, y: 0, height: 10, width: now }),
    ),
  );
}

/** Waiting jobs as an area, ended ones as bars; the newest at the end of the reading direction. */
export function spark(depth, done, label) {
  const points = 60,
    width = 180,
    height = 34;
  const step = width / points;
  const scale = (values) => Math.max(1, ...values);
  const most = scale(depth),
    mostDone = scale(done);
  const x = (index, length) => width - (length - index) * step;
  const y = (value) => height - 2 - (value / most) * (height - 6);
  const line = depth.map((value, index) => `${x(index, depth.length).toFixed(1)},${y(value).toFixed(1)}`);
  const start = x(0, depth.length).toFixed(1);
  const area =
    line.length > 1
      ? `M${start},${height} L${line.join(" L")} L${width},${y(depth.at(-1) ?? 0).toFixed(1)} L${width},${height} Z`
      : "";
  return h(
    "svg.spark",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    h("line.spark-base", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }),
    done.map((value, index) => {
      const tall = (value / mostDone) * (height - 6);
      return (
        value > 0 &&
        h("rect.spark-done", {
          x: x(index, done.length).toFixed(1),
          y: (height - tall).toFixed(1),
          width: (step * 0.7).toFixed(1),
          height: tall.toFixed(1),
        })
      );
    }),
    area && depth.some((value) => value > 0) && h("path.spark-area", { d: area }),
    line.length > 1 &&
      depth.some((value) => value > 0) &&
      h("polyline.spark-line", { points: [...line, `${width},${y(depth.at(-1)).toFixed(1)}`].join(" ") }),
  );
}

/** A chart of the rate over the last minute. */
export function rateChart(values, label) {
  const width = 600,
    height = 90;
  if (values.length < 2) return null;
  const most = Math.max(1, ...values) * 1.15;
  const step = width / Math.max(1, values.length - 1);
  const points = values.map(
    (value, index) => `${(index * step).toFixed(1)},${(height - (value / most) * height).toFixed(1)}`,
  );
  return h(
    "svg.rate-chart",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    [0.25, 0.5, 0.75].map((part) => h("line.spark-base", { x1: 0, x2: width, y1: height * part, y2: height * part })),
    h("path.spark-area", { d: `M0,${height} L${points.join(" L")} L${width},${height} Z` }),
    h("polyline.spark-line", { points: points.join(" ") }),
  );
}
