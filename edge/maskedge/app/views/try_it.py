"""The view "Try it": results for pictures, a video, a photo or the built-in clip."""

from __future__ import annotations

import io
import signal
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from maskedge.app.model_library import ModelFile, build_detector
from maskedge.app.results import event_line, preview_jpeg, table_rows
from maskedge.app.uploads import MAX_PICTURES, PICTURES, VIDEOS, Picture, read_picture_upload, upload_kind
from maskedge.app.video_job import AnnotatedVideo, Stills, annotate_video
from maskedge.app.widgets import (
    Settings,
    display_name,
    download_button,
    heading,
    label_counts,
    plain,
    settings_form,
    show_error,
    show_notice,
)
from maskedge.counts import count_labels
from maskedge.errors import MaskedgeError
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.runtime.context import StopRequest
from maskedge.sources import demo
from maskedge.sources.base import stamp

from .player import show_video

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from maskedge.runtime.summary import Summary
    from maskedge.vision.pipeline import MaskDetector

T = TypeVar("T")
_EXAMPLE, _FILES, _PHOTO = "Example", "My files", "Camera"
_SOURCES = {_EXAMPLE: ":material/movie:", _FILES: ":material/upload_file:", _PHOTO: ":material/photo_camera:"}
_KEPT_BYTES = 300_000_000
"""Maximum number of bytes of decoded pictures in the cache of a session. With the cache, moving a
slider does not run detection again."""

_BYTES_AT_ONCE = 600_000_000
"""Number of bytes of decoded pictures after which an upload takes no more."""


@dataclass
class _Shared:
    """A detector that visitors share. One visitor uses it at a time."""

    detector: MaskDetector
    lock: threading.Lock


@st.cache_resource(max_entries=8, show_spinner="Loading the model ...")
def _shared(classifier: str, detector: str, _classifier: ModelFile, _detector: str | ModelFile) -> _Shared:
    return _Shared(build_detector(_classifier, _detector), threading.Lock())


def show() -> None:
    """Show the view."""
    heading(
        "Try it",
        "Detects faces and masks in a picture or a video. Everything runs on the computer that serves this page; your files are "
        "dropped when you close it.",
    )
    results, settings_column = st.columns([7, 3], gap="large")
    with settings_column, st.container(border=True):
        st.subheader("Settings", anchor=False)
        settings = settings_form("try", several=True)
    with results:
        source = st.segmented_control(
            "Source",
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
    second = st.slider("Position in the built-in clip", 0.0, 9.9, 8.0, 0.1, format="%.1f s", key="try-position")
    index = round(second * demo.FPS)
    _show_pictures([(f"demo:{index}", Picture(f"Clip at {second:.1f} s", demo.draw(index)))], settings)
    st.caption("Each face is an average of 12 to 16 people. The clip shows no real person.")
    _video("demo", "demo", None, settings, "Process the whole clip")


def _photo(settings: Settings) -> None:
    st.caption("The photo goes to the computer that serves this page and nowhere else. It is not stored.")
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
        help="Files stay in memory while this page is open. While a video is processed, it is also stored in a private folder, "
        "which is removed afterwards.",
    )
    if not files:
        return
    pictures: list[UploadedFile] = []
    videos: list[UploadedFile] = []
    for file in files:
        try:
            (
                videos if upload_kind(file.name, file.getbuffer()[:64].tobytes() if file.size else b"") == "video" else pictures
            ).append(file)
        except MaskedgeError as error:
            show_error(error)
    if len(pictures) > MAX_PICTURES:
        st.warning(f"You chose {len(pictures)} pictures. Only the first {MAX_PICTURES} are processed.", icon=":material/info:")
    if pictures:
        _pictures(pictures[:MAX_PICTURES], settings)
    if len(videos) > 1:
        st.warning(f"Only one video is processed at a time: {plain(videos[0].name)}.", icon=":material/info:")
    if videos:
        _video(videos[0].file_id, videos[0].name, videos[0].getvalue(), settings, "Process this video")


