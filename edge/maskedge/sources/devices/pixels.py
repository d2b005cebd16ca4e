"""Conversion of pictures from cameras and pipelines to 8-bit BGR."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np

from maskedge.errors import SourceError
from maskedge.types import Image

_FORMAT = re.compile(r"\bformat\s*=\s*(?:\(\w+\)\s*)?[\"']?([A-Za-z0-9_]+)")
_REMEDY = "end the pipeline in '! videoconvert ! video/x-raw,format=BGR ! appsink'"
# Conversions by GStreamer's name of the format. Without a name, the layout is that of OpenCV.
_CODES = {
    "GRAY8": cv2.COLOR_GRAY2BGR, "RGB": cv2.COLOR_RGB2BGR,
    "BGRX": cv2.COLOR_BGRA2BGR, "BGRA": cv2.COLOR_BGRA2BGR, "RGBX": cv2.COLOR_RGBA2BGR, "RGBA": cv2.COLOR_RGBA2BGR,
    "YUY2": cv2.COLOR_YUV2BGR_YUY2, "UYVY": cv2.COLOR_YUV2BGR_UYVY, "YVYU": cv2.COLOR_YUV2BGR_YVYU,
    "I420": cv2.COLOR_YUV2BGR_I420, "YV12": cv2.COLOR_YUV2BGR_YV12,
    "NV12": cv2.COLOR_YUV2BGR_NV12, "NV21": cv2.COLOR_YUV2BGR_NV21,
}  # fmt: skip
_PLANAR = ("I420", "YV12", "NV12", "NV21")
_CHANNELS = {"BGR": 3, "RGB": 3, "YUY2": 2, "UYVY": 2, "YVYU": 2, "GRAY8": 1, **dict.fromkeys(_PLANAR, 1)}
_BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
_DEPTHS = (10, 12, 14, 16)
"""Bit depths that sensors deliver in 16-bit values."""


class PixelConverter:
    """Converts the pictures of one device to uint8 `[H, W, 3]` BGR.

    Sensors of 10 to 14 bits deliver 16-bit values whose high bits are 0. The scale depends on the
    greatest value so far, so that the brightness does not jump from one picture to the next.

    Args:
        pipeline: A GStreamer pipeline; empty for other devices. Its last `format=` is the format.
        height: Height in pixels that the device reports; 0 if it does not. A planar YUV picture has
            1.5 times as many rows.
    """

    def __init__(self, pipeline: str = "", height: int = 0) -> None:
        formats = _FORMAT.findall(pipeline)
        self.format = formats[-1].upper() if formats else ""
        self._height = height
        self._bits = _DEPTHS[0]
        self._scale = 1.0

    def convert(self, image: Any) -> Image | None:
        """Convert a picture.

        Args:
            image: A picture from OpenCV with any depth and one to four channels, in YUV, or a whole
                JPEG file.

        Returns:
            uint8 `[H, W, 3]` BGR, or None if the array does not hold a picture.

        Raises:
            SourceError: The pixel format is not supported. The message names the format and the
                remedy.
        """
        if not isinstance(image, np.ndarray) or image.size == 0 or image.ndim not in (2, 3):
            return None
        if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and self.format != "RGB":
            return image
        if image.dtype == np.uint8 and 1 in image.shape[:2] and image.tobytes()[:3] == b"\xff\xd8\xff":
            decoded = cv2.imdecode(image.reshape(-1), cv2.IMREAD_COLOR)
            return None if decoded is None else np.asarray(decoded, np.uint8)
        pixels = self._to_8_bits(image)
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        if channels == 1:
            return self._from_one(pixels.reshape(pixels.shape[:2]))
        code = _CODES.get(self.format if _CHANNELS.get(self.format, 4) == channels else {4: "BGRX"}.get(channels, ""))
        if channels == 3 and code is None:
            return np.asarray(pixels, np.uint8)
        if code is None:
            raise self._refusal(f"pictures of {channels} channels{self._named()}")
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)

    def _from_one(self, pixels: Image) -> Image:
        rows, columns = pixels.shape
        if self.format in _BAYER:
            raise self._refusal(f"raw pixels of a Bayer sensor ({self.format.lower()})")
        planar = self.format in _PLANAR
        if planar or (self._height and rows * 2 == self._height * 3):
            if not planar:
                raise self._refusal("planar YUV without the name of its format")
            if rows % 3 or columns % 2:
                raise self._refusal(f"{self.format} of an odd size, {columns} x {rows * 2 // 3}")
            return np.asarray(cv2.cvtColor(pixels, _CODES[self.format]), np.uint8)
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8)

    def _to_8_bits(self, image: Any) -> Image:
        if image.dtype == np.uint8:
            return np.ascontiguousarray(image)
        if image.dtype.kind == "f":
            return self._from_float(image)
        if image.dtype.kind not in "ui" or image.dtype.itemsize != 2:
            raise self._refusal(f"pictures of {image.dtype.name}")
        if self.format.endswith("_BE"):
            image = image.byteswap()
        image = np.maximum(image, 0)
        peak = int(image.max())
        self._bits = max(self._bits, next(bits for bits in _DEPTHS if peak < 1 << bits))
        return np.asarray(image >> (self._bits - 8), np.uint8)

    def _from_float(self, image: Any) -> Image:
        """Scale floats of the range 0 to 1, 0 to 255 or 0 to 65535 to 8 bits."""
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
        peak = float(image.max())
        full = next((full for full in (1.0, 255.0, 65535.0) if peak <= full), None)
        if full is None:
            raise self._refusal(f"values up to {peak:g}")
        self._scale = max(self._scale, full)
        return np.asarray(np.clip(image * (255.0 / self._scale), 0, 255), np.uint8)

    def _named(self) -> str:
        return f" ({self.format})" if self.format else ""

    def _refusal(self, what: str) -> SourceError:
        return SourceError(f"the camera delivers {what}, which is not supported: {_REMEDY}.")
