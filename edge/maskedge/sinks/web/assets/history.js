"use strict";
// The history section of the status page. Data comes from /api/history. uPlot draws the charts; it
// is loaded only where a history is kept.
(() => {
  const { byId, style, order, title, make, fill, setText, number, duration, sentence, labelColour, dashes, lineChart, seriesStyle, seriesKey, legendItem, SPANS, UNKNOWN } = window.maskedge;
  if (document.body.dataset.history !== "yes") return;

  const REFRESH = 30000;

  let span = "day";
  let camera = "";
  let answer = null;
  let plots = [];
  let chosen = null;

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
  // As `share_masked` of a row (history/query.py): a label that has never been counted is missing.
  const share = (faces) => (sum(faces) && ["with_mask", "without_mask", "incorrect_mask"].some((label) => label in faces) ? (faces.with_mask || 0) / sum(faces) : null);
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
  const plot = (id, height, series, data, values, range) => lineChart(byId(id), { height, series, data, values, range, span, zone: zone(), sync: "history", choose: (place) => choose(place) });

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
    plots.push(plot("history-share", 160, cameras.map((name, i) => ({ label: name, spanGaps: true, ...seriesStyle(i) })),
      [times, ...cameras.map((name) => points.map((point) => (point.gap ? null : point.shares[name] ?? null)))],
      (u, ticks) => ticks.map((tick) => `${number(100 * tick)}%`), () => [0, 1]));
    fill("history-legend", ...labels.map(legendItem));
    fill("history-rows", ...cameras.map((name, i) => {
      const own = rows.filter((row) => row.camera === name);
      const faces = {};
      for (const row of own) add(faces, row.face_s);
      return make("tr", {}, make("th", { scope: "row" }, seriesKey(i), ` ${name}`), make("td", {}, percent(share(faces))), make("td", {}, number(own.reduce((total, row) => total + sum(row.people), 0))),
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