def _pictures(files: Sequence[UploadedFile], settings: Settings) -> None:
    """Decode uploads and show their results."""
    pictures: list[tuple[str, Picture]] = []
    for file in files:
        if sum(picture.image.nbytes for _, picture in pictures) > _BYTES_AT_ONCE:
            st.warning(
                f"Only the first {len(pictures)} pictures are processed, because they are large: upload the others alone.",
                icon=":material/info:",
            )
            break
        try:
            pictures.append(
                (file.file_id, _cached(f"picture {file.file_id}", partial(read_picture_upload, file.name, file.getvalue())))
            )
        except MaskedgeError as error:
            show_error(error)
    _show_pictures(pictures, settings)


def _show_pictures(pictures: Sequence[tuple[str, Picture]], settings: Settings) -> None:
    """Show the results of pictures, one column per detector."""
    done: list[FrameResult] = []
    if pictures:
        _show_notices(settings)
    for identity, picture in pictures:
        for note in picture.notes:
            show_notice(f"{picture.name}: {note}")
        if len(pictures) > 1:
            st.subheader(plain(picture.name), anchor=False)
        columns = st.columns(len(settings.detectors)) if len(settings.detectors) > 1 else [st.container()]
        for column, detector in zip(columns, settings.detectors, strict=True):
            with column:
                result, milliseconds = _detect(identity, picture, settings, detector)
                adjusted = settings.options.apply(result)
                done.append(adjusted)
                key = f"{identity} {_key(detector)}"
                _show_result(key, picture, adjusted, milliseconds, detector, len(settings.detectors) > 1)
    if len(done) > 1:
        left, right = st.columns(2)
        zipped, events = partial(_zip, tuple(done)), partial(_events, tuple(done))
        with left:
            download_button("All annotated pictures (zip)", zipped, "maskedge.zip", "application/zip", wide=True)
        with right:
            download_button("All events (JSON Lines)", events, "maskedge.jsonl", "application/x-ndjson", wide=True)


def _show_notices(settings: Settings) -> None:
    """Show the notice about the classifier, once per detector."""
    for detector in settings.detectors:
        notice = _shared(settings.classifier.digest, _key(detector), settings.classifier, detector).detector.notice
        if notice is not None:
            show_notice(notice)


def _detect(identity: str, picture: Picture, settings: Settings, detector: str | ModelFile) -> tuple[FrameResult, float]:
    """Return the result of a picture and the milliseconds it took, cached per session."""

    def run() -> tuple[FrameResult, float]:
        shared = _shared(settings.classifier.digest, _key(detector), settings.classifier, detector)
        with st.spinner("Detecting faces ...", show_time=True), shared.lock:
            frame = stamp(picture.image, 0, picture.name)
            faces = shared.detector(picture.image)
            stages = shared.detector.clock.close_frame(frame.arrival)
            shared.detector.clock.next_frame()
        return FrameResult(frame, faces, stages), stages["total"]

    return _cached(f"result {identity} {settings.classifier.digest} {_key(detector)}", run)


def _show_result(
    key: str, picture: Picture, result: FrameResult, milliseconds: float, detector: str | ModelFile, beside: bool
) -> None:
    if beside:
        st.markdown(f"**{plain(display_name(detector))}**")
    label_counts(count_labels(result.faces))
    width, height = result.frame.size
    st.image(
        preview_jpeg(result),
        width="stretch",
        caption=f"{plain(picture.name)}, {width} x {height}: processed in {milliseconds:.0f} ms",
    )
    if result.located:
        st.dataframe(
            table_rows(result.located),
            hide_index=True,
            width="stretch",
            column_config={
                "face": st.column_config.NumberColumn("Face", help="From left to right", width=50),
                "label": st.column_config.TextColumn("Label", width=150),
                "confidence": st.column_config.ProgressColumn("Confidence", format="%d%%", min_value=0, max_value=100, width=120),
                "size": st.column_config.TextColumn("Size (pixels)"),
                "left": st.column_config.NumberColumn("Left", help="Pixels from the left edge"),
                "top": st.column_config.NumberColumn("Top", help="Pixels from the top edge"),
            },
        )
    # Results side by side have no room for two buttons in a row.
    left, right = (st.container(), st.container()) if beside else st.columns(2)
    stem = PurePath(picture.name).stem.replace(" ", "-")
    with left:
        annotated = partial(_annotated_jpeg, result)
        download_button("Annotated picture", annotated, f"{stem}-maskedge.jpg", "image/jpeg", key=f"picture {key}", wide=True)
    with right:
        name = f"{stem}-maskedge.jsonl"
        download_button("Events (JSON)", event_line(result), name, "application/x-ndjson", key=f"events {key}", wide=True)


