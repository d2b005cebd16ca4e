"use strict";
// The status page: everything comes by server-sent events of /api/events. No library, nothing from elsewhere.
(() => {
  const LABELS = JSON.parse(document.body.dataset.labels);
  const PICTURE = document.body.dataset.picture === "yes";
  const SILENCE = 5000; // Milliseconds without a word after which the device counts as out of reach; it speaks once a second.
  const MOST_RECENT = 40;
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);

  const look = (label) => LABELS[label] || { name: label.replaceAll("_", " "), symbol: "•", dash: LABELS.unsure.dash };
  const order = (labels) => {
    const known = Object.keys(LABELS);
    const place = (label) => (known.includes(label) ? known.indexOf(label) : known.length);
    return [...new Set(labels)].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
  };
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const draw = (tag, attributes, ...children) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const mark = (label) => make("span", { class: "mark", "data-label": label, "aria-hidden": "true" }, look(label).symbol);
  // Only what changed is put on the page: a reader's selection and focus stay.
  const fill = (id, ...children) => {
    const next = make("div", {}, ...children);
    const element = byId(id);
    if (element.dataset.last !== next.innerHTML) {
      element.dataset.last = next.innerHTML;
      element.replaceChildren(...next.childNodes);
    }
  };
  const say = (id, text) => { if (byId(id).textContent !== text) byId(id).textContent = text; };
  const UNKNOWN = "–";
  const number = (value, digits = 0) => (typeof value === "number" && Number.isFinite(value) ? value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 }) : UNKNOWN);
  const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const plain = (name) => String(name).replaceAll("_", " ");
  const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const seconds = (time) => (typeof time === "number" ? time * 1000 : time);
  const span = (value) => {
    const s = Math.max(0, Math.round(value));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} days`;
  };
  const row = (words, value, kind = "value") => make("li", {}, make("span", { class: "words" }, words), make("span", { class: kind }, value));

  // ---- what the device says
  let last = null;
  let heard = 0;

  const STATES = { opening: "Starting", open: "Running", lost: "Camera lost", ended: "Ended" };
  const showState = () => {
    const away = performance.now() - heard > SILENCE;
    const state = !last ? "wait" : away ? "lost" : last.source.state;
    byId("state").dataset.state = state;
    say("state", !last ? "Connecting" : away ? "Out of reach" : STATES[state] || state);
    const banners = [];
    if (last && away) banners.push(make("p", { class: "banner" }, "This page does not reach the device. ", make("span", {}, "What you see is old. Trying again …")));
    else if (last && state === "lost") {
      const tries = last.source.retries ? `, ${number(last.source.retries)} tries so far` : "";
      const why = last.source.sentence ? ` ${sentence(last.source.sentence)}` : "";
      const since = last.source.since ? ` since ${clock(seconds(last.source.since))}` : "";
      banners.push(make("p", { class: "banner" }, `The camera gives no picture${since}. `, make("span", {}, `Check its cable, power and network. It is tried again by itself${tries}.${why}`)));
    }
    fill("banners", ...banners);
    byId("veil").hidden = state === "open";
  };

  const showCounts = (faces, seen) => {
    const labels = order(Object.keys(faces));
    const tiles = labels.map((label) => make("li", { "data-label": label, class: faces[label] ? "some" : "none" },
      mark(label), make("span", { class: "number" }, seen ? number(faces[label]) : UNKNOWN), make("span", { class: "word" }, look(label).name)));
    fill("counts", ...tiles);
    const total = labels.reduce((sum, label) => sum + faces[label], 0);
    const nobody = seen ? "Nobody is in view" : "The camera gives no picture: who is there is not known";
    say("total", total ? `${number(total)} ${total === 1 ? "person" : "people"} in view` : nobody);
    const crowd = labels.flatMap((label) => Array.from({ length: Math.min(faces[label], 200) }, () => mark(label)));
    fill("crowd", ...(crowd.length ? crowd : [make("span", { class: "nobody" }, nobody)]));
    byId("crowd").setAttribute("aria-label", total ? labels.filter((label) => faces[label]).map((label) => `${faces[label]} ${look(label).name}`).join(", ") : nobody);
  };

  const showZones = (zones, faces, seen) => {
    const names = Object.keys(zones);
    byId("zones-card").hidden = !names.length;
    if (!names.length) return;
    const labels = order([...Object.keys(faces), ...names.flatMap((name) => Object.keys(zones[name]))]);
    fill("zones-head", make("tr", {}, make("th", { scope: "col" }, "Zone"),
      ...labels.map((label) => make("th", { scope: "col", "data-label": label, title: look(label).name, "aria-label": look(label).name }, mark(label)))));
    fill("zones", ...names.map((name) => make("tr", {}, make("th", { scope: "row" }, name), ...labels.map((label) => make("td", {}, seen ? number(zones[name][label] || 0) : UNKNOWN)))));
  };

  // What an alert knows of its cause (docs/contracts.md), in words.
  const reason = (details) => [
    details.zone && `in ${plain(details.zone)}`,
    details.fraction !== undefined && `${number(100 * details.fraction)} % without a mask`,
    details.longest_s !== undefined && `without a mask for ${span(details.longest_s)}`,
    details.people !== undefined && `${number(details.people)} people`,
  ].filter(Boolean).join(", ");
  const showAlerts = (alerts) => fill("alerts", ...(alerts.length
    ? alerts.map((alert) => make("li", {}, make("span", { class: "words bad" }, `⚠ ${plain(alert.rule)}`), alert.since ? make("span", { class: "note" }, `since ${clock(seconds(alert.since))}`) : null,
      make("span", { class: "note" }, reason(alert.details || {}))))
    : [make("li", { class: "quiet" }, "✓ No alert")]));

  const HEALTH = {
    temperature_c: ["Temperature", (v) => `${number(v, 1)} °C`],
    throttled: ["Slowed down by heat or power", (v) => (Array.isArray(v) ? v.length : v) ? "yes" : "no"],
    frequency_mhz: ["Processor", (v) => `${number(v)} MHz`],
    memory_mb: ["Memory of this program", (v) => `${number(v)} MB`],
    load: ["Load of the machine", (v) => number(Array.isArray(v) ? v[0] : v, 2)],
    machine_memory_mb: ["Memory of the machine", (v) => `${number(v / 1000, 1)} GB`],
    cpu_percent: ["Use of one processor core", (v) => `${number(v)} %`],
  };
  const showDevice = (health) => {
    const rows = Object.entries(HEALTH).filter(([key]) => health[key] !== undefined && health[key] !== null)
      .map(([key, [words, show]]) => row(words, show(health[key]), key === "throttled" && show(health[key]) === "yes" ? "bad" : "value"));
    for (const [key, value] of Object.entries(health)) {
      if (!(key in HEALTH) && ["string", "number", "boolean"].includes(typeof value)) rows.push(row(plain(key), typeof value === "number" ? number(value, 2) : typeof value === "boolean" ? (value ? "yes" : "no") : value));
    }
    fill("device", ...(rows.length ? rows : [make("li", { class: "quiet" }, "Nothing is known of it")]));
  };

  const STEPS = { total: "All, from camera to answer", capture: "Waiting for the camera", detect: "Finding faces", classify: "Looking at masks", track: "Following people" };
  const showSpeed = (status) => {
    const rate = status.rate || {};
    const latency = rate.latency_ms || {};
    const counters = status.counters || {};
    const rows = [];
    if (rate.frames_per_second !== undefined) rows.push(row("Pictures a second", number(rate.frames_per_second, 1)));
    if (latency.total) rows.push(row("From camera to answer", `${number(latency.total.p50, 1)} ms`));
    if (counters.processed !== undefined) rows.push(row("Pictures looked at", number(counters.processed)));
    if (counters.dropped) rows.push(row("Left out, as newer ones were there", number(counters.dropped)));
    if (counters.reconnects) rows.push(row("Camera lost and found again", `${number(counters.reconnects)} times`));
    fill("speed", ...rows);
    fill("latency", ...Object.entries(latency).map(([step, at]) => make("tr", {}, make("th", { scope: "row" }, STEPS[step] || plain(step)), make("td", {}, `${number(at.p50, 1)} ms`), make("td", {}, `${number(at.p95, 1)} ms`))));
  };

  const showOutputs = (sinks) => {
    const names = Object.keys(sinks);
    byId("outputs-card").hidden = !names.length;
    fill("outputs", ...names.map((name) => {
      const sink = sinks[name];
      const works = sink.state === "ok";
      const missed = sink.dropped ? `, ${number(sink.dropped)} left out` : "";
      return make("li", {}, make("span", { class: "words" }, plain(name)), make("span", { class: works ? "good" : "bad" }, works ? "✓ works" : "✕ fails"),
        make("span", { class: "note" }, `${number(sink.written || 0)} written${missed}${!works && sink.error ? `: ${sink.error}` : ""}`));
    }));
  };

  const showPeople = (people, seen) => {
    const labels = order(Object.keys(people));
    fill("people", ...(labels.length ? labels.map((label) => make("li", {}, mark(label), make("span", { class: "words" }, look(label).name), make("span", { class: "value" }, seen ? number(people[label]) : UNKNOWN)))
      : [make("li", { class: "quiet" }, "Nobody yet")]));
  };

  const showStatus = (status) => {
    last = status;
    heard = performance.now();
    say("source", status.source.name);
    document.title = `${status.source.state === "lost" ? "⚠ " : ""}${status.source.name} · maskedge`;
    const faces = status.faces || {};
    // Before the first frame, and while there is none, nobody knows who is there.
    const counted = Boolean((status.counters || {}).processed);
    const seen = counted && status.source.state === "open";
    showCounts(faces, seen);
    showZones(status.zones || {}, faces, seen);
    showAlerts(status.alerts || []);
    showPeople(status.people || {}, counted);
    showDevice(status.health || {});
    showSpeed(status);
    showOutputs(status.sinks || {});
    const model = status.model && status.model.name ? ` · model ${status.model.name}` : "";
    say("about", `maskedge ${status.version || ""}${model} · running for ${span(status.uptime_s || 0)}`);
    showHour(status.history || []);
    showState();
  };

  // ---- the chart of the last hour
  let points = [];
  let labelsOfHour = [];
  let chosen = null;
  let shape = null;
  const MINUTES = 60;
  const FRAME = { left: 34, right: 26, top: 10, bottom: 24 };

  const minuteOf = (time) => Math.floor((typeof time === "number" ? time * 1000 : Date.parse(time)) / 60000);
  const showHour = (history) => {
    points = history.map((entry) => ({ ...entry, minute: minuteOf(entry.time) }));
    const skipped = ["time", "frames_per_second"];
    labelsOfHour = order([...Object.keys((last && last.faces) || {}), ...history.flatMap((entry) => Object.keys(entry).filter((key) => !skipped.includes(key)))]);
    const key = JSON.stringify([history, labelsOfHour, byId("chart").clientWidth, chosen]);
    if (byId("chart").dataset.last !== key) {
      byId("chart").dataset.last = key;
      drawHour();
    }
  };

  const drawHour = () => {
    const width = Math.max(280, byId("chart").clientWidth);
    const height = Math.round(Math.min(400, Math.max(200, width * 0.56)));
    const end = points.length ? Math.max(...points.map((point) => point.minute)) : Math.floor(Date.now() / 60000);
    const start = end - MINUTES + 1;
    const value = (point, label) => point[label] || 0;
    const most = Math.max(1, ...points.flatMap((point) => labelsOfHour.map((label) => value(point, label))));
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
      svg.append(draw("text", { x: x(end - ago), y: height - 6, "text-anchor": ago ? "middle" : "end" }, ago ? `${ago === 59 ? 60 : ago} min${width < 420 ? "" : " ago"}` : "now"));
    }
    const ends = [];
    for (const label of labelsOfHour) {
      // A minute that is missing (the camera was lost) breaks the line.
      const runs = [];
      for (const point of points) {
        const run = runs.at(-1);
        if (run && point.minute === run.at(-1).minute + 1) run.push(point);
        else runs.push([point]);
      }
      const path = runs.map((run) => (run.length === 1 ? `M${x(run[0].minute) - 1} ${y(value(run[0], label))}h2` : run.map((point, i) => `${i ? "L" : "M"}${x(point.minute).toFixed(1)} ${y(value(point, label)).toFixed(1)}`).join(""))).join("");
      const line = draw("path", { class: "series", "data-label": label, d: path });
      if (look(label).dash) line.setAttribute("stroke-dasharray", look(label).dash);
      else if (runs.length) {
        const area = runs.filter((run) => run.length > 1).map((run) => `M${x(run[0].minute)} ${y(0)}${run.map((point) => `L${x(point.minute).toFixed(1)} ${y(value(point, label)).toFixed(1)}`).join("")}L${x(run.at(-1).minute)} ${y(0)}Z`).join("");
        svg.append(draw("path", { class: "area", "data-label": label, d: area }));
      }
      svg.append(line);
      if (points.length) ends.push({ label, at: y(value(points.at(-1), label)) });
    }
    // The symbols at the ends of the lines, kept apart.
    ends.sort((a, b) => b.at - a.at);
    let lowest = height;
    for (const { label, at } of ends) {
      lowest = Math.min(at + 5, lowest - 14);
      svg.append(draw("text", { class: "symbol", "data-label": label, x: width - FRAME.right + 8, y: lowest }, look(label).symbol));
    }
    const point = points.find((one) => one.minute === chosen);
    if (point) svg.append(draw("line", { class: "cursor", x1: x(point.minute), x2: x(point.minute), y1: FRAME.top, y2: height - FRAME.bottom }));
    say("reading", point
      ? `${new Date(point.minute * 60000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}: ${labelsOfHour.map((label) => `${number(value(point, label), 1)} ${look(label).name}`).join(", ")}`
      : points.length ? "Faces at a time, minute by minute. Point at a minute, or use the arrow keys."
      : last && last.source.state === "open" ? "The first minute is being counted." : "No data yet.");
    shape = { width, start, x };
    byId("chart").replaceChildren(svg);
    fill("legend", ...labelsOfHour.map((label) => {
      const line = draw("svg", { viewBox: "0 0 34 8", "aria-hidden": "true" }, draw("line", { x1: 0, x2: 34, y1: 4, y2: 4, "stroke-dasharray": look(label).dash || "none" }));
      return make("li", { "data-label": label }, line, mark(label), look(label).name);
    }));
  };

  const choose = (minute) => {
    chosen = minute;
    if (last) showHour(last.history || []);
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
  addEventListener("resize", () => { if (last) showHour(last.history || []); });

  // ---- what happened, in words
  const who = (event) => (event.track !== undefined && event.track !== null ? `Person ${event.track}` : "A person");
  const named = (label) => (label ? look(label).name : "");
  const WORDS = {
    face_appeared: (e) => `${who(e)} came${e.label ? `, ${named(e.label)}` : ""}`,
    face_left: (e) => `${who(e)} left${e.label ? `, ${named(e.label)}` : ""}`,
    label_changed: (e) => `${who(e)} is now seen ${named(e.label)}${e.before ? `, before ${named(e.before)}` : ""}`,
    source_lost: () => "✕ The camera was lost",
    source_back: () => "✓ The camera is back",
    alert: (e) => `⚠ Alert: ${plain(e.rule || "")}`,
    alert_ended: (e) => `✓ Alert over: ${plain(e.rule || "")}`,
    health: () => "The health of the device changed",
    output_lost: (e) => `✕ An output fails: ${plain(e.output || "")}`,
    output_back: (e) => `✓ An output works again: ${plain(e.output || "")}`,
  };
  const recent = [];
  const showHappening = (event) => {
    const { label } = event;
    recent.unshift(make("li", {}, make("time", { datetime: event.time }, clock(event.time)), label ? mark(label) : null, make("span", { class: "words" }, (WORDS[event.event] || (() => plain(event.event)))(event))));
    recent.length = Math.min(recent.length, MOST_RECENT);
    byId("recent").replaceChildren(...recent);
  };

  // ---- the connection. Addresses are relative: behind a proxy the page may have a path of its own.
  let events = null;
  let latest = 0;
  let pictures = 0;
  const disconnect = () => {
    if (events) events.close();
    events = null;
    byId("picture").removeAttribute("src");
  };
  const connect = () => {
    disconnect();
    heard = last ? heard : performance.now();
    events = new EventSource(`api/events?kinds=status,happening&after=${latest}`);
    events.addEventListener("status", (event) => showStatus(JSON.parse(event.data)));
    events.addEventListener("happening", (event) => {
      latest = Number(event.lastEventId);
      showHappening(JSON.parse(event.data));
    });
    if (PICTURE) byId("picture").src = `stream.mjpg?${(pictures += 1)}`;
  };
  // The browser connects again by itself after a cut, but not after a refusal or a silence.
  let tried = performance.now();
  setInterval(() => {
    const now = performance.now();
    const dead = !events || events.readyState === EventSource.CLOSED || now - heard > SILENCE;
    if (!document.hidden && dead && now - tried > SILENCE) {
      tried = now;
      connect();
    }
    if (last) showState();
  }, 1000);
  byId("picture").addEventListener("error", () => {
    setTimeout(() => { if (events) byId("picture").src = `stream.mjpg?${(pictures += 1)}`; }, 2000);
  });
  // Nobody looks: the device need not work for it.
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));

  byId("live").hidden = !PICTURE;
  byId("scheme").hidden = PICTURE;
  fill("recent", make("li", { class: "quiet" }, "Nothing yet"));
  connect();
})();
