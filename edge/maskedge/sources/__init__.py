"""Sources of frames: cameras, streams, files and the demo clip.

`open_source` opens each of them.
"""

from __future__ import annotations

import stat

from maskedge.errors import SourceError, UsageError
from maskedge.support.text import displayable, is_utf8

from . import demo
from .address import file_path, lacks_slashes, split_address, tidy, without_password
from .base import BaseSource, Source
from .config import SourceConfig
from .demo import DemoSource
from .devices import camera, csi, gstreamer, stream
from .devices.camera import list_cameras
from .devices.capture import Opener
from .files import animation, pictures, video
from .files.paths import stat_path, to_path
from .files.pictures import PictureSource
from .files.video import VideoFileSource
from .http import kind as http
from .kinds import LiveKind, RecordedKind
from .live import LiveSource
from .replay import LoopSource, ReplaySource

__all__ = [
    "BaseSource",
    "DemoSource",
    "LiveKind",
    "LiveSource",
    "PictureSource",
    "RecordedKind",
    "Source",
    "SourceConfig",
    "VideoFileSource",
    "is_live",
    "list_cameras",
    "open_source",
    "without_password",
]

LIVE_KINDS: tuple[LiveKind, ...] = (camera.KIND, gstreamer.KIND, csi.KIND, http.KIND, stream.KIND)
"""Cameras and streams. The first kind that matches a URI opens it."""

RECORDED_KINDS: tuple[RecordedKind, ...] = (demo.KIND, pictures.KIND, animation.KIND, video.KIND)
"""Kinds of sources that have an end, in the order of the search. Live kinds are tried first."""


def open_source(source: str | SourceConfig) -> Source:
    """Open a source. Unless `wait` is set, wait for the first frame of a live source.

    Args:
        source: A URI, or a configuration with one. URIs: `demo` (the built-in clip), a camera
            (`0`, `/dev/video0`, `picamera2://0`, `csi://0`), a stream (`rtsp://`, `http://`,
            `tcp://`, `udp://`), `gst:PIPELINE`, or the path of a picture, a folder of pictures, a
            glob pattern of pictures, or a video file.

    Raises:
        SourceError: The source cannot be opened. The message names the cause and a remedy.
        UsageError: The URI has an unknown scheme, or an option does not apply to it.
    """
    config = SourceConfig(uri=source) if isinstance(source, str) else source
    uri = tidy(config.address)
    opener = _live_opener(uri, config)
    if opener is None:
        return _open_recorded(file_path(uri), config)
    if not is_utf8(uri):
        raise UsageError(
            f"the source address {displayable(without_password(uri))} is not valid UTF-8: only a file name may contain other bytes."
        )
    live = LiveSource(without_password(uri), opener, config)
    if not config.wait:
        live.open()
    return live


def is_live(config: SourceConfig) -> bool:
    """Return True for a camera or a stream, without opening it.

    Return False for a file played live.

    Raises:
        SourceError: This host cannot read that kind of source.
        UsageError: The URI is invalid or has an unknown scheme.
    """
    return _live_opener(config.address, config) is not None


def _live_opener(uri: str, config: SourceConfig) -> Opener | None:
    """Return the function that opens the camera or stream `uri`, or None for a file or the demo."""
    for kind in LIVE_KINDS:
        if kind.matches(uri, config):
            return kind.opener(uri, config)
    address = split_address(uri)
    if address is None or address.scheme == "file":
        return None
    forms = ", ".join(form for kind in LIVE_KINDS for form in kind.forms)
    raise UsageError(f"{without_password(uri)} has an unknown scheme: use {forms}, or the path of a file.")


def _open_recorded(uri: str, config: SourceConfig) -> Source:
    scheme = lacks_slashes(uri, *(form.partition("://")[0] for kind in LIVE_KINDS for form in kind.forms if "://" in form))
    if scheme:
        raise UsageError(
            f"{displayable(without_password(uri))} lacks the two slashes of an address: write {scheme}:// at its start."
        )
    kind = next((kind for kind in RECORDED_KINDS if kind.matches(uri)), None)
    if kind is None:
        path = to_path(uri)
        status = stat_path(path)
        if uri == "-" or (status is not None and stat.S_ISFIFO(status.st_mode)):
            raise SourceError(
                f"{path} is a pipe, which cannot be read: send the stream over UDP (ffmpeg -i INPUT -f mpegts "
                "udp://127.0.0.1:5000) and give udp://127.0.0.1:5000."
            )
        if status is None:
            shown = without_password(uri)
            remedy = "check the path" if shown == uri else "write an address with its scheme, as in rtsp://, or check the path"
            raise SourceError(f"there is no file or folder {path if shown == uri else shown}: {remedy}, or try --source demo.")
        raise SourceError(f"{path} is not a regular file: give a picture, a folder, a video file or a camera.")

    def make() -> Source:
        return kind.open(uri)

    if not kind.video:
        source = make()
        if config.live or config.loop:
            raise UsageError(
                f"{uri} is not a video, and only a video or the demo can be played live or in a loop: leave --live and --loop out."
            )
        return source
    source = LoopSource(make) if config.loop else make()
    if not config.live:
        return source
    live = ReplaySource(source, config.fps)
    live.open()
    return live
