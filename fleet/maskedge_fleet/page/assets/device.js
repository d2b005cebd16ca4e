// A device: cameras, counts, alerts, events, health, model and commands.
import { ago, anchor, attempt, badge, bytes, button, card, confirm, degrees, duration, empty, eventText, field, heading, healthRows, localTime, make, mark, note, number, order, part, problem, row, select, since, style, table, time, UNKNOWN } from "./kit.js";
import { address, all, at, get, send } from "./api.js";
import { alertItem } from "./alerts.js";
import { commandPanel, sendCommand } from "./commands.js";
import { countsPanel } from "./counts.js";
import { cameraBadge, stateBadge } from "./devices.js";
import { memberBadge } from "./rollouts.js";

const CLOCK_LIMIT_S = 5;
const DUPLICATE_LIMIT_S = 3600;

const banners = (device) => [
  !device.online && device.seen ? ["The device is offline. ", `Its last message arrived ${ago(device.seen)}. Check its power and network; it delivers what it has stored when it is back.`] : null,
  device.duplicate_seen && since(device.duplicate_seen) < DUPLICATE_LIMIT_S ? ["Two devices use this name. ", "Give one of them another [mqtt] topic: their counts are mixed."] : null,
  Math.abs(device.clock_offset_s || 0) > CLOCK_LIMIT_S ? ["The clock of the device is wrong. ", `It is ${duration(Math.abs(device.clock_offset_s))} ${device.clock_offset_s > 0 ? "behind" : "ahead"}: set up NTP on it.`] : null,
].filter(Boolean).map(([fact, remedy]) => make("p", { class: "banner" }, fact, make("span", {}, remedy)));

// ---- cameras
const facesNow = (device, camera) => {
  const faces = (camera.statistics || {}).faces || {};
  const known = device.online && camera.state === "open";
  const labels = order(Object.keys(faces));
  if (!labels.length) return part("p", "note", "No counts yet");
  return part("p", "faces", ...labels.map((label) => make("span", { title: style(label).name }, mark(label), ` ${known ? number(faces[label]) : UNKNOWN}`, part("span", "hidden", ` ${style(label).name}`))));
};
class CameraCard {
  constructor(context, device, camera) {
    this.frame = make("div", { class: "still", hidden: "" }); // Until a picture is shown.
    this.state = part("p", "");
    this.facts = part("div", "");
    this.actions = part("div", "actions");
    this.element = part("li", "card camera", this.frame, part("div", "facts", make("h3", {}, camera.name), this.state, this.facts, this.actions));
    if (context.can("operator")) {
      this.show = button("Show the last picture", () => this.showPicture(device.name));
      this.take = button("Take a snapshot", () => attempt(this.take, async () => {
        this.take.textContent = "Waiting for the device …";
        try {
          await sendCommand(context, device.name, "snapshot", { camera: camera.name });
          this.showPicture(device.name);
        } finally {
          this.take.textContent = "Take a snapshot";
        }
      }));
      this.actions.append(this.show, this.take);
    }
    this.update(device, camera);
  }

  update(device, camera) {
    this.camera = camera;
    const state = device.online && camera.online ? camera.state : "";
    this.state.replaceChildren(cameraBadge(state), state && camera.since ? part("span", "note", ` since ${localTime(camera.since)}`) : "");
    const rate = state === "open" ? ((camera.statistics || {}).rate || {}).frames_per_second : undefined;
    this.facts.replaceChildren(facesNow(device, camera), part("p", "note", `${camera.source || "Unknown source"} · ${number(rate, 1)} frames/s`));
    if (!this.show) return;
    this.show.hidden = !camera.snapshot;
    this.take.hidden = !device.commands.includes("snapshot");
  }

  showPicture(device) {
    const picture = make("img", { alt: `Last picture of the camera ${this.camera.name}` });
    picture.addEventListener("load", () => {
      this.frame.hidden = false;
      this.frame.replaceChildren(picture);
      this.show.textContent = "Reload the picture";
    });
    picture.addEventListener("error", () => note("The picture could not be loaded.", "bad"));
    picture.src = address(`cameras/${at(device, this.camera.name)}/snapshot`, { t: Date.now() });
  }
}

// ---- events
const eventsPanel = (context, name) => {
  const list = make("ol", { class: "list events" });
  const more = part("p", "");
  const csv = make("a", { href: address("events", { device: name, format: "csv" }), download: "events.csv" }, "CSV");
  let next = null;
  const item = (event) => make("li", {}, time(event.time), event.details.label ? mark(event.details.label) : null,
    part("span", "words", eventText({ ...event.details, event: event.event })), part("span", "note", event.camera));
  const grow = async () => {
    const page = await get("events", { device: name, cursor: next, limit: 20 });
    next = page.next;
    list.append(...page.items.map(item));
    const older = button("Older events", () => attempt(older, grow));
    more.replaceChildren(...(next ? [older] : []));
    if (!list.children.length) list.append(make("li", { class: "quiet" }, "No events yet"));
  };
  const reload = async () => {
    next = null;
    const page = await get("events", { device: name, limit: 20 });
    if (!page.items.length) return;
    // A reader who has opened older events keeps them.
    if (list.children.length > 20) return;
    next = page.next;
    list.replaceChildren(...page.items.map(item));
  };
  context.every(15000, () => reload().catch(() => {}));
  grow().catch((error) => list.replaceChildren(make("li", { class: "bad" }, error.message)));
  return [list, part("div", "actions", more, csv)];
};

