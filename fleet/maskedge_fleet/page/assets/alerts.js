// Alerts of devices and of the fleet.
import { anchor, attempt, badge, button, card, duration, empty, heading, localTime, make, note, part, reason, sentence, since, spaced, time, toggle } from "./kit.js";
import { get, send } from "./api.js";

const subject = (alert) => [
  alert.site ? anchor(alert.site, "site", alert.site) : null,
  alert.device ? anchor(alert.device, "device", alert.device) : null,
  alert.camera ? make("span", {}, alert.camera) : null,
].filter(Boolean).flatMap((one, i) => (i ? [" · ", one] : [one]));
const length = (alert) => duration((Date.parse(alert.ended || new Date().toISOString()) - Date.parse(alert.since)) / 1000);

// An alert as an item of a list. `changed` is called after it was acknowledged.
export const alertItem = (context, alert, changed) => {
  const actions = part("span", "actions");
  if (alert.acknowledged) actions.append(part("span", "note", `Acknowledged by ${alert.acknowledged_by || "?"}, ${localTime(alert.acknowledged)}`));
  else if (context.can("operator")) {
    const acknowledge = button("Acknowledge", () => attempt(acknowledge, async () => {
      await send("POST", `alerts/${alert.id}/acknowledge`);
      note("The alert is acknowledged.");
      await changed();
    }));
    acknowledge.setAttribute("aria-label", `Acknowledge ${spaced(alert.rule)}`);
    actions.append(acknowledge);
  }
  return make("li", { class: "alert" },
    badge(alert.ended ? "ended" : alert.acknowledged ? "seen" : "warn", alert.ended ? "Ended" : "Active"),
    part("div", "words", part("b", "", sentence(spaced(alert.rule))), part("p", "", ...subject(alert)), part("p", "note", alert.sentence || reason(alert.details || {}))),
    part("p", "note", "Since ", time(alert.since), make("br"), `${alert.ended ? "Lasted" : "For"} ${length(alert)}`),
    actions);
};

const CHOICES = [["open", "Open"], ["active", "Active"], ["all", "All"]];
const EXPLAINED = { open: "Active alerts that nobody has acknowledged.", active: "Active alerts, acknowledged ones too.", all: "All alerts, ended ones too." };
const NONE = { open: "No open alerts: nothing is wrong, or someone takes care of it.", active: "No active alerts.", all: "No alerts yet: devices report the rules under [[alerts]], and the server those in fleet.toml." };

export const showAlerts = async (context) => {
  const { root, query } = context;
  let state = Object.hasOwn(NONE, query.get("state")) ? query.get("state") : "open";
  const list = part("ul", "list alerts");
  const more = part("p", "");
  const lead = part("p", "lead", EXPLAINED[state]);
  const content = part("div", "card", list, more);
  let shown = [];
  let next = null;
  const show = () => {
    lead.textContent = EXPLAINED[state];
    list.replaceChildren(...shown.map((alert) => alertItem(context, alert, load)));
    content.replaceChildren(...(shown.length ? [list, more] : [empty(NONE[state])]));
    const older = button("Older alerts", () => attempt(older, grow));
    more.replaceChildren(...(next ? [older] : []));
  };
  const load = async () => {
    const page = await get("alerts", { state });
    [shown, next] = [page.items, page.next];
    show();
  };
  const grow = async () => {
    const page = await get("alerts", { state, cursor: next });
    shown.push(...page.items);
    next = page.next;
    show();
  };
  await load();
  const states = toggle("Which alerts", CHOICES, state, (value) => { state = value; context.remember({ state }); load().catch((error) => note(error.message, "bad")); });
  root.replaceChildren(heading("Alerts"), part("div", "filters", states), lead, content);
  context.listen((kind) => {
    // A reader with the focus on a button is not disturbed.
    if ((kind === "alert" || kind === "reload") && !list.contains(document.activeElement)) load().catch(() => {});
  });
  context.every(60000, () => { if (!list.contains(document.activeElement)) load().catch(() => {}); });
};
