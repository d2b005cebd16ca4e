// The browser side of the live view: capture a frame, send it, draw the result over it.
const SIDE = 640;
const views = new WeakMap();

class View {
  constructor(root) {
    const find = (name) => root.querySelector(name);
    this.video = find("video");
    this.canvas = find("canvas");
    this.message = find(".message");
    this.start = find(".start");
    this.resetButton = find(".reset");
    this.choose = find(".choose");
    this.select = find("select");
    this.fields = Object.fromEntries([".now", ".notice", ".rate", ".latency", ".server", ".people"].map((name) => [name.slice(1), find(name)]));
    this.shot = document.createElement("canvas");
    this.stream = null;
    this.run = 0;
    this.start.onclick = () => (this.stream ? this.stop() : this.open());
    this.resetButton.onclick = () => fetch(this.url, { method: "DELETE" });
    this.select.onchange = () => this.open(this.select.value);
  }

  async open(device) {
    this.close();
    if (!navigator.mediaDevices) {
      this.message.textContent =
        "Browsers allow the camera only on pages of the same computer (127.0.0.1) or over HTTPS. Open this page on the computer that runs it.";
      return;
    }
    this.message.textContent = "Waiting for the camera ...";
    try {
      const size = { width: { ideal: SIDE }, height: { ideal: 480 } };
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: device ? { ...size, deviceId: { exact: device } } : { ...size, facingMode: "user" },
      });
      this.video.srcObject = this.stream;
      await this.video.play();
    } catch (error) {
      this.close();
      const texts = {
        NotAllowedError: "Camera permission was denied. Allow the camera (icon beside the address), then start again.",
        NotFoundError: "No camera found. Connect one, then start again.",
        NotReadableError: "Another program is using the camera. Close it, then start again.",
      };
      this.message.textContent = texts[error.name] ?? `The camera cannot be used (${error.message}).`;
      return;
    }
    this.message.textContent = "";
    this.start.textContent = "Stop the camera";
    this.resetButton.hidden = false;
    await this.list();
    this.watch(++this.run);
    this.loop(this.run);
  }

  async list() {
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
    const own = this.stream?.getVideoTracks()[0]?.getSettings().deviceId;
    this.choose.hidden = cameras.length < 2;
    this.select.replaceChildren(
      ...cameras.map((camera, number) => new Option(camera.label || `Camera ${number + 1}`, camera.deviceId, false, camera.deviceId === own)),
    );
  }

  close() {
    this.run += 1;
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
    this.start.textContent = "Start the camera";
    this.resetButton.hidden = true;
  }

  stop() {
    this.close();
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.fields.now.textContent = "";
    this.fields.notice.hidden = true;
    this.message.textContent = "The camera is off.";
  }

  // Track new frames of the camera, so that `nextFrame` waits only where there is none.
  watch(run) {
    this.video.requestVideoFrameCallback?.(() => {
      if (run !== this.run) return;
      this.newer = true;
      this.wake?.();
      this.watch(run);
    });
  }

  // Wait for a frame that was not sent yet. Browsers without requestVideoFrameCallback wait a
  // fixed time instead.
  async nextFrame() {
    if (!this.newer) {
      await new Promise((resolve) => { this.wake = resolve; setTimeout(resolve, this.video.requestVideoFrameCallback ? 250 : 33); });
    }
    this.newer = false;
  }

  // Capture a frame and encode it as JPEG.
  async grab() {
    await this.nextFrame();
    const taken = performance.now();
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, SIDE / Math.max(videoWidth, videoHeight, 1));
    const canvas = this.shot;
    canvas.width = Math.max(1, Math.round(videoWidth * scale));
    canvas.height = Math.max(1, Math.round(videoHeight * scale));
    canvas.getContext("2d").drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return { taken, picture: await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.8)) };
  }

  async loop(run) {
    const done = [];
    let lastUpdate = 0;
    // One frame at a time: two in flight raise the rate slightly and double the latency.
    while (run === this.run) {
      const shot = await this.grab();
      if (run !== this.run) return;
      // The video would show the last frame of an unplugged camera for ever.
      if (this.stream.getVideoTracks()[0].readyState === "ended") {
        this.stop();
        this.message.textContent = "The camera has stopped. Check that it is connected and allowed, then start again.";
        return;
      }
      let result;
      try {
        result = await (await fetch(this.url, { method: "POST", body: shot.picture })).json();
      } catch {
        if (run !== this.run) return;
        this.message.textContent = "Connection lost. Check that edge-app is running. Reconnecting ...";
        await new Promise((resolve) => setTimeout(resolve, 1000));
        continue;
      }
      if (run !== this.run) return;
      this.message.textContent = result.error ?? "";
      if (result.error) { this.close(); return; }
      this.draw(result);
      const now = performance.now();
      done.push({ at: now, latency: now - shot.taken, server: result.ms.total });
      while (done[0].at < now - 2000) done.shift();
      if (now > lastUpdate + 500) {
        lastUpdate = now;
        this.update(result, done);
      }
    }
  }

  draw(result) {
    const [width, height] = result.size;
    if (this.canvas.width !== width || this.canvas.height !== height) { this.canvas.width = width; this.canvas.height = height; }
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.shot, 0, 0);
    // Scale the captions up on small pages.
    const unit = Math.max(1, width / (this.canvas.clientWidth || width));
    pen.font = `600 ${Math.round(13 * unit)}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    pen.lineWidth = 3 * unit;
    for (const mosaic of result.hidden) this.hide(pen, mosaic);
    for (const face of result.faces) {
      const [x1, y1, x2, y2] = face.box;
      pen.strokeStyle = face.colour;
      pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    const taken = [];
    for (const face of result.faces) {
      const { text, left, top, wide, tall } = this.place(pen, face, taken, width, height, unit);
      pen.fillStyle = face.colour;
      pen.fillRect(left, top, wide, tall);
      // White text on dark colours, dark text on light colours.
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(face.colour.slice(at, at + 2), 16));
      pen.fillStyle = 0.3 * red + 0.59 * green + 0.11 * blue > 150 ? "#14181c" : "#fff";
      pen.fillText(text, left + 7 * unit, top + tall / 2 + unit);
    }
  }

  // Find a place for a caption that covers no other: above or below its box, in full or with
  // symbol and number alone.
  place(pen, face, taken, width, height, unit) {
    const [x1, y1, , y2] = face.box;
    const tall = 21 * unit;
    const percent = `${Math.round(100 * face.score)}%`;
    const places = [`${face.symbol} ${face.name} ${percent}`, `${face.symbol} ${percent}`].flatMap((text) => {
      const wide = pen.measureText(text).width + 14 * unit;
      const left = Math.min(Math.max(x1, 0), Math.max(width - wide, 0));
      return [y1 - tall, y2, Math.max(y1, 0)].map((top) => ({ text, left, top, wide, tall }));
    });
    const free = ({ left, top, wide }) => top >= 0 && top + tall <= height &&
      taken.every((one) => left + wide <= one.left || one.left + one.wide <= left || top + tall <= one.top || one.top + tall <= top);
    const found = places.find(free) ?? places.at(-1);
    taken.push(found);
    return found;
  }

  // Cover a face with the server's mosaic. Edges are whole pixels, so that no gap shows between
  // squares.
  hide(pen, { left, top, width, height, colours }) {
    const edge = (index, count, length) => Math.ceil((index * length) / count);
    colours.forEach((row, y) => {
      const [from, to] = [y, y + 1].map((at) => top + edge(at, colours.length, height));
      row.forEach((colour, x) => {
        const [start, end] = [x, x + 1].map((at) => left + edge(at, row.length, width));
        pen.fillStyle = colour;
        pen.fillRect(start, from, end - start, to - from);
      });
    });
  }

  update(result, done) {
    const median = (key) => done.map((one) => one[key]).sort((a, b) => a - b)[Math.floor(done.length / 2)];
    const list = (counts) => Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
    const put = (field, text) => { if (this.fields[field].textContent !== text) this.fields[field].textContent = text; };
    const seconds = (done.at(-1).at - done[0].at) / 1000;
    put("now", list(result.counts) || "No faces in view");
    put("notice", result.notice ?? "");
    this.fields.notice.hidden = !result.notice;
    put("rate", seconds > 0.5 ? ((done.length - 1) / seconds).toFixed(1) : "–");
    put("latency", `${Math.round(median("latency"))} ms`);
    put("server", `${Math.round(median("server"))} ms`);
    put("people", list(result.people) || "None yet");
  }
}

export default function ({ data, parentElement }) {
  let view = views.get(parentElement);
  if (!view) {
    view = new View(parentElement);
    views.set(parentElement, view);
  }
  view.url = data.url;
  return () => { view.close(); views.delete(parentElement); };
}