// ---- model
const MODEL = {
  file: ["File", String], name: ["Name", String], release: ["Release", (value) => number(value)], size: ["Size", bytes],
  labels: ["Labels", (value) => [value].flat().map((label) => style(label).name).join(", ")], sha256: ["SHA-256", (value) => part("code", "", value)],
};
const modelRows = (details) => Object.entries(MODEL).filter(([key]) => ![undefined, null, ""].includes(details[key])).map(([key, [words, show]]) => row(words, show(details[key])));
const modelPanel = (device, rollouts) => {
  const [classifier, detector] = [modelRows(device.model_details), modelRows(device.detector)];
  if (!classifier.length) return [make("li", { class: "quiet" }, "Not known yet: the device publishes it when it connects.")];
  const newest = rollouts[0];
  return [
    ...(newest ? [row("Roll-out", part("span", "", anchor(`${newest.model.name} · release ${newest.model.release}`, "rollout", String(newest.id)), " ", memberBadge(newest.device_state)))] : []),
    ...classifier,
    ...(detector.length ? [part("li", "", make("h3", {}, "Face detector")), ...detector] : []),
  ];
};

// ---- settings
const edit = async (context, device) => {
  const sites = (await all("sites")).filter((site) => site.name);
  const site = select([["", "No site"], ...sites.map((one) => [one.name, one.name])], device.site || "");
  const group = make("input", { type: "text", maxlength: "200", value: device.group || "" });
  const text = make("textarea", { rows: "3", maxlength: "2000" }, device.note || "");
  const agreed = await confirm(`Site and group of ${device.name}`, "Save", { content: [field("Site", site), field("Group", group, "Any name, such as Entrances"), field("Note", text)] });
  if (!agreed) return false;
  await send("PATCH", at("devices", device.name), { site: site.value, group: group.value.trim(), note: text.value.trim() });
  return true;
};
const remove = async (device) => {
  const agreed = await confirm(`Delete ${device.name}?`, "Delete", { content: [part("p", "", "Its counts, events and alerts are deleted. A device that still publishes appears again.")], kind: "danger" });
  if (!agreed) return;
  await send("DELETE", at("devices", device.name));
  location.hash = "#/";
};

export const showDevice = async (context) => {
  const { root, names: [name], can } = context;
  context.setTitle(name);
  let device = null;
  let rollouts = [];
  const head = part("div", "");
  const warnings = part("div", "warnings");
  const cameras = part("ul", "cards");
  const health = part("ul", "list figures");
  const model = part("ul", "list figures");
  const alerts = part("ul", "list alerts");
  const cards = new Map();

  const refresh = async () => {
    [device, { items: rollouts }] = await Promise.all([get(at("devices", name)), get("rollouts", { device: name, limit: 1 })]);
    if (!context.isLeft()) show();
  };
  const act = async (work) => {
    try {
      if (await work()) await refresh();
    } catch (error) { problem(error); }
  };
  const actions = [
    can("operator") ? button("Edit", () => act(() => edit(context, device))) : null,
    can("admin") ? button("Delete", () => act(() => remove(device)), "danger quiet") : null,
  ].filter(Boolean);
  const title = heading(name, { lead: [""], actions });
  head.append(title);
  const show = () => {
    title.querySelector(".lead").replaceChildren(stateBadge(device), " ",
      ...(device.site ? [anchor(device.site, "site", device.site), " · "] : []), ...(device.group ? [`${device.group} · `] : []),
      `version ${device.version || UNKNOWN} · ${degrees(device.temperature_c)} · last message ${ago(device.seen)}`, ...(device.note ? [make("br"), device.note] : []));
    const warning = banners(device);
    const words = warning.map((one) => one.textContent).join();
    if (warnings.dataset.last !== words) {
      warnings.dataset.last = words;
      warnings.replaceChildren(...warning);
    }
    for (const camera of device.full_cameras) {
      if (cards.has(camera.name)) cards.get(camera.name).update(device, camera);
      else {
        cards.set(camera.name, new CameraCard(context, device, camera));
        cameras.append(cards.get(camera.name).element);
      }
    }
    const rows = healthRows(device.health || {});
    health.replaceChildren(...(rows.length ? rows : [make("li", { class: "quiet" }, "Not known yet: it is part of the statistics of the device.")]));
    model.replaceChildren(...modelPanel(device, rollouts));
  };
  const showAlerts = async () => {
    const page = await get("alerts", { device: name, state: "all", limit: 10 });
    alerts.replaceChildren(...(page.items.length ? page.items.map((alert) => alertItem(context, { ...alert, device: "", site: "" }, showAlerts)) : [make("li", { class: "quiet" }, "✓ No alerts")]));
  };
  await refresh();
  const noCameras = device.full_cameras.length ? null : empty("No cameras yet: they appear when the device connects.");
  root.replaceChildren(head, warnings, part("div", "grid",
    card("Cameras", "wide", ...[noCameras, cameras].filter(Boolean)),
    card("Counts", "wide", ...countsPanel(context, { device: name }, device.full_cameras.map((camera) => camera.name))),
    card("Alerts", "", alerts),
    card("Events", "tall", ...eventsPanel(context, name)),
    card("Health", "", health),
    card("Model", "", model),
    card("Commands", "wide", ...commandPanel(context, device))));
  showAlerts().catch((error) => alerts.replaceChildren(make("li", { class: "bad" }, error.message)));

  // At most one request a second, however often the device changes.
  let due = null;
  context.onLeave(() => clearTimeout(due));
  const soon = () => { due ||= setTimeout(() => { due = null; refresh().catch(() => {}); }, 1000); };
  context.listen((kind, content) => {
    if (kind === "reload" || (kind === "device" && content.items.some((one) => one.name === name))) soon();
    if (kind === "reload" || kind === "alert") showAlerts().catch(() => {});
  });
  context.every(15000, soon);
};
