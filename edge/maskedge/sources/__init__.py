"""Where frames come from: one syntax for all of it."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from maskedge.errors import SourceError, UsageError
from maskedge.sources.files.animation import AnimationSource
from maskedge.sources.files.containers import is_animated_webp
from maskedge.sources.files.pictures import PictureSource
from maskedge.sources.files.video import VideoFileSource, holds_video
from maskedge.sources.http.camera import open_http
from maskedge.support.files import is_file
from maskedge.support.pictures import is_picture, list_pictures, natural_key
from maskedge.support.text import displayable, is_utf8

from .address import STREAMS, file_path, split_address, tidy, without_password
from .base import BaseSource, Source
from .config import SourceConfig
from .csi import PicameraDevice, csi_opener
from .demo import DemoSource
from .devices import Opener, check_pipeline, is_character_device, list_cameras, open_camera, open_gstreamer, open_stream
from .live import LiveSource
from .replay import LoopSource, ReplayDevice

__all__ = [
    "BaseSource",
    "DemoSource",
    "LiveSource",
    "PictureSource",
    "Source",
    "SourceConfig",
    "VideoFileSource",
    "is_live",
    "list_cameras",
    "open_source",
    "without_password",
]


def open_source(source: str | SourceConfig) -> Source:
    """Open a source. A live one has given its first frame when this returns, unless it is configured to be waited for.

    Args:
        source: An address, or all that is to be said about it. Addresses: `demo` (the built-in clip), a camera (`0`, `/dev/video0`,
            `picamera2://0`, `csi://0`), a stream (`rtsp://`, `http://`, `tcp://`, `udp://`), `gst:PIPELINE`, or a path: a picture,
            a folder of pictures, a glob pattern of pictures, a video file.

    Raises:
        SourceError: It cannot be opened; the text says why and what to try.
        UsageError: There is no such kind of address, or an option does not go with it.
    """
    config = SourceConfig(uri=source) if isinstance(source, str) else source
    uri = tidy(config.address)
    opener = _live_opener(uri, config)
    if opener is not None and not is_utf8(uri):
        raise UsageError(f"the address {displayable(without_password(uri))} is no UTF-8: only names of files may be so.")
    if opener is None:
        return _open_file(file_path(uri), config)
    live = LiveSource(without_password(uri), opener, config)
    if not config.wait:
        live.open()
    return live


def is_live(config: SourceConfig) -> bool:
    """Tell whether a source is a camera or a stream, without opening it: files and the demo are not, however they are played.

    Raises:
        UsageError: There is no such kind of address.
    """
    return _live_opener(config.address, config) is not None


def _live_opener(uri: str, config: SourceConfig) -> Opener | None:
    """Give what opens the camera or stream `uri`; None where it is a file or the like."""
    if _is_camera(uri, config):
        return partial(open_camera, uri, config)
    if uri.startswith("gst:"):
        pipeline, name = uri.removeprefix("gst:"), without_password(uri)
        check_pipeline(pipeline, name)
        return partial(open_gstreamer, pipeline, name)
    address = split_address(uri)
    if address is None or address.scheme == "file":
        return None
    scheme, rest = address.scheme, address.rest
    if scheme in ("csi", "picamera2"):
        if not re.fullmatch(r"\d{0,9}", rest, re.ASCII):
            raise UsageError(f"{scheme}://{rest} names no camera: give its number, as in {scheme}://0.")
        number = int(rest or 0)
        return csi_opener(number, config) if scheme == "csi" else partial(PicameraDevice, number, config)
    if scheme not in STREAMS:
        known = ", ".join(f"{name}://" for name in STREAMS)
        raise UsageError(f"{without_password(uri)} is of an unknown kind: known are {known}, csi://, picamera2://, gst: and paths.")
    return partial(open_http if scheme in ("http", "https") else open_stream, uri, config)


def _is_camera(uri: str, config: SourceConfig) -> bool:
    """Tell whether V4L2 is asked: for whatever `camera` names without a scheme, for numbers, and for character devices."""
    if config.camera is not None:
        return not re.match(r"gst:|[a-z][a-z0-9+.-]*://", uri)
    return bool(re.fullmatch(r"\d{1,9}|/dev/(?:video|v4l/).+", uri, re.ASCII)) or is_character_device(uri)


def _open_file(uri: str, config: SourceConfig) -> Source:
    """Open the demo, pictures or a video file."""
    make: Callable[[], Source] = DemoSource
    if uri != "demo":
        path = Path(uri).expanduser()
        pictures = _pictures(uri, path)
        if pictures is not None:
            if config.live or config.loop:
                raise UsageError(f"{uri} holds pictures: only a video or the demo can be played live or in a loop.")
            return PictureSource(uri, pictures)
        make = partial(AnimationSource if is_animated_webp(path) else VideoFileSource, path)
    source = LoopSource(make) if config.loop else make()
    if not config.live:
        return source
    # What is played is no camera: it neither hangs nor is lost.
    calm = SourceConfig(uri=uri, stall_timeout=0, frozen_timeout=0)
    fps = config.fps or source.fps
    live = LiveSource(source.name, lambda: ReplayDevice(source, fps), calm)
    live.open()
    return live


def _pictures(uri: str, path: Path) -> list[Path] | None:
    """List the pictures that a path or pattern means; None where it is another kind of file."""
    facts = _facts(path)
    if facts is not None and stat.S_ISDIR(facts.st_mode):
        try:
            pictures = list_pictures(path)
        except OSError as error:
            raise SourceError(f"the folder {path} cannot be read ({error.strerror}): check its permissions.") from error
        if not pictures:
            raise SourceError(f"the folder {path} holds no picture: give a folder of pictures, or a video file.")
        return pictures
    if facts is None and glob.has_magic(uri):
        matches = sorted((Path(match) for match in glob.glob(str(path), recursive=True)), key=natural_key)  # noqa: PTH207  (absolute patterns)
        files = [match for match in matches if is_file(match) and is_picture(match)]
        if not files and matches:
            raise SourceError(
                f"{uri} matches {len(matches)} names, and no picture: give videos one by one, or one folder of pictures."
            )
        if not files:
            raise SourceError(f"no picture matches {uri}: check the pattern (quote it, so that the shell leaves it alone).")
        return files
    if facts is None:
        raise SourceError(f"there is no file or folder {path}: check the path, or try --source demo.")
    if not stat.S_ISREG(facts.st_mode):
        raise SourceError(f"{path} is no regular file: give a picture, a folder, a video file or a camera.")
    return [path] if is_picture(path) and not holds_video(path) else None


def _facts(path: Path) -> os.stat_result | None:
    """Give what the system knows of a path; None where nothing is there.

    Raises:
        SourceError: It may not be looked at, or cannot be: a folder that may not be entered, a name that is too long.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SourceError(f"{displayable(path)} cannot be read ({error.strerror}): check the path and its permissions.") from error
