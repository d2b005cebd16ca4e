"use strict";
// The status page. All data comes from /api/events (server-sent events), without any library or
// other host.
(() => {
  const PICTURE = document.body.dataset.picture !== "no";
  // Behind a proxy, which may not pass on a stream, a still follows the other.
  const STILLS = document.body.dataset.picture === "stills";
  const STILL_PAUSE = 200;
  // Milliseconds without a message after which the device counts as unreachable. It sends one a
  // second.
  const TIMEOUT = 5000;
  const MAX_EVENTS = 40;
  const { byId, make, draw, style, order, title, mark, fill, setText, number, sentence, spaced, clock, seconds, duration, row, legendItem, reason, healthRows, eventText, UNKNOWN } = window.maskedge;

  // ---- status
  let last = null; // The latest status.
  let lastMessage = 0;

  const STATES = { opening: "Starting", open: "Running", lost: "Camera lost", ended: "Ended" };
  const showState = () => {
    const unreachable = performance.now() - lastMessage > TIMEOUT;
    const state = !last ? "wait" : unreachable ? "lost" : last.source.state;
    byId("state").dataset.state = state;
    setText("state", !last ? "Connecting" : unreachable ? "Unreachable" : STATES[state] || state);
    const banners = [];
    if (last && unreachable) banners.push(make("p", { class: "banner" }, "The device is unreachable. ", make("span", {}, "The data below is out of date. Reconnecting …")));
    else if (last && state === "lost") {
      const tries = last.source.retries ? ` (${number(last.source.retries)} ${last.source.retries === 1 ? "attempt" : "attempts"} so far)` : "";
      const why = last.source.sentence ? `${sentence(last.source.sentence).replace(/[.]?$/, ".")} ` : "";
      const since = last.source.since ? ` since ${clock(seconds(last.source.since))}` : "";
      banners.push(make("p", { class: "banner" }, `No frames from the camera${since}. `, make("span", {}, `${why}Check its cable, power and network. Reconnecting automatically${tries}.`)));
    }
    fill("banners", ...banners);
    byId("veil").hidden = state === "open";
  };

  const showCounts = (faces, seen) => {
    const labels = order(Object.keys(faces));
    const tiles = labels.map((label) => make("li", { "data-label": label, class: faces[label] ? "some" : "none" },
      mark(label), make("span", { class: "number" }, seen ? number(faces[label]) : UNKNOWN), make("span", { class: "word" }, title(label))));
    fill("counts", ...tiles);
    const total = labels.reduce((sum, label) => sum + faces[label], 0);
    const nobody = seen ? "No faces in view" : last.source.state === "opening" ? "Waiting for the first frame" : "Unknown: no frames from the camera";
    setText("total", total ? `${number(total)} ${total === 1 ? "face" : "faces"} in view` : nobody);
    const crowd = labels.flatMap((label) => Array.from({ length: Math.min(faces[label], 200) }, () => mark(label)));
    fill("crowd", ...(crowd.length ? crowd : [make("span", { class: "nobody" }, nobody)]));
    byId("crowd").setAttribute("aria-label", total ? labels.filter((label) => faces[label]).map((label) => `${faces[label]} ${style(label).name}`).join(", ") : nobody);
  };

  // A table of counts by label: one row for each entry of `counts`.
  const showTable = (id, head, counts, faces, seen) => {
    const names = Object.keys(counts);
    byId(`${id}-card`).hidden = !names.length;
    if (!names.length) return;
    const labels = order([...Object.keys(faces), ...names.flatMap((name) => Object.keys(counts[name]))]);
    fill(`${id}-head`, make("tr", {}, make("th", { scope: "col" }, head),
      ...labels.map((label) => make("th", { scope: "col", "data-label": label, title: title(label), "aria-label": title(label) }, mark(label)))));
    fill(id, ...names.map((name) => make("tr", {}, make("th", { scope: "row" }, name), ...labels.map((label) => make("td", {}, seen ? number(counts[name][label] || 0) : UNKNOWN)))));
  };
  const showZones = (zones, faces, seen) => showTable("zones", "Zone", zones, faces, seen);
  const showLines = (lines, faces, seen) => showTable("lines", "Line", Object.fromEntries(Object.entries(lines)
    .flatMap(([name, ways]) => Object.entries(ways).map(([direction, counts]) => [`${name}: ${direction}`, counts]))), faces, seen);

  const showAlerts = (alerts) => fill("alerts", ...(alerts.length
    ? alerts.map((alert) => make("li", {}, make("span", { class: "words bad" }, `⚠ ${sentence(spaced(alert.rule))}`), alert.since ? make("span", { class: "note" }, `Since ${clock(seconds(alert.since))}`) : null,
      make("span", { class: "note" }, reason(alert.details || {}))))
    : [make("li", { class: "quiet" }, "✓ No active alerts")]));

  const showDevice = (health) => {
    const rows = healthRows(health);
    fill("device", ...(rows.length ? rows : [make("li", { class: "quiet" }, "No data yet")]));
  };

  const STAGES = { total: "Total (frame to result)", capture: "Capture", detect: "Detection", classify: "Classification", track: "Tracking" };
  const showPerformance = (status, seen) => {
    const rate = status.rate || {};
    const latency = rate.latency_ms || {};
    const counters = status.counters || {};
    const rows = [
      row("Frames per second", number(seen ? rate.frames_per_second : undefined, 1)),
      row("Latency (median)", latency.total ? `${number(latency.total.p50, 1)} ms` : UNKNOWN),
      row("Frames processed", number(counters.processed)),
      row("Frames dropped", number(counters.dropped)),
      row("Reconnects", number(counters.reconnects)),
    ];
    fill("speed", ...rows);
    fill("latency", ...Object.entries(latency).map(([stage, at]) => make("tr", {}, make("th", { scope: "row" }, STAGES[stage] || sentence(spaced(stage))), make("td", {}, `${number(at.p50, 1)} ms`), make("td", {}, `${number(at.p95, 1)} ms`))));
    byId("stages").hidden = !Object.keys(latency).length;
  };

  const showOutputs = (sinks) => {
    const names = Object.keys(sinks);
    byId("outputs-card").hidden = !names.length;
    fill("outputs", ...names.map((name) => {
      const sink = sinks[name];
      const works = sink.state === "ok";
      const dropped = sink.dropped ? `, ${number(sink.dropped)} dropped` : "";
      return make("li", {}, make("span", { class: "words" }, sentence(spaced(name))), make("span", { class: works ? "good" : "bad" }, works ? "✓ OK" : "✕ Failing"),
        make("span", { class: "note" }, `${number(sink.written)} written${dropped}${!works && sink.error ? `: ${sink.error}` : ""}`));
    }));
  };

  const showPeople = (people, seen) => {
    const labels = order(Object.keys(people));
    fill("people", ...(labels.length ? labels.map((label) => make("li", {}, mark(label), make("span", { class: "words" }, title(label)), make("span", { class: "value" }, seen ? number(people[label]) : UNKNOWN)))
      : [make("li", { class: "quiet" }, "No data yet")]));
  };

  const showStatus = (status) => {
    last = status;
    lastMessage = performance.now();
    setText("source", status.source.name);
    document.title = `${status.source.state === "lost" ? "⚠ " : ""}${shown || status.source.name} · maskedge`;
    const faces = status.faces || {};
    // Before the first frame and while the camera is lost, the counts are unknown.
    const counted = Boolean((status.counters || {}).processed);
    const seen = counted && status.source.state === "open";
    showCounts(faces, seen);
    showZones(status.zones || {}, faces, seen);
    showLines(status.lines || {}, faces, counted);
    showAlerts(status.alerts || []);
    showPeople(status.people || {}, counted);
    showDevice(status.health || {});
    showPerformance(status, seen);
    showOutputs(status.sinks || {});
    const model = status.model && status.model.name ? ` · Model ${status.model.name}` : "";
    setText("about", `maskedge ${status.version || ""}${model} · Up for ${duration(status.uptime_s || 0)}`);
    showChart(status.history || []);
    showState();
  };

  // ---- the chart of the last hour
  let points = [];
  let chartLabels = [];
  let chosen = null;
  let shape = null;
  const MINUTES = 60;
  const FRAME = { left: 34, right: 26, top: 10, bottom: 24 };

  const minuteOf = (time) => Math.floor((typeof time === "number" ? time * 1000 : Date.parse(time)) / 60000);
  const showChart = (history) => {
    points = history.map((entry) => ({ ...entry, minute: minuteOf(entry.time) }));
    const skipped = ["time", "frames_per_second"];
    chartLabels = order([...Object.keys((last && last.faces) || {}), ...history.flatMap((entry) => Object.keys(entry).filter((key) => !skipped.includes(key)))]);
    const key = JSON.stringify([history, chartLabels, byId("chart").clientWidth, chosen]);
    if (byId("chart").dataset.last !== key) {
      byId("chart").dataset.last = key;
      drawChart();
    }
  };

  const drawChart = () => {
    const width = Math.max(280, byId("chart").clientWidth);
    const height = Math.round(Math.min(400, Math.max(200, width * 0.56)));
    const end = points.length ? Math.max(...points.map((point) => point.minute)) : Math.floor(Date.now() / 60000);
    const start = end - MINUTES + 1;
    const value = (point, label) => point[label] || 0;
    const most = Math.max(1, ...points.flatMap((point) => chartLabels.map((label) => value(point, label))));
    const power = 10 ** Math.floor(Math.log10(most / 3 || 1));
    const step = Math.max(1, [1, 2, 5, 10].map((factor) => factor * power).find((size) => most / size <= 3) || power * 10);
    const top = Math.ceil(most / step) * step;
    const x = (minute) => FRAME.left + ((minute - start) / (MINUTES - 1)) * (width - FRAME.left - FRAME.right);
    const y = (count) => height - FRAME.bottom - (count / top) * (height - FRAME.top - FRAME.bottom);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (let count = 0; count <= top; count += step) {
      svg.append(draw("line", { class: "rule", x1: FRAME.left, x2: width - FRAME.right, y1: y(count), y2: y(count) }));
      svg.append(draw("text", { x: FRAME.left - 7, y: y(count) + 4, "text-anchor": "end" }, number(count)));
    }
    for (const ago of width < 420 ? [45, 30, 15, 0] : [60, 45, 30, 15, 0].map((m) => Math.min(m, MINUTES - 1))) {
      svg.append(draw("text", { x: x(end - ago), y: height - 6, "text-anchor": ago ? "middle" : "end" }, ago ? `${ago === 59 ? 60 : ago} min${width < 420 ? "" : " ago"}` : "Now"));
    }
    const ends = [];
    for (const label of chartLabels) {
      // A missing minute (camera lost) breaks the line.
      const runs = [];
      for (const point of points) {
        const run = runs.at(-1);
        if (run && point.minute === run.at(-1).minute + 1) run.push(point);
        else runs.push([point]);
      }
      const path = runs.map((run) => (run.length === 1 ? `M${x(run[0].minute) - 1} ${y(value(run[0], label))}h2` : run.map((point, i) => `${i ? "L" : "M"}${x(point.minute).toFixed(1)} ${y(value(point, label)).toFixed(1)}`).join(""))).join("");
      const line = draw("path", { class: "series", "data-label": label, d: path });
      if (style(label).dash) line.setAttribute("stroke-dasharray", style(label).dash);
      else if (runs.length) {
        const area = runs.filter((run) => run.length > 1).map((run) => `M${x(run[0].minute)} ${y(0)}${run.map((point) => `L${x(point.minute).toFixed(1)} ${y(value(point, label)).toFixed(1)}`).join("")}L${x(run.at(-1).minute)} ${y(0)}Z`).join("");
        svg.append(draw("path", { class: "area", "data-label": label, d: area }));
      }
      svg.append(line);
      if (points.length) ends.push({ label, at: y(value(points.at(-1), label)) });
    }
    // Symbols at the ends of the lines, spaced so that they do not overlap.
    ends.sort((a, b) => b.at - a.at);
    let lowest = height;
    for (const { label, at } of ends) {
      lowest = Math.min(at + 5, lowest - 14);
      svg.append(draw("text", { class: "symbol", "data-label": label, x: width - FRAME.right + 8, y: lowest }, style(label).symbol));
    }
    const point = points.find((one) => one.minute === chosen);
    if (point) svg.append(draw("line", { class: "cursor", x1: x(point.minute), x2: x(point.minute), y1: FRAME.top, y2: height - FRAME.bottom }));
    setText("reading", point
      ? `${new Date(point.minute * 60000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}: ${chartLabels.map((label) => `${number(value(point, label), 1)} ${style(label).name}`).join(", ")}`
      : `Average number of faces in view, per minute.${points.length ? " Point at a minute, or use the arrow keys." : ""}`);
    byId("chart").setAttribute("aria-label", `Chart of the last hour${points.length ? "" : ": no data yet"}`);
    if (!points.length) svg.append(draw("text", { class: "empty", x: width / 2, y: (height - FRAME.bottom) / 2, "text-anchor": "middle" }, "No data yet"));
    shape = { width, start, x };
    byId("chart").replaceChildren(svg);
    fill("legend", ...chartLabels.map(legendItem));
  };

  const choose = (minute) => {
    chosen = minute;
    if (last) showChart(last.history || []);
  };
  byId("chart").addEventListener("pointermove", (event) => {
    if (!shape || !points.length) return;
    const box = byId("chart").getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * shape.width;
    choose(points.reduce((best, point) => (Math.abs(shape.x(point.minute) - at) < Math.abs(shape.x(best.minute) - at) ? point : best)).minute);
  });
  byId("chart").addEventListener("pointerleave", () => choose(null));
  byId("chart").addEventListener("blur", () => choose(null));
  byId("chart").addEventListener("keydown", (event) => {
    if (!points.length || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
    event.preventDefault();
    const place = points.findIndex((point) => point.minute === chosen);
    const next = { ArrowLeft: place < 0 ? points.length - 1 : Math.max(0, place - 1), ArrowRight: Math.min(points.length - 1, place + 1), Home: 0, End: points.length - 1 }[event.key];
    choose(event.key === "Escape" ? null : points[next].minute);
  });
  addEventListener("resize", () => { if (last) showChart(last.history || []); });

  // ---- events
  const recent = [];
  const showEvent = (event) => {
    const { label } = event;
    recent.unshift(make("li", {}, make("time", { datetime: event.time }, clock(event.time)), label ? mark(label) : null, make("span", { class: "words" }, eventText(event))));
    recent.length = Math.min(recent.length, MAX_EVENTS);
    byId("recent").replaceChildren(...recent);
  };

  // ---- connection. Addresses are relative, so that the page works below any path of a proxy.
  let events = null;
  let latest = 0;
  let pictures = 0;
  const disconnect = () => {
    if (events) events.close();
    events = null;
    byId("picture").removeAttribute("src");
  };
  // The path of the camera that the page shows; empty for the only or first one.
  let base = "";
  // The name of that camera.
  let shown = "";
  let hasPicture = PICTURE;
  // True if the page shows all cameras (wall.js).
  let walled = false;
  const camera = new URLSearchParams(location.search).get("camera");
  const showPicture = () => {
    byId("live").hidden = !hasPicture;
    byId("scheme").hidden = hasPicture;
    if (hasPicture && events) byId("picture").src = `${base}${STILLS ? "snapshot.jpg" : "stream.mjpg"}?${(pictures += 1)}`;
  };
  // One timer, so that a new connection does not ask for stills beside the earlier one.
  let nextPicture = 0;
  const showPictureIn = (pause) => {
    clearTimeout(nextPicture);
    nextPicture = setTimeout(showPicture, pause);
  };
  const chooseCamera = async () => {
    try {
      const { cameras } = await (await fetch("api/cameras")).json();
      const own = cameras.find((one) => one.name === camera) || (cameras.length > 1 ? null : cameras[0]);
      walled = !own && cameras.length > 1;
      if (!own) return;
      hasPicture = own.picture;
      if (cameras.length > 1) {
        base = own.path.slice(1);
        shown = own.name;
        byId("camera").replaceChildren(...cameras.map((one) => make("option", { value: one.name, ...(one === own ? { selected: "" } : {}) }, one.name)));
        byId("cameras").hidden = false;
        byId("editor").search = `?camera=${encodeURIComponent(own.name)}`;
      }
    } catch {
      // The connection reports a device that does not answer.
      setTimeout(start, TIMEOUT);
    }
  };
  byId("camera").addEventListener("change", (event) => { location.search = `?camera=${encodeURIComponent(event.target.value)}`; });
  const start = async () => {
    await chooseCamera();
    if (walled) {
      disconnect();
      window.maskedge.showWall();
    } else connect();
  };
  const connect = () => {
    if (walled) return;
    disconnect();
    lastMessage = last ? lastMessage : performance.now();
    events = new EventSource(`${base || "api/"}events?kinds=status,happening&after=${latest}`);
    events.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
    events.addEventListener("happening", (event) => {
      latest = Number(event.lastEventId);
      showEvent(JSON.parse(event.data));
    });
    showPicture();
  };
  // A reload of the configuration may have removed the camera, or it has ended: the page of all
  // cameras says so.
  const reconnect = async () => {
    if (base) {
      try {
        const { cameras } = await (await fetch("api/cameras", { signal: AbortSignal.timeout(TIMEOUT) })).json();
        if (!cameras.some((one) => one.name === shown && one.source !== null)) {
          location.replace(location.pathname);
          return;
        }
      } catch { /* The device does not answer. */ }
    }
    if (!document.hidden) connect();
  };
  // EventSource reconnects after a broken connection, but not after a refusal or a timeout.
  let lastAttempt = performance.now();
  setInterval(() => {
    const now = performance.now();
    const dead = !events || events.readyState === EventSource.CLOSED || now - lastMessage > TIMEOUT;
    if (!document.hidden && dead && now - lastAttempt > TIMEOUT) {
      lastAttempt = now;
      reconnect();
    }
    if (last) showState();
  }, 1000);
  byId("picture").addEventListener("error", () => showPictureIn(2000));
  if (STILLS) byId("picture").addEventListener("load", () => showPictureIn(STILL_PAUSE));
  // A hidden page disconnects, so that the device does no work for it.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));

  // For wall.js and history.js.
  window.maskedge.TIMEOUT = TIMEOUT;

  showPicture();
  // The other scripts have run by then. The stream of a lost camera never begins: asked for earlier, it would keep the page loading.
  addEventListener("load", async () => {
    fill("recent", make("li", { class: "quiet" }, "No events yet"));
    await start();
  });
})();
