"""Network streams, read with FFmpeg."""

from __future__ import annotations

import os
import time
from functools import partial

import cv2

from maskedge.errors import SourceError
from maskedge.sources.address import PERCENT_HINT, check_stream, has_scheme, split_address, without_password
from maskedge.sources.config import SourceConfig
from maskedge.sources.kinds import LiveKind

from .capture import CaptureDevice, Opener

_SCHEMES = ("rtsp", "rtsps", "tcp", "udp", "rtp", "rtmp", "srt")
_RAW = "analyzeduration;500000|rtsp_flags;prefer_tcp"
"""FFmpeg options for video without a container. By default, FFmpeg would analyse 5 s of it before
the first frame. The second option is OpenCV's default, which these options would replace."""


def open_stream(uri: str, config: SourceConfig, kind: type[CaptureDevice] = CaptureDevice) -> CaptureDevice:
    """Open a network stream with FFmpeg.

    Args:
        uri: An address with a scheme that FFmpeg reads, such as `rtsp://` or `tcp://`.
        config: Timeouts of the stream.
        kind: Class of the device to create.

    Raises:
        SourceError: The stream cannot be opened.
        UsageError: The address is ambiguous.
    """
    address = split_address(uri)
    full = uri if address is None else address.full
    if full.startswith("tcp://"):
        # OpenCV reads this option only from the environment. The option is set once and kept,
        # because it does not harm other streams, and because changing the environment is not safe
        # while other threads read it. A value set by the user is kept too.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _RAW)
    start = time.monotonic()
    name = without_password(full)
    stream = open_ffmpeg(full, config, kind)
    if stream is not None:
        if full.startswith("http") and stream.length > 0:
            stream.close()
            raise SourceError(f"{name} is a file of {stream.length} frames, not a live stream: download it and give its path.")
        if config.width or config.fps or config.fourcc:
            stream.warnings.append(ignored_options(name))
        if full.startswith("rtsps:"):
            stream.warnings.append(
                f"the certificate of {name} is not verified: the connection is encrypted, but may lead to another server."
            )
        return stream
    late = f" within {config.open_timeout:g} s" if time.monotonic() - start >= config.open_timeout else ""
    lacking = "SRT" if full.startswith("srt:") else "DASH" if ".mpd" in full else ""
    if lacking:
        raise SourceError(
            f"the stream {name} could not be opened{late}: check that the camera is running; the OpenCV of PyPI cannot read "
            f"{lacking}, so use another address of the camera, or relay the stream "
            "(ffmpeg -i ADDRESS -c copy -f mpegts udp://127.0.0.1:5000) and give udp://127.0.0.1:5000."
        )
    hint = f"; {PERCENT_HINT}" if address is not None and (address.doubtful or address.user) else ""
    raise SourceError(
        f"the stream {name} could not be opened{late}: check the address, the name and password, and that the camera is running"
        f"{hint}."
    )


def open_ffmpeg(address: str, config: SourceConfig, kind: type[CaptureDevice] = CaptureDevice) -> CaptureDevice | None:
    """Open an address with FFmpeg, and discard frames up to the newest.

    Args:
        address: An address or file name for FFmpeg, with its secrets.
        config: Its timeouts.
        kind: Class of the device to create.

    Returns:
        The device, or None if FFmpeg finds no picture.
    """
    # This timeout is longer than that of the watchdog, which abandons a waiting thread. The timeout
    # then ends the thread.
    read_timeout = (config.stall_timeout or 30.0) + 1.0
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(config.open_timeout * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(read_timeout * 1000),
        # Each further thread of FFmpeg would delay the frames by one frame.
        cv2.CAP_PROP_N_THREADS, 1,
    ]  # fmt: skip
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
    if capture.isOpened():
        stream = kind(capture, read_timeout=config.stall_timeout or 30.0)
        # The caller refuses a file on a web server by its length. Reading its frames first would
        # take long.
        if (stream.length > 0 and address.startswith("http")) or stream.catch_up():
            return stream
    capture.release()
    return None


def ignored_options(name: str) -> str:
    """Return the warning that a stream ignores `width`, `fps` and `fourcc`."""
    return f"the camera sets size, rate and format of the stream {name}: width, height, fps and fourcc are ignored."


def _opener(uri: str, config: SourceConfig) -> Opener:
    check_stream(uri)  # refuses what cannot work before a thread opens it
    return partial(open_stream, uri, config)


KIND = LiveKind(tuple(f"{scheme}://" for scheme in _SCHEMES), lambda uri, config: has_scheme(uri, *_SCHEMES), _opener)
