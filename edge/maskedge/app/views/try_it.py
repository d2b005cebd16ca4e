"""The view "Try it": pictures, a video, a photo or the built-in clip, answered on the spot."""

from __future__ import annotations

import io
import signal
import threading
import time
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from maskedge.app.model_library import ModelFile, build, detector_name
from maskedge.app.results import as_jpeg, event_line, shown_jpeg, table_rows
from maskedge.app.uploads import MAX_PICTURES, PICTURES, VIDEOS, Picture, kind_of, read_picture_upload
from maskedge.app.video_job import AnnotatedVideo, Stills, annotate_video
from maskedge.app.widgets import Settings, ask_settings, chips, heading
from maskedge.errors import MaskedgeError
from maskedge.results import FrameResult
from maskedge.runtime.context import StopRequest
from maskedge.sources import demo
from maskedge.sources.base import stamp

from .player import show_film

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from maskedge.runtime.summary import Summary
    from maskedge.vision.pipeline import MaskDetector

T = TypeVar("T")
_EXAMPLE, _FILES, _PHOTO = "Example", "My files", "Camera"
_SOURCES = {_EXAMPLE: ":material/movie:", _FILES: ":material/upload_file:", _PHOTO: ":material/photo_camera:"}
_KEPT_BYTES = 300_000_000
"""Bytes of decoded pictures that a session keeps, with their answers, so that a slider does not look for the faces again."""


@dataclass
class _Shared:
    """A detector that visitors take turns with."""

    detector: MaskDetector
    lock: threading.Lock


@st.cache_resource(max_entries=8, show_spinner="Loading the model ...")
def _shared(classifier: str, finder: str, _classifier: ModelFile, _finder: str | ModelFile) -> _Shared:
    return _Shared(build(_classifier, _finder), threading.Lock())


def show() -> None:
    """Draw the view."""
    heading(
        "Who wears a mask?",
        "Give it a picture or a video. Faces are found and marked, with how sure the model is of each. "
        "Everything happens on the computer that runs this page, and is forgotten when you close it.",
    )
    results, settings_column = st.columns([7, 3], gap="large")
    with settings_column, st.container(border=True):
        st.subheader("Settings", anchor=False)
        settings = ask_settings("try", several=True)
    with results:
        source = st.segmented_control(
            "What to look at",
            list(_SOURCES),
            default=_EXAMPLE,
            required=True,
            format_func=lambda name: f"{_SOURCES[name]} {name}",
            key="try-source",
        )
        if source == _FILES:
            _uploads(settings)
        elif source == _PHOTO:
            _photo(settings)
        else:
            _example(settings)


def _example(settings: Settings) -> None:
    second = st.slider("Moment of the built-in clip (seconds)", 0.0, 9.9, 8.0, 0.1, key="try-moment")
    index = round(second * demo.FPS)
    _answer_pictures([(f"demo:{index}", Picture(f"clip at {second:.1f} s", demo.draw(index)))], settings)
    st.caption("The faces are averages of 12 to 16 people each: nobody's picture is in here.")
    _video("demo", "demo", None, settings, "Look at the whole clip")


def _photo(settings: Settings) -> None:
    st.caption("The photo goes from your browser to the computer that runs this page, and no further. It is not stored.")
    photo = st.camera_input("Your camera", key="try-camera")
    if photo is not None:
        _pictures([photo], settings)


def _uploads(settings: Settings) -> None:
    most = st.get_option("server.maxUploadSize")
    files = st.file_uploader(
        f"Pictures (up to {MAX_PICTURES}) or one video, each up to {most} MB",
        type=[*PICTURES, *VIDEOS],
        accept_multiple_files=True,
        key="try-files",
        help="Files stay in memory while this page is open. A video must also lie on the disk while it is read: "
        "in a private folder that is removed right after.",
    )
    if not files:
        return
    pictures: list[UploadedFile] = []
    videos: list[UploadedFile] = []
    for file in files:
        try:
            (videos if kind_of(file.name, file.getbuffer()[:64].tobytes() if file.size else b"") == "video" else pictures).append(
                file
            )
        except MaskedgeError as error:
            st.error(str(error), icon=":material/block:")
    if len(pictures) > MAX_PICTURES:
        st.warning(
            f"{len(pictures)} pictures are too many at a time: the first {MAX_PICTURES} are looked at.", icon=":material/info:"
        )
    if pictures:
        _pictures(pictures[:MAX_PICTURES], settings)
    if len(videos) > 1:
        st.warning(f"One video at a time: {videos[0].name} is looked at.", icon=":material/info:")
    if videos:
        _video(videos[0].file_id, videos[0].name, videos[0].getvalue(), settings, "Look at this video")


