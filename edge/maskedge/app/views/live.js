// The browser's half of the live view: takes a picture of the camera, sends it, draws the answer over that same picture.
const SIDE = 640;
const views = new WeakMap();

class View {
  constructor(root) {
    const find = (name) => root.querySelector(name);
    this.video = find("video");
    this.canvas = find("canvas");
    this.word = find(".word");
    this.start = find(".start");
    this.again = find(".again");
    this.choose = find(".choose");
    this.select = find("select");
    this.fields = Object.fromEntries([".now", ".rate", ".delay", ".looking", ".people"].map((name) => [name.slice(1), find(name)]));
    this.shot = document.createElement("canvas");
    this.stream = null;
    this.run = 0;
    this.start.onclick = () => (this.stream ? this.stop() : this.open());
    this.again.onclick = () => fetch(this.url, { method: "DELETE" });
    this.select.onchange = () => this.open(this.select.value);
  }

  async open(device) {
    this.close();
    if (!navigator.mediaDevices) {
      this.word.textContent =
        "Browsers lend their camera only to pages of the same computer (127.0.0.1) or over https. Open this page on the computer that runs it.";
      return;
    }
    this.word.textContent = "Waiting for the camera ...";
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
      const words = {
        NotAllowedError: "The browser was not allowed to use the camera. Allow it (the sign beside the address), then start again.",
        NotFoundError: "This browser sees no camera. Plug one in, then start again.",
        NotReadableError: "The camera is used by another program. Close that one, then start again.",
      };
      this.word.textContent = words[error.name] ?? `The camera could not be used (${error.message}).`;
      return;
    }
    this.word.textContent = "";
    this.start.textContent = "Stop the camera";
    this.again.hidden = false;
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
    this.again.hidden = true;
  }

  stop() {
    this.close();
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.fields.now.textContent = "";
    this.word.textContent = "The camera is off.";
  }

  // Notes every picture that the camera gives, so that `fresh` waits only where there is no new one.
  watch(run) {
    this.video.requestVideoFrameCallback?.(() => {
      if (run !== this.run) return;
      this.newer = true;
      this.wake?.();
      this.watch(run);
    });
  }

  // A picture that was not sent yet. Browsers that do not tell of new pictures wait a little instead.
  async fresh() {
    if (!this.newer) {
      await new Promise((resolve) => { this.wake = resolve; setTimeout(resolve, this.video.requestVideoFrameCallback ? 250 : 33); });
    }
    this.newer = false;
  }

  // Takes a picture and packs it.
  async grab() {
    await this.fresh();
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
    let spoken = 0;
    // One picture at a time: with two on their way the answers come a little more often, and twice as late.
    while (run === this.run) {
      const shot = await this.grab();
      if (run !== this.run) return;
      let answer;
      try {
        answer = await (await fetch(this.url, { method: "POST", body: shot.picture })).json();
      } catch {
        if (run !== this.run) return;
        this.word.textContent = "The connection was lost: is edge-app still running? Trying again ...";
        await new Promise((resolve) => setTimeout(resolve, 1000));
        continue;
      }
      if (run !== this.run) return;
      this.word.textContent = answer.error ?? "";
      if (answer.error) { this.close(); return; }
      this.draw(answer);
      const now = performance.now();
      done.push({ at: now, delay: now - shot.taken, looking: answer.ms.total });
      while (done[0].at < now - 2000) done.shift();
      if (now > spoken + 500) {
        spoken = now;
        this.tell(answer, done);
      }
    }
  }

  draw(answer) {
    const [width, height] = answer.size;
    if (this.canvas.width !== width || this.canvas.height !== height) { this.canvas.width = width; this.canvas.height = height; }
    const pen = this.canvas.getContext("2d");
    pen.drawImage(this.shot, 0, 0);
    // Larger words where the page is small.
    const unit = Math.max(1, width / (this.canvas.clientWidth || width));
    pen.font = `600 ${Math.round(13 * unit)}px system-ui, sans-serif`;
    pen.textBaseline = "middle";
    pen.lineWidth = 3 * unit;
    for (const mosaic of answer.hidden) this.hide(pen, mosaic);
    for (const face of answer.faces) {
      const [x1, y1, x2, y2] = face.box;
      pen.strokeStyle = face.colour;
      pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    const taken = [];
    for (const face of answer.faces) {
      const { words, left, top, wide, tall } = this.place(pen, face, taken, width, height, unit);
      pen.fillStyle = face.colour;
      pen.fillRect(left, top, wide, tall);
      // White words on dark colours, dark ones on light colours.
      const [red, green, blue] = [1, 3, 5].map((at) => parseInt(face.colour.slice(at, at + 2), 16));
      pen.fillStyle = 0.3 * red + 0.59 * green + 0.11 * blue > 150 ? "#14181c" : "#fff";
      pen.fillText(words, left + 7 * unit, top + tall / 2 + unit);
    }
  }

  // The first place for a label that covers no other: above or below its box, with all words or with the sign and number alone.
  place(pen, face, taken, width, height, unit) {
    const [x1, y1, , y2] = face.box;
    const tall = 21 * unit;
    const sure = `${Math.round(100 * face.score)}%`;
    const places = [`${face.symbol} ${face.name} ${sure}`, `${face.symbol} ${sure}`].flatMap((words) => {
      const wide = pen.measureText(words).width + 14 * unit;
      const left = Math.min(Math.max(x1, 0), Math.max(width - wide, 0));
      return [y1 - tall, y2, Math.max(y1, 0)].map((top) => ({ words, left, top, wide, tall }));
    });
    const free = ({ left, top, wide }) => top >= 0 && top + tall <= height &&
      taken.every((one) => left + wide <= one.left || one.left + one.wide <= left || top + tall <= one.top || one.top + tall <= top);
    const found = places.find(free) ?? places.at(-1);
    taken.push(found);
    return found;
  }

  // Covers a face with the mosaic that the server computed. Edges are whole pixels: nothing shines through between two squares.
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

  tell(answer, done) {
    const median = (key) => done.map((one) => one[key]).sort((a, b) => a - b)[Math.floor(done.length / 2)];
    const list = (counts) => Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ");
    const put = (field, words) => { if (this.fields[field].textContent !== words) this.fields[field].textContent = words; };
    const seconds = (done.at(-1).at - done[0].at) / 1000;
    put("now", list(answer.counts) || "Nobody in view");
    put("rate", seconds > 0.5 ? ((done.length - 1) / seconds).toFixed(1) : "–");
    put("delay", `${Math.round(median("delay"))} ms`);
    put("looking", `${Math.round(median("looking"))} ms`);
    put("people", list(answer.people) || "nobody yet");
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
