// Charts of counts over a day, a week or a month, of one subject or of several sites side by side.
import { byId, dashes, labelColour, legendItem, lineChart, make, note, number, order, part, percent, seriesKey, seriesStyle, SPANS, style, table, title, toggle, UNKNOWN, ZONE } from "./kit.js";
import { address, get } from "./api.js";

const sum = (amounts) => Object.values(amounts).reduce((total, value) => total + value, 0);
const spanQuery = (span) => ({ from: new Date(Date.now() - 1000 * SPANS[span].seconds).toISOString(), bucket: SPANS[span].bucket, tz: ZONE });
const SPAN_CHOICES = [["day", "Day"], ["week", "Week"], ["month", "Month"]];
const when = (seconds, span) => new Date(seconds * 1000).toLocaleString([], SPANS[span].format);

// uPlot is loaded with the first chart.
let library = null;
const loadLibrary = () => {
  library ||= new Promise((resolve, reject) => {
    const script = make("script", { src: "page/uplot.js" });
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => { library = null; reject(new Error("The charts could not be loaded. Reload the page.")); });
    document.head.append(script);
  });
  return library;
};

// Points in the order of time. A time that nobody observed breaks the lines.
const read = (rows, span) => {
  const points = rows.map((item) => ({ ...item, at: Date.parse(item.time) / 1000 })).sort((a, b) => a.at - b.at);
  return points.flatMap((point, i) => (i && point.at - points[i - 1].at > 1.5 * SPANS[span].step ? [{ at: points[i - 1].at + SPANS[span].step, gap: true }, point] : [point]));
};
const shareValues = { values: (u, ticks) => ticks.map((tick) => `${number(100 * tick)}%`), range: () => [0, 1] };

let groups = 0;
// Charts whose size, colours and marked time follow the window, the scheme and the pointer.
class Charts {
  constructor(context, redraw, choose) {
    this.plots = [];
    this.sync = `counts-${(groups += 1)}`;
    this.choose = choose;
    const again = () => { if (this.plots.length) redraw(); };
    let timer = 0;
    const resized = () => { clearTimeout(timer); timer = setTimeout(again, 150); };
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    addEventListener("resize", resized);
    scheme.addEventListener("change", again);
    context.onLeave(() => { removeEventListener("resize", resized); scheme.removeEventListener("change", again); this.clear(); });
  }

  clear() {
    for (const plot of this.plots) plot.destroy();
    this.plots = [];
  }

  add(element, options) {
    this.plots.push(lineChart(element, { sync: this.sync, choose: this.choose, ...options }));
  }