def _video(identity: str, name: str, content: bytes | None, settings: Settings, label: str) -> None:
    """Offer to process a video; show the progress, then the results."""
    detector = settings.detectors[0]
    wanted = (identity, settings.classifier.digest, _key(detector), settings.options)
    if content is not None:
        st.markdown(f"**{plain(name)}**, {len(content) / 1e6:.1f} MB")
    if len(settings.detectors) > 1:
        st.caption("A video is processed with the first of the selected detectors.")
    if st.button(label, type="primary", icon=":material/play_arrow:", key=f"run {identity}"):
        video = _run_video(name, content, settings, detector)
        if video is not None:
            st.session_state["video"] = (wanted, video)
    stored: tuple[tuple[object, ...], AnnotatedVideo] | None = st.session_state.get("video")
    if stored is not None and stored[0][0] == identity:
        if stored[0] != wanted:
            st.info("The settings have changed. Press the button to process the video again.", icon=":material/info:")
        show_video(stored[1])


def _run_video(name: str, content: bytes | None, settings: Settings, detector: str | ModelFile) -> AnnotatedVideo | None:
    """Process a video. The stop button, a reload or closing the page ends it."""
    bar = st.progress(0.0, "Opening the video ...")
    preview = st.empty()
    ending = st.empty()
    ending.button("Stop", icon=":material/stop:", key="stop-video", help="Cancels the processing. Its results so far are lost.")
    stop, last_update = StopRequest(), 0.0

    def progress(summary: Summary, length: int | None, stills: Stills) -> None:
        nonlocal last_update
        now = time.monotonic()
        if now < last_update + 0.4:
            return
        last_update = now
        if not _is_connected():
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
            # Detect in every frame if faces are hidden, so that a new face is covered at once.
            build_detector(settings.classifier, detector, detect_every=1 if settings.options.hide_faces else 2),
            settings.options,
            stop=stop,
            progress=progress,
        )
    except MaskedgeError as error:
        show_error(error)
        return None
    finally:
        for place in (bar, preview, ending):
            place.empty()


def _is_connected() -> bool:
    """Return True if the visitor's page is still open."""
    from streamlit.runtime import get_instance
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    return context is None or get_instance().is_active_session(context.session_id)


def _key(detector: str | ModelFile) -> str:
    return detector if isinstance(detector, str) else detector.digest


def _cached(key: str, make: Callable[[], T]) -> T:
    """Return the value of `key` from the session's cache, or compute and cache it.

    The least recently used values are dropped first.
    """
    kept: OrderedDict[str, Any] = st.session_state.setdefault("kept", OrderedDict())
    value: T = kept[key] if key in kept else make()
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > 1 and sum(item.image.nbytes for item in kept.values() if isinstance(item, Picture)) > _KEPT_BYTES:
        kept.popitem(last=False)
    return value


def _annotated_jpeg(result: FrameResult) -> bytes:
    return encode_jpeg(result.picture, 95)


def _events(results: Sequence[FrameResult]) -> str:
    return "".join(event_line(result) for result in results)


def _zip(results: Sequence[FrameResult]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, result in enumerate(results, 1):
            archive.writestr(f"{number:02}-{PurePath(result.frame.source).stem}.jpg", _annotated_jpeg(result))
    return content.getvalue()
