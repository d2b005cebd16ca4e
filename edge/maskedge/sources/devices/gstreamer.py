"""GStreamer pipelines, read with an OpenCV that is built with GStreamer."""

from __future__ import annotations

from functools import partial

import cv2

from maskedge.errors import SourceError, UsageError
from maskedge.sources.address import without_password
from maskedge.sources.config import SourceConfig
from maskedge.sources.kinds import LiveKind

from .capture import CaptureDevice, Opener
from .pixels import PixelConverter

_SCHEME = "gst:"


def gstreamer_opener(pipeline: str, name: str) -> Opener:
    """Check a GStreamer pipeline, and return the function that opens it.

    Args:
        pipeline: As for `gst-launch-1.0`, with an `appsink` at its end.
        name: Name of the pipeline in messages, without secrets.

    Raises:
        SourceError: OpenCV is built without GStreamer.
        UsageError: The pipeline has no `appsink`.
    """
    if "appsink" not in pipeline:
        raise UsageError(
            f"{name} has no appsink, so it delivers no pictures: end it in '! videoconvert ! video/x-raw,format=BGR ! appsink'."
        )
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SourceError(
            f"{name} needs an OpenCV with GStreamer, which the PyPI packages lack: use the system's (python3-opencv, or the one of "
            "JetPack) in an environment made with --system-site-packages."
        )
    return partial(_open_pipeline, pipeline, name)


def _open_pipeline(pipeline: str, name: str) -> CaptureDevice:
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    converter = PixelConverter(pipeline, round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    device = CaptureDevice(capture, converter=converter)
    if capture.isOpened() and device.begin():
        return device
    capture.release()
    raise SourceError(f"{name} does not run: try it with gst-launch-1.0, with fakesink in place of appsink.")


def _opener(uri: str, config: SourceConfig) -> Opener:
    return gstreamer_opener(uri.removeprefix(_SCHEME), without_password(uri))


KIND = LiveKind(("gst:PIPELINE",), lambda uri, config: uri.startswith(_SCHEME), _opener)
