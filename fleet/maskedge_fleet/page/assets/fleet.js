// The whole fleet: summary, filters, wall and list.
import { anchor, badge, button, empty, heading, make, number, part, percent, plural, select, toggle, UNKNOWN } from "./kit.js";
import { all, get } from "./api.js";
import { List, STATES, stateOf, Tile } from "./devices.js";

const NO_SITE = "Without a site";
const compare = new Intl.Collator([], { numeric: true }).compare;

const summaryTiles = ({ devices, cameras, alerts, share_today: share }) => {
  const known = devices.total > 0;
  const tile = (word, value, state, more = "") => make("li", { "data-state": known ? state : "plain" }, part("span", "number", known ? value : UNKNOWN), more ? part("span", "more", ` ${more}`) : null, part("span", "word", word));
  return [
    tile("Devices online", number(devices.online + devices.lost), "open", known ? `of ${number(devices.total)}` : ""),
    tile("Devices offline", number(devices.offline), devices.offline ? "lost" : "open"),
    tile("Cameras lost", number(cameras.lost), cameras.lost ? "lost" : "open", known ? `of ${number(cameras.total)}` : ""),
    tile("Open alerts", number(alerts.open), alerts.open ? "warn" : "open"),
    tile("With a mask today", percent(share), "plain"),
  ];
};

