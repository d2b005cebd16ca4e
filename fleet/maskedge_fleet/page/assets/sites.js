// Compliance by site: the table of sites, their comparison, and the page of a site.
import { anchor, badge, button, card, confirm, empty, field, heading, make, note, number, part, percent, plural, problem, table } from "./kit.js";
import { all, at, get, send } from "./api.js";
import { comparePanel, countsPanel } from "./counts.js";
import { List } from "./devices.js";

const bar = (share) => {
  const element = part("span", "share", part("b", "", percent(share)));
  if (typeof share === "number") {
    const meter = make("meter", { min: "0", max: "1", "aria-hidden": "true" });
    meter.value = share;
    element.append(meter);
  }
  return element;
};
const askName = async (question, verb, name = "") => {
  const input = make("input", { type: "text", maxlength: "200", required: "", value: name });
  return (await confirm(question, verb, { content: [field("Name", input)] })) ? input.value.trim() : "";
};

export const showSites = async (context) => {
  const { root, query, can } = context;
  const sites = (await all("sites")).filter((site) => site.name);
  const add = button("Add a site", async () => {
    const name = await askName("Add a site", "Add");
    if (!name) return;
    try {
      await send("POST", "sites", { name });
      note(`The site ${name} was added.`);
      await showSites(context);
    } catch (error) { problem(error); }
  }, "primary");
  const head = heading("Sites", { actions: can("operator") ? [add] : [] });
  if (!sites.length) {
    root.replaceChildren(head, empty("No sites yet: ", can("operator") ? "add a site, then choose it on the page of each of its devices." : "an operator adds them and assigns devices."));
    return;
  }
  const rows = sites.map((site) => [
    anchor(site.name, "site", site.name),
    [`${number(site.devices.total - site.devices.offline)} of ${number(site.devices.total)} `, site.devices.offline ? badge("lost", `${number(site.devices.offline)} offline`) : "", site.devices.lost ? badge("lost", `${number(site.devices.lost)} with a lost camera`) : ""],
    site.alerts ? badge("warn", number(site.alerts)) : "0",
    bar(site.share_today), bar(site.share_week), bar(site.share_month),
  ]);
  const names = sites.map((site) => site.name);
  const chosen = query.has("compare") ? query.getAll("compare").filter((name) => names.includes(name)) : names.slice(0, 4);
  const remember = (wanted) => {
    query.delete("compare");
    for (const name of wanted) query.append("compare", name);
    context.remember({});
  };
  root.replaceChildren(head,
    card("Share of faces with a mask", "", table("Sites", ["Site", "Devices online", "Active alerts", "Today", "This week", "This month"], rows)),
    card("Comparison", "compare", ...comparePanel(context, names, chosen, remember)));
};

export const showSite = async (context) => {
  const { root, names: [name], can } = context;
  const [sites, devices] = await Promise.all([all("sites"), all("devices", { site: name, limit: 1000 })]);
  const site = sites.find((one) => one.name === name);
  if (!site) throw new Error(`There is no site ${name}.`);
  context.setTitle(name);
  const rename = button("Rename", async () => {
    const next = await askName(`Rename ${name}`, "Rename", name);
    if (!next || next === name) return;
    try {
      await send("PATCH", at("sites", site.name), { name: next });
      location.hash = `#/${at("site", next)}`;
    } catch (error) { problem(error); }
  });
  const remove = button("Delete", async () => {
    if (!(await confirm(`Delete the site ${name}?`, "Delete", { content: [part("p", "", "Its devices and their counts stay, without a site.")], kind: "danger" }))) return;
    try {
      await send("DELETE", at("sites", site.name));
      location.hash = "#/sites";
    } catch (error) { problem(error); }
  }, "danger quiet");
  const tile = (word, share) => make("li", { "data-state": "plain" }, part("span", "number", percent(share)), part("span", "word", word));
  const list = new List(context.onLeave);
  list.show(devices);
  context.listen((kind, content) => {
    if (kind === "device") for (const device of content.items) if (device.site === name) list.update(device);
  });
  root.replaceChildren(
    heading(name, { lead: [anchor("Sites", "sites"), ` · ${number(site.devices.total - site.devices.offline)} of ${plural(site.devices.total, "device")} online`], actions: can("operator") ? [rename, remove] : [] }),
    part("ul", "counts summary", tile("With a mask today", site.share_today), tile("This week", site.share_week), tile("This month", site.share_month)),
    card("Counts", "", ...countsPanel(context, { site: name })),
    card("Devices", "", devices.length ? list.element : empty("No devices yet: ", "choose this site on the page of each of its devices.")));
};
