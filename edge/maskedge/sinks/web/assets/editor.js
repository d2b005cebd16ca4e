"use strict";
// The editor of zones and lines. It draws on a still of the camera and shows the keys of edge.toml;
// it saves nothing.
(() => {
  const { byId, make, draw } = window.maskedge;
  const LIMITS = { zone: { least: 3, most: 100, noun: "corners" }, line: { least: 2, most: 50, noun: "points" } };
  // Largest distance in pixels of the screen at which a point is grabbed.
  const GRAB = 14;
  const MIN_LENGTH = 0.01;
  const MIN_AREA = 1e-4;
  const canvas = byId("canvas");

  let camera = null;
  let size = [640, 480];
  let picture = "";
  let stills = 0;
  let shapes = [{ kind: "zone", name: "zone1", points: [] }];
  let current = 0;
  let cross = null;
  let dragged = null;
  const past = [];

  const remember = () => { past.push(JSON.stringify([shapes, current])); };
  const undo = () => {
    dragged = null;
    if (past.length) [shapes, current] = JSON.parse(past.pop());
    show();
  };
  const rounded = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;
  const written = (points) => points.map((point) => point.join(",")).join(" ");

  // ---- checks: those of the configuration (zones.py, lines.py), so that what is copied is accepted.
  const turn = (a, b, c) => Math.sign(Math.round(((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])) * 1e7));
  const same = (a, b) => a[0] === b[0] && a[1] === b[1];
  const between = (p, [a, b]) => Math.min(a[0], b[0]) <= p[0] && p[0] <= Math.max(a[0], b[0]) && Math.min(a[1], b[1]) <= p[1] && p[1] <= Math.max(a[1], b[1]);
  const folds = (a, corner, b) => turn(a, corner, b) === 0 && (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) >= 0;
  const sidesCross = (first, second) => {
    const [[a, b], [c, d]] = [first, second];
    if (same(b, c)) return folds(a, b, d);
    if (same(d, a)) return folds(c, a, b);
    const turns = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
    if (!turns.includes(0)) return turns[0] !== turns[1] && turns[2] !== turns[3];
    return [[c, first], [d, first], [a, second], [b, second]].some(([point, side], i) => turns[i] === 0 && between(point, side));
  };
  const sides = ({ kind, points }) => points.map((point, i) => [point, points[(i + 1) % points.length]]).slice(0, kind === "zone" ? undefined : -1);
  const problem = (shape) => {
    const { least, most, noun } = LIMITS[shape.kind];
    const { points, name, kind } = shape;
    const allowed = kind === "zone" ? /^[\p{L}\p{M}\p{N}_. -]{1,40}$/u : /^[\p{L}\p{M}\p{N}_.-]+( [\p{L}\p{M}\p{N}_.-]+)*$/u;
    if (name !== name.trim() || name.length > 40 || !allowed.test(name)) return "needs a name of letters, digits, '_', '-', '.'";
    if (shapes.some((other) => other !== shape && other.kind === kind && other.name === name)) return "needs a name of its own";
    if (points.length < least) return `needs ${least} ${noun} at least, has ${points.length}`;
    if (points.length > most) return `may have ${most} ${noun} at most`;
    const parts = sides(shape);
    if (parts.some(([a, b]) => Math.hypot(b[0] - a[0], b[1] - a[1]) < (kind === "line" ? MIN_LENGTH : 1e-9))) return "has points too close together";
    if (parts.some((part, i) => parts.slice(i + 1).some((other) => sidesCross(part, other)))) return "crosses or touches itself";
    if (kind === "zone" && Math.abs(parts.reduce((sum, [a, b]) => sum + a[0] * b[1] - b[0] * a[1], 0)) / 2 < MIN_AREA) return "is too thin to hold a face";
    return "";
  };

  // ---- output
  const toml = () => {
    const good = shapes.filter((shape) => !problem(shape));
    const prefix = camera && camera.named ? "camera." : "";
    const zones = good.filter(({ kind }) => kind === "zone").map(({ name, points }) => `    "${name}=${written(points)}",\n`);
    const lines = good.filter(({ kind }) => kind === "line").map(({ name, points }) => `[[${prefix}line]]\nname = "${name}"\npoints = "${written(points)}"\n`);
    return [...(zones.length ? [`[${prefix}zones]\nroi = [\n${zones.join("")}]\n`] : []), ...lines].join("\n");
  };

  const place = ([x, y]) => [x * size[0], y * size[1]];
  // Pixels of the screen per unit of the drawing, which is one pixel of the picture.
  const scale = () => (canvas.getScreenCTM() || {}).a || 1;
  const drawShape = (shape, index) => {
    const unit = 1 / scale();
    const at = shape.points.map(place);
    const group = draw("g", { class: `shape ${shape.kind}${index === current ? " current" : ""}`, "stroke-width": 2.5 * unit });
    const path = at.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("") + (shape.kind === "zone" && at.length > 2 ? "Z" : "");
    if (at.length > 1) group.append(draw("path", { class: "under", d: path, "stroke-width": 5 * unit }), draw("path", { d: path }));
    if (shape.kind === "line" && at.length > 1) {
      // The arrow shows the direction `in`: to the right of the line.
      const [[ax, ay], [bx, by]] = at;
      const length = Math.hypot(bx - ax, by - ay) || 1;
      const [dx, dy] = [(-(by - ay) / length) * 26 * unit, ((bx - ax) / length) * 26 * unit];
      const [x, y] = [(ax + bx) / 2, (ay + by) / 2];
      group.append(draw("path", { d: `M${x} ${y}l${dx} ${dy}` }), draw("circle", { cx: x + dx, cy: y + dy, r: 4 * unit }),
        draw("text", { x: x + dx * 1.7, y: y + dy * 1.7, "font-size": 14 * unit, "text-anchor": "middle", "dominant-baseline": "middle" }, "in"));
    }
    group.append(...at.map(([x, y]) => draw("circle", { cx: x, cy: y, r: (index === current ? 6 : 4) * unit })));
    if (at.length) group.append(draw("text", { x: at[0][0] + 9 * unit, y: Math.max(16 * unit, at[0][1] - 8 * unit), "font-size": 15 * unit }, shape.name));
    return group;
  };

  const showShapes = () => {
    // The fields stay, so that the one in which the user types keeps its focus.
    const key = JSON.stringify([shapes.map(({ kind }) => kind), current]);
    const list = byId("shapes");
    if (list.dataset.last !== key) {
      list.dataset.last = key;
      list.replaceChildren(...shapes.map((shape, index) => {
        const title = `${shape.kind === "zone" ? "Zone" : "Line"} ${index + 1}`;
        const name = make("input", { type: "text", maxlength: 40, "aria-label": `Name of ${title.toLowerCase()}`, autocomplete: "off" });
        // Undo takes back what was typed since the field was entered.
        let typed = false;
        name.addEventListener("focus", () => { typed = false; });
        name.addEventListener("input", () => {
          if (!typed) remember();
          typed = true;
          shapes[index].name = name.value;
          show();
        });
        const edit = make("button", { type: "button", "aria-pressed": String(index === current) }, title);
        edit.addEventListener("click", () => { current = index; show(); canvas.focus({ preventScroll: true }); });
        const remove = make("button", { type: "button", "aria-label": `Delete ${title.toLowerCase()}` }, "Delete");
        remove.addEventListener("click", () => {
          remember();
          shapes.splice(index, 1);
          if (!shapes.length) shapes.push({ kind: "zone", name: "zone1", points: [] });
          current = Math.min(current, shapes.length - 1);
          show();
        });
        return make("li", { class: "choices" }, edit, name, remove, make("span", { class: "note" }));
      }));
    }
    shapes.forEach((shape, index) => {
      const item = list.children[index];
      const field = item.querySelector("input");
      if (field.value !== shape.name) field.value = shape.name;
      const why = problem(shape);
      item.querySelector(".note").textContent = why ? `This ${shape.kind} ${why}.` : `✓ ${shape.points.length} ${LIMITS[shape.kind].noun}`;
    });
  };

  const show = () => {
    canvas.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
    const unit = 1 / scale();
    canvas.replaceChildren(draw("rect", { class: "blank", width: size[0], height: size[1] }),
      ...(picture ? [draw("image", { href: picture, width: size[0], height: size[1] })] : []), ...shapes.map(drawShape));
    if (cross) {
      const [x, y] = place(cross);
      canvas.append(draw("path", { class: "cross", d: `M${x - 14 * unit} ${y}h${28 * unit}M${x} ${y - 14 * unit}v${28 * unit}`, "stroke-width": 2 * unit }));
    }
    showShapes();
    byId("undo").disabled = !past.length;
    byId("toml").value = toml() || "# Draw a zone or a line.\n";
    byId("copied").textContent = "";
  };

  // ---- input
  const add = (kind) => {
    const count = shapes.filter((shape) => shape.kind === kind).length;
    remember();
    shapes = shapes.filter((shape) => shape.points.length);
    let number = count;
    const taken = (name) => shapes.some((shape) => shape.name === name);
    do number += 1; while (taken(`${kind}${number}`) || (number > 1 && !taken(`${kind}${number - 1}`)));
    shapes.push({ kind, name: `${kind}${number}`, points: [] });
    current = shapes.length - 1;
    show();
    canvas.focus({ preventScroll: true });
  };
  const addPoint = (point) => {
    remember();
    shapes[current].points.push(point);
    show();
  };
  const pointOf = (event) => {
    // The canvas may be wider than the picture.
    const { a, d, e, f } = canvas.getScreenCTM();
    return [rounded((event.clientX - e) / a / size[0]), rounded((event.clientY - f) / d / size[1])];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const at = pointOf(event);
    const distance = (point) => Math.hypot((point[0] - at[0]) * size[0], (point[1] - at[1]) * size[1]) * scale();
    cross = null;
    dragged = shapes[current].points.findIndex((point) => distance(point) <= GRAB);
    if (dragged >= 0) remember();
    else {
      addPoint(at);
      dragged = shapes[current].points.length - 1;
    }
    canvas.setPointerCapture(event.pointerId);
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged === null) return;
    shapes[current].points[dragged] = pointOf(event);
    show();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { dragged = null; });
  canvas.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = event.shiftKey ? 0.005 : 0.05;
    if (event.key in ways) {
      const [x, y] = cross || [0.5, 0.5];
      cross = cross ? [rounded(x + ways[event.key][0] * step), rounded(y + ways[event.key][1] * step)] : [x, y];
      show();
    } else if (event.key === "Enter" || event.key === " ") {
      cross = cross || [0.5, 0.5];
      addPoint(cross);
    } else if (event.key === "Backspace") undo();
    else return;
    if (cross) byId("message").textContent = `Cross at ${cross.join(", ")}; ${shapes[current].points.length} ${LIMITS[shapes[current].kind].noun}.`;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => { cross = null; show(); });
  byId("add-zone").addEventListener("click", () => add("zone"));
  byId("add-line").addEventListener("click", () => add("line"));
  byId("undo").addEventListener("click", undo);
  byId("copy").addEventListener("click", () => {
    // The clipboard's own interface works only with TLS.
    byId("toml").select();
    byId("copied").textContent = document.execCommand("copy") ? "Copied" : "Selected: copy it with the keyboard";
  });

  // ---- the camera
  const loadStill = () => {
    const told = (text) => { byId("message").textContent = text; };
    byId("still").hidden = !camera.picture;
    if (!camera.picture) {
      told(camera.source === null ? "The canvas is blank: the camera has ended." : "The canvas is blank and has the size of the picture: to protect people, the picture is served only with --serve-picture.");
      return;
    }
    const next = new Image();
    const source = `${camera.path.slice(1)}snapshot.jpg?${(stills += 1)}`;
    next.addEventListener("load", () => {
      picture = source;
      size = [next.naturalWidth, next.naturalHeight];
      told("");
      show();
    });
    next.addEventListener("error", () => told("The canvas is blank: the camera delivers no picture now."));
    next.src = source;
  };
  byId("still").addEventListener("click", loadStill);
  byId("camera").addEventListener("change", (event) => { location.search = `?camera=${encodeURIComponent(event.target.value)}`; });
  addEventListener("resize", show);

  const start = async () => {
    show();
    let cameras = [];
    try {
      ({ cameras } = await (await fetch("api/cameras")).json());
    } catch { /* The sentence below says so. */ }
    const wanted = new URLSearchParams(location.search).get("camera");
    camera = cameras.find((one) => one.name === wanted) || cameras[0];
    if (!camera) {
      byId("message").textContent = "The device does not answer. The canvas is blank.";
      return;
    }
    if (camera.size) size = camera.size;
    byId("choice").hidden = cameras.length < 2;
    byId("camera").replaceChildren(...cameras.map((one) => make("option", { value: one.name, ...(one === camera ? { selected: "" } : {}) }, one.name)));
    if (cameras.length > 1) byId("back").search = `?camera=${encodeURIComponent(camera.name)}`;
    byId("target").textContent = camera.named
      ? `Copy into edge.toml, below the [[camera]] with the name ${camera.name}, in place of its zones and lines. SIGHUP reloads the file.`
      : "Copy into edge.toml, in place of its zones and lines. SIGHUP reloads the file.";
    loadStill();
    show();
  };
  start();
})();