export const showFleet = async (context) => {
  const { root, query } = context;
  const devices = new Map();
  const tiles = part("ul", "counts summary");
  const showSummary = (summary) => tiles.replaceChildren(...summaryTiles(summary));

  // ---- filters
  const filter = { q: query.get("q") || "", site: query.get("site") || "", group: query.get("group") || "", state: query.get("state") || "" };
  let view = query.get("view") === "list" ? "list" : "wall";
  const search = make("input", { type: "search", placeholder: "Name, site or version", "aria-label": "Search devices", value: filter.q });
  const sites = select([["", "All sites"]]);
  const groups = select([["", "All groups"]]);
  const chips = make("div", { class: "chips", role: "group", "aria-label": "State" });
  const found = make("p", { class: "lead", role: "status" });
  const body = part("div", "body");
  sites.setAttribute("aria-label", "Site");
  groups.setAttribute("aria-label", "Group");

  const matches = (device, without = "") => {
    const words = `${device.name} ${device.site || ""} ${device.group || ""} ${device.version || ""}`.toLowerCase();
    return (!filter.q || filter.q.toLowerCase().split(/\s+/).every((word) => words.includes(word)))
      && (!filter.site || (device.site || NO_SITE) === filter.site)
      && (!filter.group || device.group === filter.group)
      && (without === "state" || !filter.state || stateOf(device) === filter.state);
  };
  const change = (changes) => {
    Object.assign(filter, changes);
    context.remember({ ...filter, view: view === "list" ? "list" : "" });
    show();
  };
  const showChoices = () => {
    const fillSelect = (element, first, names, chosen) => {
      const wanted = [...new Set(names)].sort(compare);
      if (chosen && !wanted.includes(chosen)) wanted.push(chosen);
      if (wanted.join("\n") === element.dataset.names) return;
      element.dataset.names = wanted.join("\n");
      element.replaceChildren(make("option", { value: "" }, first), ...wanted.map((name) => make("option", { value: name }, name)));
      element.value = chosen;
      element.hidden = !wanted.length;
    };
    const every = [...devices.values()];
    fillSelect(sites, "All sites", every.map((device) => device.site || NO_SITE), filter.site);
    fillSelect(groups, "All groups", every.map((device) => device.group).filter(Boolean), filter.group);
  };
  const showChips = () => {
    const counts = {};
    let total = 0;
    for (const device of devices.values()) {
      if (!matches(device, "state")) continue;
      counts[stateOf(device)] = (counts[stateOf(device)] || 0) + 1;
      total += 1;
    }
    const choices = [["", "All", total], ...Object.entries(STATES).filter(([state]) => counts[state] || filter.state === state).map(([state, [word]]) => [state, word, counts[state] || 0])];
    const key = JSON.stringify([choices, filter.state]);
    if (chips.dataset.last === key) return;
    chips.dataset.last = key;
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.state : null;
    chips.replaceChildren(...choices.map(([state, word, count]) => {
      const chip = button("", () => change({ state }), "chip");
      chip.append(`${word} `, part("b", "", number(count)));
      chip.dataset.state = state;
      chip.setAttribute("aria-pressed", String(filter.state === state));
      return chip;
    }));
    if (focused !== null) chips.querySelector(`[data-state="${focused}"]`)?.focus();
  };

  // ---- wall and list
  const wall = new Map();
  const list = new List(context.onLeave);
  const showWall = (shown) => {
    const bySite = new Map();
    for (const device of shown) {
      const site = device.site || NO_SITE;
      if (!bySite.has(site)) bySite.set(site, new Map());
      const bucket = bySite.get(site);
      if (!bucket.has(device.group || "")) bucket.set(device.group || "", []);
      bucket.get(device.group || "").push(device);
    }
    const names = [...bySite.keys()].sort((a, b) => (a === NO_SITE) - (b === NO_SITE) || compare(a, b));
    return names.map((site) => {
      const own = [...bySite.get(site).values()].flat();
      const bad = own.filter((device) => !["online", "new"].includes(stateOf(device))).length;
      const title = make("h2", {}, site === NO_SITE ? NO_SITE : anchor(site, "site", site));
      const facts = part("p", "lead", plural(own.length, "device"), bad ? badge("lost", `${number(bad)} with problems`) : null);
      const grouped = [...bySite.get(site).keys()].sort(compare);
      const section = part("section", "card site", part("div", "site-title", title, facts), ...grouped.flatMap((group) => [
        group ? part("h3", "", group) : null,
        part("div", "tiles", ...bySite.get(site).get(group).map((device) => {
          if (!wall.has(device.name)) wall.set(device.name, new Tile(device));
          return wall.get(device.name).element;
        })),
      ].filter(Boolean)));
      // The browser lays out sections when they come into view; until then this is their height.
      section.style.containIntrinsicSize = `auto ${5 + 2 * grouped.length + 5 * Math.ceil(own.length / 6)}rem`;
      return section;
    });
  };
  const show = () => {
    showChoices();
    showChips();
    const shown = [...devices.values()].filter((device) => matches(device)).sort((a, b) => compare(a.name, b.name));
    found.textContent = shown.length === devices.size ? "" : `${number(shown.length)} of ${plural(devices.size, "device")}`;
    filters.hidden = chips.hidden = !devices.size;
    if (!devices.size) {
      body.replaceChildren(empty("No devices yet: ", "set [fleet] enabled = true and [mqtt] url in the configuration of a device. It appears here with its first message."));
    } else if (!shown.length) {
      body.replaceChildren(empty("No device matches the filters. ", button("Clear filters", () => {
        search.value = sites.value = groups.value = "";
        change({ q: "", site: "", group: "", state: "" });
      })));
    } else if (view === "list") {
      list.show(shown);
      body.replaceChildren(part("div", "card", list.element));
    } else body.replaceChildren(...showWall(shown));
  };
  search.addEventListener("input", () => change({ q: search.value.trim() }));
  sites.addEventListener("change", () => change({ site: sites.value }));
  groups.addEventListener("change", () => change({ group: groups.value }));
  const views = toggle("View", [["wall", "Wall"], ["list", "List"]], view, (value) => { view = value; change({}); });

  const filters = part("div", "filters", search, sites, groups, views);

  // ---- data
  const load = async () => {
    const put = (items) => {
      devices.clear();
      for (const device of items) {
        devices.set(device.name, device);
        wall.get(device.name)?.update(device);
      }
      if (!context.isLeft()) show();
    };
    const [summary, items] = await Promise.all([get("summary"), all("devices", { limit: 1000 }, put)]);
    showSummary(summary);
    put(items);
  };
  const update = (device) => {
    const before = devices.get(device.name);
    devices.set(device.name, device);
    const moved = !before || before.site !== device.site || before.group !== device.group || matches(before) !== matches(device);
    wall.get(device.name)?.update(device);
    if (view === "list") list.update(device);
    return moved;
  };
  await load();
  root.replaceChildren(heading("Fleet"), tiles, filters, chips, found, body);
  context.every(60000, () => load().catch(() => {}));
  context.listen((name, content) => {
    if (name === "summary") showSummary(content);
    else if (name === "reload") load().catch(() => {});
    else if (name === "device") {
      const changed = content.items.map(update);
      if (changed.some(Boolean)) show();
      else showChips();
    }
  });
};
