"""Cameras on a ribbon cable (CSI), read with picamera2 on a Raspberry Pi and Argus on a Jetson."""

from __future__ import annotations

import re
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from maskedge.errors import SourceError, UsageError
from maskedge.sources.address import has_scheme, split_address
from maskedge.sources.config import SourceConfig
from maskedge.sources.kinds import LiveKind
from maskedge.system.host import host_model
from maskedge.types import Image

from .capture import Opener
from .gstreamer import gstreamer_opener

_SIZE = (640, 480)
_FPS = 30.0


class PicameraDevice:
    """A camera of a Raspberry Pi, read with picamera2.

    Args:
        number: Number of the camera, from 0.
        config: Size and rate to request.

    Raises:
        SourceError: picamera2 is missing, or the camera does not exist or is in use.
    """

    finite = False
    damaged = 0

    def __init__(self, number: int, config: SourceConfig) -> None:
        try:
            module = import_module("picamera2")
        except ImportError as error:
            raise SourceError(
                f"picamera2://{number} needs the package picamera2: sudo apt install python3-picamera2, and make the environment "
                "with --system-site-packages; or run rpicam-vid and read its tcp:// stream."
            ) from error
        self.skipped = 0
        self.warnings: list[str] = []
        self.fps = config.fps or _FPS
        size = (config.width or _SIZE[0], config.height or _SIZE[1])
        self._camera: Any = None
        try:
            self._camera = module.Picamera2(number)
            # RGB888 is BGR in memory, as OpenCV expects. Without a queue, a picture is never older
            # than the call that requests it.
            video = self._camera.create_video_configuration(
                main={"size": size, "format": "RGB888"}, controls={"FrameRate": self.fps}, queue=False
            )
            self._camera.configure(video)
            self._camera.start()
            actual = tuple(self._camera.camera_configuration()["main"]["size"])
        except (RuntimeError, IndexError, OSError) as error:
            self.close()
            raise SourceError(
                f"picamera2://{number} could not be opened ({error}): check the ribbon cable, the output of rpicam-hello "
                "--list-cameras, and that no other program uses the camera."
            ) from error
        if actual != size:
            self.warnings.append(f"picamera2://{number} delivers {actual[0]} x {actual[1]} instead of {size[0]} x {size[1]}.")

    def read(self) -> Image | None:
        """Wait for the next picture, uint8 `[H, W, 3]` BGR."""
        return np.asarray(self._camera.capture_array("main"), np.uint8)

    def close(self) -> None:
        """Release the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def argus_pipeline(number: int, config: SourceConfig) -> str:
    """Return the pipeline that reads the newest picture of CSI camera `number` of a Jetson."""
    width, height = config.width or _SIZE[0], config.height or _SIZE[1]
    return (
        f"nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),framerate={round(config.fps or _FPS)}/1 ! "
        f"nvvidconv ! video/x-raw,width={width},height={height},format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )


def _opener(uri: str, config: SourceConfig) -> Opener:
    address = split_address(uri)
    scheme, number = (address.scheme, address.rest) if address is not None else ("csi", uri)
    if not re.fullmatch(r"\d{0,9}", number, re.ASCII):
        raise UsageError(f"{scheme}://{number} does not name a camera: give its number, as in {scheme}://0.")
    if scheme == "csi":
        return _board_opener(int(number or 0), config)
    return partial(PicameraDevice, int(number or 0), config)


def _board_opener(number: int, config: SourceConfig) -> Opener:
    """Return the function that opens the CSI camera of this board.

    Raises:
        SourceError: The host is neither a Raspberry Pi nor a Jetson, or OpenCV lacks GStreamer.
    """
    board = host_model()
    if "Jetson" in board or "NVIDIA" in board:
        return gstreamer_opener(argus_pipeline(number, config), f"csi://{number}")
    if "Raspberry Pi" in board or find_spec("picamera2"):
        return partial(PicameraDevice, number, config)
    raise SourceError(
        f"csi://{number} needs a Raspberry Pi (with picamera2) or a Jetson (with the OpenCV of JetPack), and this is {board}: "
        "use --camera 0, or --source demo."
    )


KIND = LiveKind(("csi://0", "picamera2://0"), lambda uri, config: has_scheme(uri, "csi", "picamera2"), _opener)
