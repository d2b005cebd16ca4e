// Devices as tiles of the wall and as rows of the list. Both are kept by name and updated in place,
// because a fleet has thousands.
import { ago, anchor, badge, degrees, link, make, part, percent, plural, shortHash, table, tableRow, UNKNOWN } from "./kit.js";

// States of a device, the worst first: word, and symbol of `data-state` in the style sheet.
export const STATES = {
  offline: ["Offline", "lost"],
  lost: ["Camera lost", "lost"],
  alert: ["Alert", "warn"],
  new: ["Never connected", "wait"],
  online: ["Online", "open"],
};
const CAMERA_STATES = { opening: ["Starting", "wait"], open: ["Running", "open"], lost: ["Lost", "lost"], ended: ["Ended", "ended"] };
const cameraStyle = (state) => (Object.hasOwn(CAMERA_STATES, state) ? CAMERA_STATES[state] : ["Unknown", "wait"]);
const SYMBOLS = { open: "✓", lost: "✕", warn: "!", wait: "…" };

export const cameraBadge = (state) => badge(cameraStyle(state)[1], cameraStyle(state)[0]);
export const stateOf = (device) => {
  if (!device.online) return device.seen ? "offline" : "new";
  if (device.cameras.some((camera) => camera.state === "lost" && camera.online)) return "lost";
  return device.alerts ? "alert" : "online";
};
export const stateBadge = (device) => badge(STATES[stateOf(device)][1], STATES[stateOf(device)][0]);
export const running = (device) => device.cameras.filter((camera) => camera.state === "open").length;
const modelText = ({ model }) => (model.sha256 ? make("span", { class: "whole", title: `${model.file || ""} ${model.sha256}` }, model.release ? `Release ${model.release}` : shortHash(model.sha256)) : UNKNOWN);

// ---- the wall
// What an offline device measures now is unknown.
const facts = (device) => (device.online
  ? [device.cameras.length ? `${running(device)}/${device.cameras.length} cam` : "No camera", degrees(device.temperature_c), percent(device.share_today)]
  : [`Seen ${ago(device.seen)}`, "", percent(device.share_today)]);
export class Tile {
  constructor(device) {
    this.symbol = part("span", "symbol");
    this.symbol.ariaHidden = "true";
    this.name = part("b", "");
    this.words = part("span", "words");
    this.facts = ["", "", ""].map(() => part("span", ""));
    this.element = make("a", { class: "tile" }, this.symbol, this.name, this.words, part("span", "facts", ...this.facts));
    this.name.textContent = device.name;
    this.element.href = link("device", device.name);
    this.update(device);
  }

  update(device) {
    const state = stateOf(device);
    if (this.state !== state) {
      const [word, kind] = STATES[state];
      this.state = state;
      this.element.dataset.state = kind;
      this.symbol.textContent = SYMBOLS[kind];
      this.words.textContent = word;
    }
    facts(device).forEach((text, i) => { if (this.facts[i].textContent !== text) this.facts[i].textContent = text; });
  }
}

// ---- the list
export const COLUMNS = ["Device", "State", "Site and group", "Cameras", "Temp.", "Masked", "Version", "Model", "Seen"];
const cells = (device) => [
  anchor(device.name, "device", device.name),
  stateBadge(device),
  [device.site ? anchor(device.site, "site", device.site) : "", device.site && device.group ? " · " : "", device.group],
  device.cameras.length ? `${device.online ? running(device) : UNKNOWN} of ${device.cameras.length}` : "None",
  device.online ? degrees(device.temperature_c) : UNKNOWN,
  percent(device.share_today),
  device.version || UNKNOWN,
  modelText(device),
  ago(device.seen),
];
const CHUNK = 100;
// A list that adds rows when the reader comes near its end. `update` replaces the row of a device.
export class List {
  constructor(onLeave) {
    this.element = table("Devices", COLUMNS, []);
    this.body = this.element.querySelector("tbody");
    this.end = part("p", "lead more");
    this.element.append(this.end);
    const watcher = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) this.grow(); }, { rootMargin: "600px" });
    watcher.observe(this.end);
    onLeave(() => watcher.disconnect());
    this.show([]);
  }

  show(devices) {
    this.devices = devices;
    this.rows = new Map();
    this.body.replaceChildren();
    this.grow();
  }

  grow() {
    const next = this.devices.slice(this.rows.size, this.rows.size + CHUNK);
    for (const device of next) {
      const row = tableRow(COLUMNS, cells(device));
      this.rows.set(device.name, row);
      this.body.append(row);
    }
    const rest = this.devices.length - this.rows.size;
    this.end.textContent = rest ? `${plural(rest, "more device")} …` : "";
  }

  update(device) {
    const old = this.rows.get(device.name);
    if (!old || old.contains(document.activeElement)) return; // The focus stays.
    const row = tableRow(COLUMNS, cells(device));
    old.replaceWith(row);
    this.rows.set(device.name, row);
  }
}
