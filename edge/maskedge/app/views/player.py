"""Shows a video that was answered: a small player, the people, the faces over time, downloads."""

from __future__ import annotations

import base64
from pathlib import PurePath

import streamlit as st

from maskedge.app.charts import timeline_chart
from maskedge.app.video_job import AnnotatedVideo
from maskedge.app.widgets import chips

_HTML = """
<div class="player">
  <img alt="">
  <div class="bar">
    <button type="button" aria-label="Play">▶</button>
    <input type="range" min="0" value="0" step="1" aria-label="Moment of the video">
    <output></output>
  </div>
</div>
"""
_CSS = """
.player { font-family: var(--st-font); color: var(--st-text-color); }
.player img { width: 100%; display: block; border-radius: 6px 6px 0 0; background: #000; }
.bar {
  display: flex; align-items: center; gap: .7rem; padding: .4rem .7rem;
  border: 1px solid var(--st-border-color); border-top: 0; border-radius: 0 0 6px 6px;
}
button {
  width: 2.4rem; height: 2.4rem; border: 0; border-radius: 50%; cursor: pointer; font-size: .9rem;
  background: var(--st-primary-color); color: var(--st-background-color);
}
button:focus-visible, input:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
input { flex: 1; min-width: 0; accent-color: var(--st-primary-color); }
output { min-width: 6.2rem; text-align: right; font-variant-numeric: tabular-nums; font-size: .9rem; }
"""
# Without sound and without a codec that browsers share with OpenCV, pictures in turn are the player that works everywhere.
_JS = """
export default function ({ data, parentElement }) {
  const [picture, button, range, words] = ["img", "button", "input", "output"].map((name) => parentElement.querySelector(name));
  const { pictures, seconds, length, name } = data;
  let timer = null;
  range.max = pictures.length - 1;
  const draw = () => {
    const at = Number(range.value);
    picture.src = "data:image/jpeg;base64," + pictures[at];
    picture.alt = `${name} at ${seconds[at].toFixed(1)} seconds, with the faces marked`;
    words.textContent = `${seconds[at].toFixed(1)} / ${length.toFixed(1)} s`;
    range.setAttribute("aria-valuetext", `${seconds[at].toFixed(1)} seconds`);
  };
  const stop = () => { clearTimeout(timer); timer = null; button.textContent = "▶"; button.ariaLabel = "Play"; };
  const step = () => {
    const at = Number(range.value);
    if (at >= pictures.length - 1) { stop(); return; }
    timer = setTimeout(() => { range.value = at + 1; draw(); step(); }, 1000 * (seconds[at + 1] - seconds[at]));
  };
  button.onclick = () => {
    if (timer !== null) { stop(); return; }
    if (Number(range.value) >= pictures.length - 1) { range.value = 0; draw(); }
    button.textContent = "❚❚"; button.ariaLabel = "Pause"; step();
  };
  range.oninput = () => { stop(); draw(); };
  draw();
  return stop;
}
"""


def show_film(film: AnnotatedVideo) -> None:
    """Draw what came out of a video."""
    for note in film.notes:
        st.info(note, icon=":material/info:")
    st.markdown("**Different people seen**")
    chips(film.people, "Nobody was seen for long enough to count.")
    pictures, moments = film.stills
    if pictures:
        player = st.components.v2.component("maskedge.player", html=_HTML, css=_CSS, js=_JS)
        data = {
            "pictures": [base64.b64encode(picture).decode("ascii") for picture in pictures],
            "seconds": moments,
            "length": film.length,
            "name": film.name,
        }
        player(key="player", data=data)
    total = film.summary.latency.get("total", (0.0, 0.0))
    st.caption(
        f"{film.summary.frames:,} frames in {film.summary.seconds:.1f} s: "
        f"{film.summary.frames / max(film.summary.seconds, 1e-9):.0f} frames/s, {total[0]:.0f} ms a frame (median). "
        f"The player shows {len(pictures)} of them; the download holds all."
    )
    if film.timeline:
        st.markdown("**Faces in each second**")
        st.vega_lite_chart(timeline_chart(film.timeline), width="stretch")
    left, right = st.columns(2)
    stem = PurePath(film.name).stem.replace(" ", "-")
    left.download_button(
        "Marked video (MP4)", film.video, f"{stem}-maskedge.mp4", "video/mp4", icon=":material/download:", width="stretch"
    )
    right.download_button(
        "Events (JSON Lines)",
        film.events,
        f"{stem}-maskedge.jsonl",
        "application/x-ndjson",
        icon=":material/download:",
        width="stretch",
    )
