"use strict";
// The history section of the status page. Data comes from /api/history. uPlot draws the charts; it
// is loaded only where a history is kept.
(() => {
  const { byId, style, order, title, make, draw, mark, fill, setText, number, duration, sentence, UNKNOWN } = window.maskedge;
  if (document.body.dataset.history !== "yes") return;

  const DAY = 86400;
  const SPANS = {
    hour: { seconds: 3600, bucket: "minute", step: 60, ticks: "{HH}:{mm}", format: { hour: "2-digit", minute: "2-digit" } },
    day: { seconds: DAY, bucket: "hour", step: 3600, ticks: "{HH}:{mm}", format: { weekday: "short", hour: "2-digit", minute: "2-digit" } },
    week: { seconds: 7 * DAY, bucket: "hour", step: 3600, ticks: "{WWW} {HH}:{mm}", format: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" } },
    month: { seconds: 30 * DAY, bucket: "day", step: DAY, ticks: "{D} {MMM}", format: { weekday: "short", day: "numeric", month: "short" } },
  };
  const REFRESH = 30000;
  const DASHES = [[], [7, 3], [2, 3], [7, 3, 2, 3]];

  let span = "day";
  let camera = "";
  let answer = null;
  let plots = [];
  let chosen = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const labelColour = (label) => colour(`label-${label.replaceAll("_", "-")}`) || colour("label-unsure");
  const dashes = (label) => (style(label).dash ? style(label).dash.split(" ").map(Number) : []);
  const zone = () => {
    try {
      return new Intl.DateTimeFormat("en", { timeZone: answer.time_zone }).resolvedOptions().timeZone;
    } catch {
      return undefined; // The device's zone has no name that the browser knows.
    }
  };
  const when = (seconds) => new Date(seconds * 1000).toLocaleString([], { ...SPANS[span].format, timeZone: zone() });
  const percent = (share) => (share === null ? UNKNOWN : `${number(100 * share)}%`);

  // ---- figures. Several rows of one time are the cameras.
  const sum = (amounts) => Object.values(amounts).reduce((total, value) => total + value, 0);
  const share = (faces) => (sum(faces) && "with_mask" in faces ? faces.with_mask / sum(faces) : null);
  const add = (total, amounts) => { for (const [label, value] of Object.entries(amounts)) total[label] = (total[label] || 0) + value; };
  const collect = (rows) => {
    const times = new Map();
    for (const row of rows) {
      const at = Date.parse(row.time) / 1000;
      if (!times.has(at)) times.set(at, { at, means: {}, faces: {}, people: 0, shares: {} });
      const point = times.get(at);
      if (row.observed_s) add(point.means, Object.fromEntries(Object.entries(row.face_s).map(([label, value]) => [label, value / row.observed_s])));
      add(point.faces, row.face_s);
      point.people += sum(row.people);
      point.shares[row.camera] = row.share_masked;
    }
    const points = [...times.values()].sort((a, b) => a.at - b.at);
    // A time that nobody observed breaks the lines.
    return points.flatMap((point, i) => (i && point.at - points[i - 1].at > 1.5 * SPANS[span].step ? [{ at: points[i - 1].at + SPANS[span].step, gap: true }, point] : [point]));
  };

  // ---- charts
  const axis = (more) => ({ stroke: colour("soft"), font: "12px system-ui, sans-serif", grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, ...more });
  const plot = (id, height, series, data, values, range) => {
    const name = zone();
    const many = data[0].length > 40;
    // A single point needs room at both sides.
    const pad = data[0].length === 1 ? SPANS[span].step : 0;
    return new uPlot({
      width: Math.max(240, byId(id).clientWidth), height, legend: { show: false }, padding: [10, 24, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 }, sync: { key: "history" } },
      tzDate: (seconds) => (name ? uPlot.tzDate(new Date(seconds * 1000), name) : new Date(seconds * 1000)),
      scales: { x: { time: true, range: (u, low, high) => [low - pad, high + pad] }, y: { range } },
      axes: [axis({ values: SPANS[span].ticks, space: span === "week" ? 100 : 70, size: 30 }), axis({ size: 48, values })],
      series: [{}, ...series.map((one) => ({ width: 2, points: { show: !many, size: 5 }, ...one }))],
      hooks: { setCursor: [(u) => { if (u.cursor.event) choose(u.cursor.idx); }] },
    }, data, byId(id));
  };

  const show = () => {
    for (const old of plots) old.destroy();
    plots = [];
    const all = answer.rows;
    const rows = camera ? all.filter((row) => row.camera === camera) : all;
    const points = collect(rows);
    byId("history-charts").hidden = !points.length;
    if (!points.length) {
      setText("history-reading", "No data yet. Counts appear within a minute of the first frame.");
      return;
    }
    const labels = order(answer.labels);
    const times = points.map((point) => point.at);
    const face = (label) => points.map((point) => (point.gap ? null : point.means[label] || 0));
    plots.push(plot("history-faces", 220, labels.map((label) => ({ label: title(label), stroke: labelColour(label), dash: dashes(label) })),
      [times, ...labels.map(face)], (u, ticks) => ticks.map((tick) => number(tick, 2)), (u, low, high) => [0, Math.max(1, high * 1.05)]));
    const cameras = [...new Set(rows.map((row) => row.camera))].sort();
    // Colours of cameras are spread over the circle of hues, from the accent on.
    const light = matchMedia("(prefers-color-scheme: dark)").matches ? 68 : 38;
    const look = (i) => ({ stroke: `hsl(${(210 + 137 * i) % 360} 70% ${light}%)`, dash: DASHES[i % DASHES.length] });
    plots.push(plot("history-share", 160, cameras.map((name, i) => ({ label: name, spanGaps: true, ...look(i) })),
      [times, ...cameras.map((name) => points.map((point) => (point.gap ? null : point.shares[name] ?? null)))],
      (u, ticks) => ticks.map((tick) => `${number(100 * tick)}%`), () => [0, 1]));
    fill("history-legend", ...labels.map((label) => {
      const line = draw("svg", { viewBox: "0 0 34 8", "aria-hidden": "true" }, draw("line", { x1: 0, x2: 34, y1: 4, y2: 4, "stroke-dasharray": style(label).dash || "none" }));
      return make("li", { "data-label": label }, line, mark(label), title(label));
    }));
    fill("history-rows", ...cameras.map((name, i) => {
      const own = rows.filter((row) => row.camera === name);
      const faces = {};
      for (const row of own) add(faces, row.face_s);
      const { stroke, dash } = look(i);
      const line = draw("svg", { viewBox: "0 0 34 8", class: "key", "aria-hidden": "true" }, draw("line", { x1: 0, x2: 34, y1: 4, y2: 4, stroke, "stroke-width": 2.5, "stroke-dasharray": dash.join(" ") || "none" }));
      return make("tr", {}, make("th", { scope: "row" }, line, ` ${name}`), make("td", {}, percent(share(faces))), make("td", {}, number(own.reduce((total, row) => total + sum(row.people), 0))),
        make("td", {}, duration(own.reduce((total, row) => total + row.observed_s, 0))));
    }));
    byId("history-faces").setAttribute("aria-label", `Chart of the last ${span}: average number of faces in view`);
    byId("history-share").setAttribute("aria-label", `Chart of the last ${span}: share of faces with a mask, by camera`);
    read(points, labels);
  };

  const read = (points, labels) => {
    const point = points[chosen];
    setText("history-reading", point && !point.gap
      ? `${when(point.at)}: ${labels.map((label) => `${number(point.means[label] || 0, 2)} ${style(label).name}`).join(", ")} in view; ${number(point.people)} new people; ${percent(share(point.faces))} with a mask`
      : `By ${SPANS[span].bucket}, in the time zone of the device (${answer.time_zone}). Point at the chart, or use the arrow keys.`);
  };
  const choose = (place) => {
    chosen = place;
    read(collect(camera ? answer.rows.filter((row) => row.camera === camera) : answer.rows), order(answer.labels));
  };

  // ---- data
  const address = (form) => {
    const { seconds, bucket } = SPANS[span];
    const fields = new URLSearchParams({ from: String(Math.floor(Date.now() / 1000) - seconds), bucket });
    if (form) fields.set("format", form);
    if (form && camera) fields.set("camera", camera);
    return `api/history?${fields}`;
  };
  let requests = 0;
  const load = async () => {
    const number = (requests += 1);
    byId("history-csv").href = address("csv");
    try {
      const response = await fetch(address());
      const content = await response.text();
      if (number !== requests) return; // A newer request is under way.
      if (!response.ok) throw new Error(content.trim());
      answer = JSON.parse(content);
    } catch (error) {
      if (number === requests) setText("history-reading", `The history is not available. ${sentence(error.message)}`);
      return;
    }
    byId("history-choice").hidden = answer.cameras.length < 2;
    if (!answer.cameras.includes(camera)) camera = "";
    fill("history-camera", make("option", { value: "" }, "All"), ...answer.cameras.map((name) => make("option", { value: name }, name)));
    byId("history-camera").value = camera;
    show();
  };

  fill("spans", ...Object.keys(SPANS).map((name) => make("button", { type: "button", "data-span": name, "aria-pressed": String(name === span) }, sentence(name))));
  byId("spans").addEventListener("click", (event) => {
    const name = event.target.dataset.span;
    if (!name) return;
    span = name;
    chosen = null;
    for (const button of byId("spans").children) button.setAttribute("aria-pressed", String(button.dataset.span === span));
    load();
  });
  byId("history-camera").addEventListener("change", (event) => { camera = event.target.value; chosen = null; byId("history-csv").href = address("csv"); show(); });
  byId("history-faces").addEventListener("pointerleave", () => { if (answer) choose(null); });
  byId("history-faces").addEventListener("keydown", (event) => {
    if (!plots.length || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
    event.preventDefault();
    const times = plots[0].data[0];
    const last = times.length - 1;
    const next = { ArrowLeft: chosen === null ? last : Math.max(0, chosen - 1), ArrowRight: chosen === null ? 0 : Math.min(last, chosen + 1), Home: 0, End: last, Escape: null }[event.key];
    choose(next);
    plots[0].setCursor({ left: next === null ? -10 : plots[0].valToPos(times[next], "x"), top: 0 });
  });
  let resized = 0;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => { if (answer && plots.length) show(); }, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (answer && plots.length) show(); });
  setInterval(() => { if (!document.hidden && chosen === null) load(); }, REFRESH);

  byId("history-card").hidden = false;
  document.head.append(make("link", { rel: "stylesheet", href: "uplot.css" }));
  const library = make("script", { src: "uplot.js" });
  library.addEventListener("load", load);
  document.head.append(library);
})();