  // Reads the times with the arrow keys.
  listen(element) {
    let chosen = null;
    element.addEventListener("keydown", (event) => {
      if (!this.plots.length || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
      event.preventDefault();
      const [plot] = this.plots;
      const last = plot.data[0].length - 1;
      chosen = { ArrowLeft: chosen === null ? last : Math.max(0, chosen - 1), ArrowRight: chosen === null ? 0 : Math.min(last, chosen + 1), Home: 0, End: last, Escape: null }[event.key];
      this.choose(chosen);
      plot.setCursor({ left: chosen === null ? -10 : plot.valToPos(plot.data[0][chosen], "x"), top: 0 });
    });
    for (const kind of ["pointerleave", "blur"]) element.addEventListener(kind, () => { chosen = null; this.choose(null); });
  }
}
const plotArea = (name) => make("div", { class: "plot", tabindex: "0", role: "img", "aria-label": name });

// The counts of a subject, such as `{ site: "Shop" }` or `{ device: "door" }`. `cameras` are names to
// choose from.
export const countsPanel = (context, subject, cameras = []) => {
  let span = "day";
  let camera = "";
  let points = [];
  let labels = [];
  const reading = make("p", { class: "lead reading" }, "Loading …");
  const [share, faces] = [plotArea("Chart: share of faces with a mask"), plotArea("Chart: average number of faces in view of a camera")];
  const legend = part("ul", "legend");
  const charts_ = part("div", "", part("h3", "", "Share with a mask"), share, part("h3", "", "Faces in view of a camera, average"), faces, legend);
  const csv = make("a", { download: "counts.csv" }, "CSV");
  const describe = (place) => {
    const point = place === null ? null : points[place];
    if (point && !point.gap) {
      reading.textContent = `${when(point.at, span)}: ${percent(point.share_masked)} with a mask; ${labels.map((label) => `${number(point.means[label] || 0, 2)} ${style(label).name}`).join(", ")} in view; ${number(point.newPeople)} new people`;
    } else if (points.length) {
      const total = {};
      for (const one of points) if (!one.gap) for (const [label, value] of Object.entries(one.face_s)) total[label] = (total[label] || 0) + value;
      const masked = sum(total) ? (total.with_mask || 0) / sum(total) : null;
      const people = points.reduce((count, one) => count + (one.newPeople || 0), 0);
      reading.textContent = `Last ${span}: ${percent(masked)} with a mask, ${number(people)} new people. By ${SPANS[span].bucket}; point at a chart, or use the arrow keys.`;
    }
  };
  const show = () => {
    charts.clear();
    charts_.hidden = !points.length;
    if (!points.length) {
      reading.textContent = `No counts in the last ${span}. They appear when a device has published its statistics.`;
      return;
    }
    const times = points.map((point) => point.at);
    charts.add(share, { height: 180, span, ...shareValues, series: [{ label: "Share with a mask", stroke: labelColour("with_mask"), fill: `${labelColour("with_mask")}1f` }], data: [times, points.map((point) => (point.gap ? null : point.share_masked))] });
    charts.add(faces, { height: 200, span, series: labels.map((label) => ({ label: title(label), stroke: labelColour(label), dash: dashes(label) })), data: [times, ...labels.map((label) => points.map((point) => (point.gap ? null : point.means[label] || 0)))], values: (u, ticks) => ticks.map((tick) => number(tick, 2)), range: (u, low, high) => [0, Math.max(0.1, high * 1.05)] });
    legend.replaceChildren(...labels.map(legendItem));
    describe(null);
  };
  const charts = new Charts(context, show, describe);
  charts.listen(share);
  charts.listen(faces);
  let requests = 0;
  const load = async () => {
    const own = (requests += 1);
    const query = { ...subject, camera, ...spanQuery(span) };
    csv.href = address("counts", { ...query, format: "csv" });
    try {
      const [answer] = await Promise.all([get("counts", query), loadLibrary()]);
      if (own !== requests || context.isLeft()) return;
      points = read(answer.rows, span).map((point) => (point.gap ? point : {
        ...point,
        means: Object.fromEntries(Object.entries(point.face_s).map(([label, value]) => [label, point.observed_s ? value / point.observed_s : 0])),
        newPeople: sum(point.people),
      }));
      labels = order(["with_mask", "without_mask", "incorrect_mask", ...points.flatMap((point) => (point.gap ? [] : Object.keys(point.face_s).filter((label) => point.face_s[label])))]);
      show();
    } catch (error) {
      if (own === requests) reading.textContent = `The counts are not available. ${error.message}`;
    }
  };
  const choices = part("div", "choices", toggle("Time span", SPAN_CHOICES, span, (value) => { span = value; load(); }));
  if (cameras.length > 1) {
    const choice = make("select", { "aria-label": "Camera" }, make("option", { value: "" }, "All cameras"), ...cameras.map((name) => make("option", { value: name }, name)));
    choice.addEventListener("change", () => { camera = choice.value; load(); });
    choices.append(choice);
  }
  choices.append(csv);
  context.every(60000, load);
  load();
  return [choices, reading, charts_];
};

const MOST_SITES = 8;
// The shares of several sites in one chart. `change` gets the chosen names, at most eight.
export const comparePanel = (context, sites, chosen, change) => {
  let span = "week";
  let names = chosen.slice(0, MOST_SITES);
  let lines = [];
  const reading = make("p", { class: "lead reading" }, "");
  const area = plotArea("Chart: share of faces with a mask, by site");
  const legend = part("ul", "legend choose");
  const times = () => [...new Set(lines.flatMap((points) => points.map((point) => point.at)))].sort((a, b) => a - b);
  const shareAt = (points, at) => points.find((point) => point.at === at && !point.gap)?.share_masked ?? null;
  const describe = (place) => {
    const at = place === null ? undefined : times()[place];
    reading.textContent = at === undefined
      ? `Share of faces with a mask in the last ${span}, by ${SPANS[span].bucket}. Up to ${MOST_SITES} sites.`
      : `${when(at, span)}: ${names.map((name, i) => `${name} ${percent(shareAt(lines[i], at))}`).join(", ")}`;
  };
  const show = () => {
    charts.clear();
    legend.replaceChildren(...sites.map((site) => {
      const place = names.indexOf(site);
      const box = make("input", { type: "checkbox" });
      box.checked = place >= 0;
      box.addEventListener("change", () => {
        if (box.checked && names.length === MOST_SITES) {
          box.checked = false;
          note(`At most ${MOST_SITES} sites are compared.`, "bad");
          return;
        }
        names = box.checked ? [...names, site] : names.filter((name) => name !== site);
        change(names);
        load();
      });
      return make("li", {}, make("label", {}, box, place >= 0 ? seriesKey(place) : null, site));
    }));
    const at = times();
    area.hidden = !at.length;
    if (!at.length) {
      reading.textContent = names.length ? `No counts in the last ${span}.` : "Choose sites to compare.";
      return;
    }
    charts.add(area, { height: 240, span, ...shareValues, series: names.map((name, i) => ({ label: name, spanGaps: true, ...seriesStyle(i) })), data: [at, ...lines.map((points) => at.map((one) => shareAt(points, one)))] });
    describe(null);
  };
  const charts = new Charts(context, show, describe);
  charts.listen(area);
  let requests = 0;
  const load = async () => {
    const own = (requests += 1);
    try {
      const [answers] = await Promise.all([Promise.all(names.map((site) => get("counts", { site, ...spanQuery(span) }))), loadLibrary()]);
      if (own !== requests || context.isLeft()) return;
      lines = answers.map((answer) => read(answer.rows, span));
      show();
    } catch (error) {
      if (own === requests) reading.textContent = `The counts are not available. ${error.message}`;
    }
  };
  load();
  return [part("div", "choices", toggle("Time span", SPAN_CHOICES, span, (value) => { span = value; load(); })), reading, area, legend];
};
