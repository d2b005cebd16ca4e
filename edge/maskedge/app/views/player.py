"""Show an annotated video: the people, a player, the faces over time, and downloads."""

from __future__ import annotations

import base64
from pathlib import PurePath

import streamlit as st

from maskedge.app.charts import timeline_chart
from maskedge.app.video_job import AnnotatedVideo
from maskedge.app.widgets import download_button, label_counts, show_notice

_HTML = """
<div class="player">
  <img alt="">
  <div class="bar">
    <button type="button" aria-label="Play">▶</button>
    <input type="range" min="0" value="0" step="1" aria-label="Position in the video">
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
# OpenCV cannot write a codec that every browser plays, so the player shows single pictures.
_JS = """
export default function ({ data, parentElement }) {
  const [picture, button, range, position] = ["img", "button", "input", "output"].map((name) => parentElement.querySelector(name));
  const { pictures, seconds, length, name } = data;
  let timer = null;
  range.max = pictures.length - 1;
  const draw = () => {
    const at = Number(range.value);
    picture.src = "data:image/jpeg;base64," + pictures[at];
    picture.alt = `${name} at ${seconds[at].toFixed(1)} seconds, with a box and a label on each face`;
    position.textContent = `${seconds[at].toFixed(1)} / ${length.toFixed(1)} s`;
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


def show_video(video: AnnotatedVideo) -> None:
    """Show the results of a video."""
    for note in video.notes:
        show_notice(note)
    st.markdown("**People**")
    label_counts(video.people, "Nobody was visible for long enough to count.")
    pictures, moments = video.stills
    if pictures:
        player = st.components.v2.component("maskedge.player", html=_HTML, css=_CSS, js=_JS)
        data = {
            "pictures": [base64.b64encode(picture).decode("ascii") for picture in pictures],
            "seconds": moments,
            "length": video.length,
            "name": video.name,
        }
        player(key="player", data=data)
    total = video.summary.latency.get("total", (0.0, 0.0))
    st.caption(
        f"{video.summary.frames:,} frames in {video.summary.seconds:.1f} s: "
        f"{video.summary.frames / max(video.summary.seconds, 1e-9):.0f} frames/s, {total[0]:.0f} ms per frame (median). "
        f"The player shows {len(pictures)} of the frames; the download contains all of them."
    )
    if video.timeline:
        st.markdown("**Faces over time**")
        st.vega_lite_chart(timeline_chart(video.timeline), width="stretch")
    left, right = st.columns(2)
    stem = PurePath(video.name).stem.replace(" ", "-")
    with left:
        download_button("Annotated video (MP4)", video.content, f"{stem}-maskedge.mp4", "video/mp4", wide=True)
    with right:
        download_button("Events (JSON Lines)", video.events, f"{stem}-maskedge.jsonl", "application/x-ndjson", wide=True)
