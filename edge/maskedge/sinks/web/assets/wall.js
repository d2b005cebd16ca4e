"use strict";
// The wall: all cameras of the device. Data comes from /api/cameras, pictures from snapshot.jpg.
(() => {
  const { byId, make, order, title, mark, fill, setText, number, sentence, spaced, TIMEOUT } = window.maskedge;
  const REFRESH = 2000;
  const STATES = { opening: "Starting", open: "Running", lost: "Camera lost", ended: "Ended" };
  const cards = new Map();
  let lastMessage = performance.now();
  let pictures = 0;

  // Only visible cards load pictures, so that the device encodes none that nobody sees.
  const visible = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) visible.add(target);
      else visible.delete(target);
    }
  });

  const addCard = (name) => {
    const part = (tag, kind) => make(tag, { class: kind });
    const [still, state, why, faces, alerts] = [part("div", "still"), part("span", "pill"), part("p", "why"), part("p", "faces"), part("p", "why bad")];
    const link = make("a", { class: "card camera" }, still, make("div", { class: "facts" }, make("h3", {}, name), state, faces, alerts, why));
    const item = make("li", {}, link);
    const card = { item, link, still, state, why, faces, alerts, loading: false };
    watcher.observe(item);
    cards.set(name, card);
    return card;
  };

  const showStill = (card, camera) => {
    card.shows = camera.picture && camera.state === "open";
    if (!card.shows) {
      card.still.classList.add("empty");
      fill(card.still, make("p", {}, camera.state !== "open" ? "No picture" : "The picture is not served"));
      return;
    }
    if (card.loading || !visible.has(card.item)) return;
    card.loading = true;
    const next = make("img", { alt: "" });
    next.addEventListener("load", () => {
      card.loading = false;
      if (!card.shows) return; // Lost while the picture was on its way.
      card.still.classList.remove("empty");
      delete card.still.dataset.last;
      card.still.replaceChildren(next);
    });
    next.addEventListener("error", () => { card.loading = false; });
    // A request without an answer does not stop the next one.
    setTimeout(() => { card.loading = false; }, TIMEOUT);
    next.src = `${camera.path.slice(1)}snapshot.jpg?${(pictures += 1)}`;
  };

  const showCard = (card, camera) => {
    // A camera that has ended has no page.
    if (camera.source === null) card.link.removeAttribute("href");
    else card.link.href = `?camera=${encodeURIComponent(camera.name)}`;
    card.state.dataset.state = camera.state;
    fill(card.state, STATES[camera.state] || camera.state);
    fill(card.why, camera.state === "open" || !camera.sentence ? "" : sentence(camera.sentence));
    const seen = camera.state === "open" && camera.size;
    fill(card.faces, ...(seen ? order(Object.keys(camera.faces)).map((label) => make("span", { title: title(label) }, mark(label), ` ${number(camera.faces[label])} `,
      make("span", { class: "hidden" }, title(label)))) : []));
    fill(card.alerts, ...(camera.alerts.length ? [`⚠ ${camera.alerts.map((rule) => sentence(spaced(rule))).join(", ")}`] : []));
    showStill(card, camera);
  };

  const show = ({ device, cameras }) => {
    lastMessage = performance.now();
    const names = cameras.map((camera) => camera.name);
    for (const [name, card] of cards) {
      if (names.includes(name)) continue;
      watcher.unobserve(card.item);
      visible.delete(card.item);
      card.item.remove();
      cards.delete(name);
    }
    cameras.forEach((camera, place) => {
      const card = cards.get(camera.name) || addCard(camera.name);
      if (byId("cards").children[place] !== card.item) byId("cards").insertBefore(card.item, byId("cards").children[place] || null);
      showCard(card, camera);
    });
    const open = cameras.filter((camera) => camera.state === "open").length;
    byId("state").dataset.state = open === cameras.length ? "open" : "lost";
    setText("state", `${open} of ${cameras.length} running`);
    fill("where", "Device ", make("b", {}, device));
    fill("banners");
    document.title = `${open < cameras.length ? "⚠ " : ""}${device} · maskedge`;
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      show(await (await fetch("api/cameras", { signal: AbortSignal.timeout(TIMEOUT) })).json());
    } catch {
      if (performance.now() - lastMessage < TIMEOUT) return;
      byId("state").dataset.state = "lost";
      setText("state", "Unreachable");
      fill("banners", make("p", { class: "banner" }, "The device is unreachable. ", make("span", {}, "The data below is out of date. Reconnecting …")));
    }
  };

  window.maskedge.showWall = async () => {
    document.body.dataset.view = "wall";
    byId("wall").hidden = false;
    document.addEventListener("visibilitychange", refresh);
    await refresh();
    // The observer has reported which cards are visible by then.
    setTimeout(refresh, 100);
    setInterval(refresh, REFRESH);
  };
})();
