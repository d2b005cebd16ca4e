// Elements, words and numbers that all views of the page use. Text from devices and people goes into
// the document only as text nodes and attributes, never as HTML.

export const {
  byId, make, draw, style, order, title, mark, fill, number, sentence, spaced, duration, row, reason, healthRows, eventText,
  SPANS, UNKNOWN, labelColour, dashes, seriesStyle, seriesKey, legendItem, lineChart,
} = window.maskedge;

export const percent = (share) => (typeof share === "number" ? `${number(100 * share)}%` : UNKNOWN);
export const degrees = (value) => (typeof value === "number" ? `${number(value)} °C` : UNKNOWN);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
export const bytes = (size) => (typeof size !== "number" ? UNKNOWN : size < 1e6 ? `${number(size / 1e3, 1)} kB` : `${number(size / 1e6, 1)} MB`);
export const shortHash = (hash) => (hash ? String(hash).slice(0, 8) : UNKNOWN);

// ---- times, in the time zone of the reader
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const CLOCK = { hour: "2-digit", minute: "2-digit" };
const DATE = { month: "short", day: "numeric", ...CLOCK };
const [TODAY, THIS_YEAR, EARLIER, FULL] = [{ ...CLOCK, second: "2-digit" }, DATE, { year: "numeric", ...DATE }, { year: "numeric", ...DATE, second: "2-digit", timeZoneName: "short" }].map((format) => new Intl.DateTimeFormat([], format));
export const localTime = (iso) => {
  if (!iso) return UNKNOWN;
  const [moment, now] = [new Date(iso), new Date()];
  const format = moment.toDateString() === now.toDateString() ? TODAY : moment.getFullYear() === now.getFullYear() ? THIS_YEAR : EARLIER;
  return format.format(moment);
};
export const time = (iso) => (iso ? make("time", { datetime: iso, title: FULL.format(new Date(iso)) }, localTime(iso)) : UNKNOWN);
export const since = (iso) => (Date.now() - Date.parse(iso)) / 1000;
const UNITS = [[172800, 86400, "days"], [5400, 3600, "h"], [90, 60, "min"], [5, 1, "s"]];
export const ago = (iso) => {
  if (!iso) return "never";
  const unit = UNITS.find(([from]) => since(iso) >= from);
  return unit ? `${Math.round(since(iso) / unit[1])} ${unit[2]} ago` : "now";
};

// ---- addresses of views
export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
export const anchor = (text, ...parts) => make("a", { href: link(...parts) }, text);

// ---- elements
export const part = (tag, kind, ...children) => make(tag, kind ? { class: kind } : {}, ...children);
export const button = (text, act, kind = "") => {
  const element = make("button", { type: "button", class: kind }, text);
  element.addEventListener("click", act);
  return element;
};
export const heading = (text, { lead = null, actions = [] } = {}) => part("div", "heading",
  part("div", "", make("h1", { tabindex: "-1" }, text), lead === null ? null : part("p", "lead", ...[lead].flat())),
  actions.length ? part("div", "actions", ...actions) : null);
let cards = 0;
export const card = (name, kind, ...children) => {
  const identity = `card-${(cards += 1)}`;
  return make("section", { class: `card ${kind}`, "aria-labelledby": identity }, make("h2", { id: identity }, name), ...children);
};
export const empty = (text, ...more) => part("p", "empty", text, ...more);
export const badge = (state, text) => make("span", { class: "badge", "data-state": state }, text);
// A table with a row of `cells` for each entry; on a phone each row is a block whose cells have the
// titles of the columns. A title may be empty.
export const table = (caption, columns, rows) => part("div", "scroll", make("table", { class: "rows" },
  part("caption", "hidden", caption),
  make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)))),
  make("tbody", {}, ...rows.map((cells) => tableRow(columns, cells)))));
export const tableRow = (columns, cells) => make("tr", {}, ...cells.map((cell, i) => make(i ? "td" : "th",
  { ...(i ? {} : { scope: "row" }), ...(columns[i] ? { "data-title": columns[i] } : {}) }, Array.isArray(cell) ? make("span", {}, ...cell) : cell)));
export const field = (name, control, help = null) => make("label", { class: "field" }, part("span", "", name), control, help ? part("span", "note", help) : null);
export const select = (choices, chosen = "") => {
  const element = make("select", {}, ...choices.map(([value, text]) => make("option", { value }, text)));
  element.value = chosen;
  return element;
};
// A row of buttons of which one is pressed.
export const toggle = (name, choices, chosen, act) => {
  const group = make("div", { role: "group", "aria-label": name, class: "toggle" });
  const press = (value) => { for (const one of group.children) one.setAttribute("aria-pressed", String(one.value === value)); };
  group.append(...choices.map(([value, text]) => {
    const one = button(text, () => { press(value); act(value); });
    one.value = value;
    return one;
  }));
  press(chosen);
  return group;
};

// ---- messages to the reader
export const note = (text, kind = "good") => {
  const element = make("p", { class: `note ${kind}` }, text);
  byId("notes").append(element);
  setTimeout(() => element.remove(), kind === "bad" ? 12000 : 5000);
};
export const problem = (error) => note(error.message, "bad");
// Runs an action once at a time, and shows why it failed.
export const attempt = async (control, act) => {
  control.disabled = true;
  try {
    return await act();
  } catch (error) {
    problem(error);
    return undefined;
  } finally {
    control.disabled = false;
  }
};
// Asks before an action; resolves to true if the reader agrees. `content` are further elements.
// Without `cancel`, there is only one button.
export const confirm = (question, verb, { content = [], kind = "primary", cancel = "Cancel" } = {}) => new Promise((resolve) => {
  const dialog = make("dialog", { class: "card", "aria-labelledby": "question" });
  const close = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
  const form = make("form", {}, make("h2", { id: "question" }, question), ...content,
    part("div", "actions", cancel ? button(cancel, () => close(false)) : null, make("button", { class: kind }, verb)));
  form.addEventListener("submit", (event) => { event.preventDefault(); close(true); });
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(false); });
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
});
