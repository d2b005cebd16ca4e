"use strict";
// Labels, numbers, times, events and alerts as words. Shared by the status page and the page of the
// fleet.
(() => {
  const { byId, make } = window.maskedge;
  const LABELS = JSON.parse(document.body.dataset.labels);

  const style = (label) => (Object.hasOwn(LABELS, label) ? LABELS[label] : { name: spaced(label), symbol: "•", dash: LABELS.unsure.dash });
  const order = (labels) => {
    const known = Object.keys(LABELS);
    const place = (label) => (known.includes(label) ? known.indexOf(label) : known.length);
    return [...new Set(labels)].sort((a, b) => place(a) - place(b) || a.localeCompare(b));
  };
  const title = (label) => sentence(style(label).name);
  const mark = (label) => make("span", { class: "mark", "data-label": label, "aria-hidden": "true" }, style(label).symbol);
  // Replace only what changed, so that the reader's selection and focus stay.
  const fill = (id, ...children) => {
    const next = make("div", {}, ...children);
    const element = typeof id === "string" ? byId(id) : id;
    if (element.dataset.last !== next.innerHTML) {
      element.dataset.last = next.innerHTML;
      element.replaceChildren(...next.childNodes);
    }
  };
  const setText = (id, text) => { if (byId(id).textContent !== text) byId(id).textContent = text; };
  const UNKNOWN = "–";
  const number = (value, digits = 0) => (typeof value === "number" && Number.isFinite(value) ? value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 }) : UNKNOWN);
  const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
  const spaced = (name) => String(name).replaceAll("_", " ");
  const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const seconds = (time) => (typeof time === "number" ? time * 1000 : time);
  const duration = (value) => {
    const s = Math.max(0, Math.round(value));
    if (s < 90) return `${s} s`;
    if (s < 5400) return `${Math.round(s / 60)} min`;
    const minutes = Math.round(s / 60);
    if (s < 172800) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    return `${Math.floor(s / 86400)} days`;
  };
  const row = (words, value, kind = "value") => make("li", {}, make("span", { class: "words" }, words), make("span", { class: kind }, value));

  // The details of an alert (docs/contracts.md) as text.
  const reason = (details) => [
    details.zone && `zone ${spaced(details.zone)}`,
    details.fraction !== undefined && `${number(100 * details.fraction)}% without a mask`,
    details.longest_s !== undefined && `without a mask for ${duration(details.longest_s)}`,
    details.people !== undefined && `${number(details.people)} people`,
  ].filter(Boolean).map((part, place) => (place ? part : sentence(part))).join(", ");

  const HEALTH = {
    temperature_c: ["Temperature", (v) => `${number(v, 1)} °C`],
    throttled: ["Throttled by heat or power", (v) => (Array.isArray(v) ? v.length : v) ? "Yes" : "No"],
    frequency_mhz: ["CPU frequency", (v) => `${number(v)} MHz`],
    memory_mb: ["Memory used", (v) => `${number(v)} MB`],
    load: ["Load average", (v) => number(Array.isArray(v) ? v[0] : v, 2)],
    machine_memory_mb: ["Memory installed", (v) => `${number(v / 1000, 1)} GB`],
    cpu_percent: ["CPU use of one core", (v) => `${number(v)}%`],
  };
  const healthRows = (health) => {
    const rows = Object.entries(HEALTH).filter(([key]) => health[key] !== undefined && health[key] !== null)
      .map(([key, [words, show]]) => row(words, show(health[key]), key === "throttled" && show(health[key]) === "Yes" ? "bad" : "value"));
    for (const [key, value] of Object.entries(health)) {
      if (!Object.hasOwn(HEALTH, key) && ["string", "number", "boolean"].includes(typeof value)) rows.push(row(sentence(spaced(key)), typeof value === "number" ? number(value, 2) : typeof value === "boolean" ? (value ? "Yes" : "No") : sentence(value)));
    }
    return rows;
  };

  const person = (event) => (event.track !== undefined && event.track !== null ? `Person ${event.track}` : "A person");
  const named = (label) => (label ? style(label).name : "");
  const TEXTS = {
    face_appeared: (e) => `${person(e)} appeared${e.label ? `: ${named(e.label)}` : ""}`,
    face_left: (e) => `${person(e)} left${e.label ? `: ${named(e.label)}` : ""}`,
    line_crossed: (e) => `${person(e)} crossed ${e.line} (${e.direction})${e.label ? `: ${named(e.label)}` : ""}`,
    label_changed: (e) => `${person(e)} changed${e.before ? ` from ${named(e.before)}` : ""} to ${named(e.label)}`,
    source_lost: () => "✕ Camera lost",
    source_back: () => "✓ Camera reconnected",
    alert: (e) => `⚠ Alert: ${spaced(e.rule || "")}`,
    alert_ended: (e) => `✓ Alert ended: ${spaced(e.rule || "")}`,
    health: () => "Device health changed",
    output_lost: (e) => `✕ Output failing: ${spaced(e.output || "")}`,
    output_back: (e) => `✓ Output recovered: ${spaced(e.output || "")}`,
  };
  const eventText = (event) => (Object.hasOwn(TEXTS, event.event) ? TEXTS[event.event](event) : sentence(spaced(event.event)));

  Object.assign(window.maskedge, { style, order, title, mark, fill, setText, number, sentence, spaced, clock, seconds, duration, row, reason, healthRows, eventText, UNKNOWN });
})();
