"""Cameras on the ribbon cable: picamera2 on a Raspberry Pi, Argus on a Jetson."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from maskedge.errors import SourceError
from maskedge.system.host import host_model
from maskedge.types import Image

from .config import SourceConfig
from .devices import Opener, check_pipeline, open_gstreamer

_SIZE = (640, 480)
_FPS = 30.0


class PicameraDevice:
    """A camera of a Raspberry Pi, through picamera2.

    Args:
        number: Of the camera, from 0.
        config: Size and rate to ask for.

    Raises:
        SourceError: picamera2 is missing, or there is no such camera, or it is in use.
    """

    finite = False
    damaged = 0

    def __init__(self, number: int, config: SourceConfig) -> None:
        try:
            module = import_module("picamera2")
        except ImportError as error:
            raise SourceError(
                f"picamera2://{number} needs picamera2, which is missing: sudo apt install python3-picamera2, and make the "
                "environment with --system-site-packages; or run rpicam-vid and read its tcp:// stream."
            ) from error
        self.skipped = 0
        self.warnings: list[str] = []
        self.fps = config.fps or _FPS
        size = (config.width or _SIZE[0], config.height or _SIZE[1])
        self._camera: Any = None
        try:
            self._camera = module.Picamera2(number)
            # RGB888 is BGR in memory, as OpenCV wants it. Without a queue a picture is never older than the call for it.
            video = self._camera.create_video_configuration(
                main={"size": size, "format": "RGB888"}, controls={"FrameRate": self.fps}, queue=False
            )
            self._camera.configure(video)
            self._camera.start()
            got = tuple(self._camera.camera_configuration()["main"]["size"])
        except (RuntimeError, IndexError, OSError) as error:
            self.close()
            raise SourceError(
                f"picamera2://{number} could not be opened ({error}): check the ribbon cable, rpicam-hello --list-cameras, "
                "and who else uses the camera."
            ) from error
        if got != size:
            self.warnings.append(f"picamera2://{number} gives {got[0]} x {got[1]} instead of {size[0]} x {size[1]}.")

    def read(self) -> Image | None:
        """Wait for the next picture."""
        return np.asarray(self._camera.capture_array("main"), np.uint8)

    def close(self) -> None:
        """Let go of the camera."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


def csi_opener(number: int, config: SourceConfig) -> Opener:
    """Give what opens the CSI camera of whatever board this is.

    Raises:
        SourceError: It is no such board, or what the board needs is missing.
    """
    board = host_model()
    if "Jetson" in board or "NVIDIA" in board:
        pipeline, name = argus_pipeline(number, config), f"csi://{number}"
        check_pipeline(pipeline, name)
        return partial(open_gstreamer, pipeline, name)
    if "Raspberry Pi" in board or find_spec("picamera2"):
        return partial(PicameraDevice, number, config)
    raise SourceError(
        f"csi://{number} needs a Raspberry Pi (with picamera2) or a Jetson (with the OpenCV of JetPack), and this is {board}: "
        "use --camera 0, or --source demo."
    )


def argus_pipeline(number: int, config: SourceConfig) -> str:
    """Give the pipeline that reads CSI camera `number` of a Jetson; only its newest picture is kept."""
    width, height = config.width or _SIZE[0], config.height or _SIZE[1]
    return (
        f"nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),framerate={round(config.fps or _FPS)}/1 ! "
        f"nvvidconv ! video/x-raw,width={width},height={height},format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false"
    )