def _pictures(files: Sequence[UploadedFile], settings: Settings) -> None:
    """Decode and answer uploads."""
    pictures = []
    for file in files:
        try:
            pictures.append(
                (file.file_id, _remember(f"picture {file.file_id}", partial(read_picture_upload, file.name, file.getvalue())))
            )
        except MaskedgeError as error:
            st.error(str(error), icon=":material/block:")
    _answer_pictures(pictures, settings)


def _answer_pictures(pictures: Sequence[tuple[str, Picture]], settings: Settings) -> None:
    """Answer pictures and show them, one column for each detector."""
    done: list[FrameResult] = []
    for identity, picture in pictures:
        for note in picture.notes:
            st.info(f"{picture.name}: {note}", icon=":material/info:")
        if len(pictures) > 1:
            st.subheader(picture.name, anchor=False)
        columns = st.columns(len(settings.detectors)) if len(settings.detectors) > 1 else [st.container()]
        for column, finder in zip(columns, settings.detectors, strict=True):
            with column:
                answer, milliseconds = _answer(identity, picture, settings, finder)
                adjusted = settings.choice.adjust(answer)
                done.append(adjusted)
                _show_answer(f"{identity} {_key(finder)}", picture, adjusted, milliseconds, finder, len(settings.detectors) > 1)
    if len(done) > 1:
        left, right = st.columns(2)
        left.download_button(
            "All marked pictures (zip)",
            partial(_zip, tuple(done)),
            "maskedge.zip",
            "application/zip",
            icon=":material/download:",
            width="stretch",
        )
        right.download_button(
            "All events (JSON Lines)",
            partial(_events, tuple(done)),
            "maskedge.jsonl",
            "application/x-ndjson",
            icon=":material/download:",
            width="stretch",
        )


def _answer(identity: str, picture: Picture, settings: Settings, finder: str | ModelFile) -> tuple[FrameResult, float]:
    """Find the faces, or remember them; give the answer and its milliseconds."""

    def find() -> tuple[FrameResult, float]:
        shared = _shared(settings.classifier.digest, _key(finder), settings.classifier, finder)
        with st.spinner("Looking for faces ...", show_time=True), shared.lock:
            frame = stamp(picture.image, 0, picture.name)
            faces = shared.detector(picture.image)
            stages = shared.detector.clock.close_frame(frame.arrival)
            shared.detector.clock.next_frame()
        return FrameResult(frame, faces, stages), stages["total"]

    return _remember(f"answer {identity} {settings.classifier.digest} {_key(finder)}", find)


def _show_answer(
    key: str, picture: Picture, answer: FrameResult, milliseconds: float, finder: str | ModelFile, beside: bool
) -> None:
    if beside:
        st.markdown(f"**{detector_name(finder) if isinstance(finder, str) else finder.name}**")
    chips(Counter(face.label for face in answer.faces))
    width, height = answer.frame.size
    st.image(shown_jpeg(answer), width="stretch", caption=f"{picture.name}, {width} x {height}: answered in {milliseconds:.0f} ms")
    if answer.located:
        st.dataframe(
            table_rows(answer.located),
            hide_index=True,
            width="stretch",
            column_config={
                "face": st.column_config.NumberColumn("Face", help="From left to right", width=50),
                "answer": st.column_config.TextColumn("Answer", width=150),
                "sure": st.column_config.ProgressColumn("Sure", format="%d%%", min_value=0, max_value=100, width=120),
                "size": st.column_config.TextColumn("Size (pixels)"),
                "left": st.column_config.NumberColumn("Left", help="Pixels from the left edge"),
                "top": st.column_config.NumberColumn("Top", help="Pixels from the upper edge"),
            },
        )
    # Two answers side by side leave no room for two buttons in a row.
    left, right = (st.container(), st.container()) if beside else st.columns(2)
    stem = PurePath(picture.name).stem.replace(" ", "-")
    left.download_button(
        "Marked picture",
        partial(_marked, answer),
        f"{stem}-maskedge.jpg",
        "image/jpeg",
        icon=":material/download:",
        width="stretch",
        key=f"picture {key}",
    )
    right.download_button(
        "Events (JSON)",
        event_line(answer),
        f"{stem}-maskedge.jsonl",
        "application/x-ndjson",
        icon=":material/download:",
        width="stretch",
        key=f"events {key}",
    )


