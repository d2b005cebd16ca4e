"""V4L2 cameras: USB cameras, and CSI cameras with an old driver."""

from __future__ import annotations

import os
import re
import stat
import sys
from functools import partial
from pathlib import Path

import cv2

from maskedge.errors import SourceError
from maskedge.settings import shown
from maskedge.sources.config import SourceConfig
from maskedge.sources.kinds import LiveKind

from .capture import CaptureDevice, Opener

_PAUSE = 0.03
"""Pause in seconds after a failed read, because the driver of a camera does not wait."""


def list_cameras() -> list[str]:
    """List the video devices of this host, such as `/dev/video0 (HD Webcam)`."""
    cameras = []
    for device in sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name)):
        label = Path("/sys/class/video4linux") / device.name / "name"
        try:
            cameras.append(f"{device} ({label.read_text(encoding='utf-8').strip()})")
        except OSError:
            cameras.append(str(device))
    return cameras


def open_camera(device: str, config: SourceConfig) -> CaptureDevice:
    """Open a V4L2 camera.

    Args:
        device: Number of the camera, or its path (`/dev/video0`, `/dev/v4l/by-id/..`, a udev link).
        config: Size, rate and pixel format to request.

    Raises:
        SourceError: The camera cannot be opened. The message lists the existing devices.
    """
    # A link is resolved at every attempt, because its target may change when the camera returns.
    number = re.fullmatch(r"(?:/dev/video)?(\d{1,9})", os.path.realpath(device) if device.startswith("/") else device)
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    capture = cv2.VideoCapture(int(number[1]) if number else device, backend)
    if capture.isOpened():
        warnings = _configure(capture, device, config)
        camera = CaptureDevice(capture, pause=_PAUSE, read_timeout=config.stall_timeout or 30.0)
        camera.warnings = warnings
        if camera.begin():
            return camera
    capture.release()
    if number is None and not _is_character_device(device) and not device.startswith("/"):
        raise SourceError(
            f"{shown(device)} is no camera: --camera takes a number or a device such as /dev/video0; a file or the demo is given "
            "with --source."
        )
    found = list_cameras()
    exists = f"video devices of this host: {', '.join(found)}" if found else "this host has no video device"
    raise SourceError(
        f"camera {device} could not be opened; {exists}. Check the cable, that no other program uses the camera, and its number; "
        "or use --source FILE or --source demo."
    )


def _configure(capture: cv2.VideoCapture, device: str, config: SourceConfig) -> list[str]:
    """Request format, size and rate from a camera. Return a warning for each difference."""
    # V4L2 requires this order. The available sizes depend on the format, and the available rates on
    # both.
    if config.fourcc is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc))
    if config.width is not None and config.height is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
    if config.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, config.fps)
    # A short queue keeps the delay short. With two buffers, the driver fills one while the other is
    # decoded. With one buffer, it would miss every second frame.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
    warnings = []
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    fourcc = code.to_bytes(4, "little").decode("latin-1") if code > 0 else "?"
    if config.fourcc is not None and fourcc != config.fourcc:
        warnings.append(f"camera {device} delivers the format {fourcc.strip()} instead of {config.fourcc}.")
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if config.width is not None and size != (config.width, config.height):
        warnings.append(f"camera {device} delivers {size[0]} x {size[1]} instead of {config.width} x {config.height}.")
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    if config.fps is not None and abs(fps - config.fps) > 0.5:
        warnings.append(f"camera {device} delivers {fps:g} frames/s instead of {config.fps:g}.")
    return warnings


def _is_character_device(path: str) -> bool:
    """Return True for a character device, such as a camera, and for a link to one."""
    try:
        return stat.S_ISCHR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _matches(uri: str, config: SourceConfig) -> bool:
    """Match numbers, character devices, and any value of `camera` without a scheme."""
    if config.camera is not None:
        return not re.match(r"gst:|[a-z][a-z0-9+.-]*://", uri)
    return bool(re.fullmatch(r"\d{1,9}|/dev/(?:video|v4l/).+", uri, re.ASCII)) or _is_character_device(uri)


def _opener(uri: str, config: SourceConfig) -> Opener:
    return partial(open_camera, uri, config)


KIND = LiveKind(("a camera number", "/dev/video0"), _matches, _opener)
