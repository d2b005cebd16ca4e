"use strict";
// Spans of time, colours and charts of counts. Shared by the status page and the page of the fleet.
// The charts need uPlot, which a page loads when it shows the first one.
(() => {
  const { make, draw, mark, style, title } = window.maskedge;
  const DASHES = [[], [7, 3], [2, 3], [7, 3, 2, 3]];

  const DAY = 86400;
  const SPANS = {
    hour: { seconds: 3600, bucket: "minute", step: 60, increments: [1, 2, 5, 10, 15, 30], ticks: "{HH}:{mm}", format: { hour: "2-digit", minute: "2-digit" } },
    day: { seconds: DAY, bucket: "hour", step: 3600, increments: [1, 2, 3, 6, 12], ticks: "{HH}:{mm}", format: { weekday: "short", hour: "2-digit", minute: "2-digit" } },
    week: { seconds: 7 * DAY, bucket: "hour", step: 3600, increments: [1, 3, 6, 12, 24, 48], ticks: "{WWW} {HH}:{mm}", format: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" } },
    month: { seconds: 30 * DAY, bucket: "day", step: DAY, increments: [1, 2, 5, 10], ticks: "{D} {MMM}", format: { weekday: "short", day: "numeric", month: "short" } },
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const labelColour = (label) => colour(`label-${label.replaceAll("_", "-")}`) || colour("label-unsure");
  const dashes = (label) => (style(label).dash ? style(label).dash.split(" ").map(Number) : []);
  // Colours of series that are not labels are spread over the circle of hues, from the accent on.
  const seriesStyle = (i) => {
    const light = matchMedia("(prefers-color-scheme: dark)").matches ? 68 : 38;
    return { stroke: `hsl(${(210 + 137 * i) % 360} 70% ${light}%)`, dash: DASHES[i % DASHES.length] };
  };

  const stroke = (kind, line) => draw("svg", { viewBox: "0 0 34 8", class: kind, "aria-hidden": "true" }, draw("line", { x1: 0, x2: 34, y1: 4, y2: 4, ...line }));
  const seriesKey = (i) => stroke("key", { stroke: seriesStyle(i).stroke, "stroke-width": 2.5, "stroke-dasharray": seriesStyle(i).dash.join(" ") || "none" });
  const legendItem = (label) => make("li", { "data-label": label }, stroke("", { "stroke-dasharray": style(label).dash || "none" }), mark(label), title(label));

  const axis = (more) => ({ stroke: colour("soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, ...more });
  // Draws a chart in an element. `data` are the times in seconds and the values of each series;
  // `values` formats ticks, `range` returns the limits of the values, `zone` is a time zone (undefined
  // for that of the reader), `choose` gets the index of the time under the pointer, or null.
  const lineChart = (element, { height, series, data, values, range, span, zone, sync, choose }) => {
    const { step, increments, ticks } = SPANS[span];
    const times = data[0];
    const many = times.length > 40;
    // Few points would be stretched over the whole width, and a single one over years.
    const limits = (low, high) => (high - low < 4 * step ? [high - 3 * step, high + step] : [low, high]);
    return new uPlot({
      width: Math.max(240, element.clientWidth), height, legend: { show: false }, padding: [10, 24, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 }, sync: { key: sync } },
      tzDate: (seconds) => (zone ? uPlot.tzDate(new Date(seconds * 1000), zone) : new Date(seconds * 1000)),
      scales: { x: { time: true, range: (u, low, high) => (times.length ? limits(times[0], times.at(-1)) : [low, high]) }, y: { range } },
      axes: [axis({ values: ticks, incrs: increments.map((count) => count * step), space: span === "week" ? 100 : 70, size: 30 }), axis({ size: 48, values })],
      series: [{}, ...series.map((one) => ({ width: 2, points: { show: !many, size: 5 }, ...one }))],
      hooks: { setCursor: [(u) => { if (u.cursor.event) choose(u.cursor.idx); }] },
    }, data, element);
  };

  Object.assign(window.maskedge, { SPANS, labelColour, dashes, seriesStyle, seriesKey, legendItem, lineChart });
})();