def _video(identity: str, name: str, content: bytes | None, settings: Settings, label: str) -> None:
    """Offer to answer a video; show how far it is, then what came out."""
    finder = settings.detectors[0]
    wanted = (identity, settings.classifier.digest, _key(finder), settings.choice)
    if content is not None:
        st.markdown(f"**{name}**, {len(content) / 1e6:.1f} MB")
    if len(settings.detectors) > 1:
        st.caption("A video is looked at with one face finder: the first one chosen.")
    if st.button(label, type="primary", icon=":material/play_arrow:", key=f"run {identity}"):
        film = _run_video(name, content, settings, finder)
        if film is not None:
            st.session_state["film"] = (wanted, film)
    stored: tuple[tuple[object, ...], AnnotatedVideo] | None = st.session_state.get("film")
    if stored is not None and stored[0][0] == identity:
        if stored[0] != wanted:
            st.info("The settings have changed since: press the button to look again.", icon=":material/info:")
        show_film(stored[1])


def _run_video(name: str, content: bytes | None, settings: Settings, finder: str | ModelFile) -> AnnotatedVideo | None:
    """Answer a video. A stop button, a closed page or a reload ends it."""
    bar = st.progress(0.0, "Opening the video ...")
    preview = st.empty()
    ending = st.empty()
    ending.button("Stop", icon=":material/stop:", key="stop-video", help="Ends the work; what was done until then is lost.")
    stop, told = StopRequest(), 0.0

    def progress(summary: Summary, length: int | None, stills: Stills) -> None:
        nonlocal told
        now = time.monotonic()
        if now < told + 0.4:
            return
        told = now
        if not _still_here():
            stop.signal = signal.SIGHUP
            return
        rate = summary.frames / max(summary.seconds, 1e-9)
        share = min(1.0, summary.frames / length) if length else 0.0
        left = f", about {max(0.0, (length - summary.frames) / rate):.0f} s left" if length else ""
        bar.progress(share, f"Frame {summary.frames:,}{f' of {length:,}' if length else ''}, {rate:.0f} frames/s{left}")
        if stills.pictures:
            preview.image(stills.pictures[-1], width="stretch")

    try:
        return annotate_video(
            name,
            content,
            # Faces that are hidden are found at once.
            build(settings.classifier, finder, detect_every=1 if settings.choice.hide else 2),
            settings.choice,
            stop=stop,
            progress=progress,
        )
    except MaskedgeError as error:
        st.error(str(error), icon=":material/block:")
        return None
    finally:
        for place in (bar, preview, ending):
            place.empty()


def _still_here() -> bool:
    """Tell whether the visitor's page is still open."""
    from streamlit.runtime import get_instance
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return context is None or get_instance().is_active_session(context.session_id)


def _key(finder: str | ModelFile) -> str:
    return finder if isinstance(finder, str) else finder.digest


def _remember(key: str, make: Callable[[], T]) -> T:
    """Give what `make` gave for `key` in this visitor's session, or make it; what was not asked for longest makes room."""
    kept: OrderedDict[str, Any] = st.session_state.setdefault("kept", OrderedDict())
    value: T = kept[key] if key in kept else make()
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > 1 and sum(item.image.nbytes for item in kept.values() if isinstance(item, Picture)) > _KEPT_BYTES:
        kept.popitem(last=False)
    return value


def _marked(answer: FrameResult) -> bytes:
    return as_jpeg(answer.picture, quality=95)


def _events(answers: Sequence[FrameResult]) -> str:
    return "".join(event_line(answer) for answer in answers)


def _zip(answers: Sequence[FrameResult]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, answer in enumerate(answers, 1):
            archive.writestr(f"{number:02}-{PurePath(answer.frame.source).stem}.jpg", _marked(answer))
    return content.getvalue()
