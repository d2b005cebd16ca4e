"""Checks model files against their checksums and the contract (docs/contracts.md), and opens them.

Every refusal is a `ModelError` that names the broken clause.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnxruntime

from maskedge.errors import ModelError
from maskedge.support.files import read_regular
from maskedge.support.text import read_json

from .crop import CropRule
from .onnx_graph import GraphError, read_graph
from .onnx_session import create_session
from .sandbox import RUNTIME, SandboxError, try_model
from .signature import CONTRACT as CONTRACT
from .trusted import check_trusted

MODELS = Path(str(files("maskedge") / "models"))
"""Folder of the bundled models."""
_CLAUSE = 300
"""Maximum number of characters of a broken clause in a message."""
CATALOGUE = "MODELS.json"
"""Name of the file with checksums and headline figures of the models in its folder, which
`edge-export` updates."""

# Real models are far smaller, and the memory of a device is far larger.
_MAX_BYTES = 64 * 1024 * 1024
_MAX_CATALOGUE = 1024 * 1024
_REPAIR_CATALOGUE = "use another folder for the model, or install maskedge again if this is its own file."

_DIGEST_KEY = b"maskedge.sha256"
# A metadata entry in protobuf: the key, then field 2 of 64 bytes.
_DIGEST = re.compile(re.escape(_DIGEST_KEY) + rb"\x12\x40([0-9a-f]{64})")
_MOST_LABELS, _MOST_LABEL = 1000, 100
"""Maximum number of labels of a model, and of characters of a label."""
_SIDES = (8, 1024)
"""Minimum and maximum side of a classifier's crops in pixels."""
_LEAST_SIDE, _MOST_SIDE = 8, 4096
"""Minimum and maximum side of a detector's input in pixels."""
_MOST_PIXELS = 1 << 22
"""Maximum number of pixels of a detector's input."""


@dataclass(frozen=True, slots=True)
class ClassifierContract:
    """The metadata of a classifier file.

    Attributes:
        labels: The C labels, in output order.
        size: Side S of the square input crops, in pixels.
        crop: The crop of a face box.
        card: Origin and figures of the model; empty if the file has no card.
        selftest: Text of `maskedge.selftest` (`self_test.SelfTest`); None if the file has none.
        places: True if the model also locates the face in the crop.
    """

    labels: tuple[str, ...]
    size: int
    crop: CropRule
    card: dict[str, Any]
    selftest: str | None = None
    places: bool = False


@dataclass(frozen=True, slots=True)
class DetectorContract:
    """The metadata of a detector file.

    Attributes:
        labels: The labels of the faces that it finds.
        size: Width and height of the input in pixels; None for any multiples of 32.
        card: Origin and figures of the model; empty if the file has no card.
        selftest: Text of `maskedge.selftest`; None if the file has none.
    """

    labels: tuple[str, ...]
    size: tuple[int, int] | None
    card: dict[str, Any]
    selftest: str | None = None


_OTHER_FILES = {
    re.compile(rb"version https://git-lfs"): "a pointer of Git LFS: fetch the file that it stands for (git lfs pull)",
    re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE): "a web page: download the file itself",
    re.compile(rb"\s*(<\?xml[^>]*>\s*)?<opencv_storage"): "a cascade of OpenCV: give it as --cascade",
    re.compile(rb"PK\x03\x04"): "a ZIP archive, as PyTorch and Keras write: unpack it, or export the network (edge-export)",
    re.compile(rb"\x89HDF"): "a Keras file (HDF5): convert it to ONNX (tf2onnx)",
    re.compile(rb"....TFL3", re.DOTALL): "a TensorFlow Lite file: convert it to ONNX (tf2onnx)",
    re.compile(rb"\Z"): "empty (0 bytes): copy it again",
}
"""Files that are often mistaken for a model, by their first bytes."""


def read_catalogue(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the MODELS.json of `folder`.

    Returns:
        `sha256` and headline figures by file name; empty if the folder has no MODELS.json.

    Raises:
        ModelError: The file cannot be read.
    """
    path = folder / CATALOGUE
    try:
        models: Any = read_json(read_regular(path, _MAX_CATALOGUE).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({str(error)[:200]}): {_REPAIR_CATALOGUE}") from error
    if not isinstance(models, dict) or not all(isinstance(entry, dict) for entry in models.values()):
        raise ModelError(f"{path} is not a catalogue of model files: {_REPAIR_CATALOGUE}")
    return models


def default_detector() -> Path:
    """Return the path of the bundled detector."""
    return MODELS / "edgeface.onnx"


def default_model() -> Path:
    """Return the path of the bundled classifier."""
    return MODELS / "edgenet.onnx"


def content_digest(content: bytes) -> str:
    """Return the digest for `maskedge.sha256`: SHA-256 with zeros for the digits of that entry."""
    zeroed = _DIGEST.sub(_DIGEST_KEY + b"\x12\x40" + b"0" * 64, content, count=1)
    return hashlib.sha256(zeroed).hexdigest()


def origin_digest(card: Mapping[str, Any], content: bytes) -> str:
    """Return the SHA-256 of the float32 file that a model file was made from, before annotations.

    It is the same for the float32 file and its int8 file, annotated (`edge-export annotate`) or not.
    A prior makes another digest of it, because it changes the outputs.

    Args:
        card: The card of the file.
        content: The file.
    """
    quantised = card.get("quantisation")
    origin = card.get("annotated") or (quantised.get("of") if isinstance(quantised, dict) else None)
    return str(origin or hashlib.sha256(content).hexdigest())


def seal(content: bytes) -> bytes:
    """Return a model file with its own digest in place of the 64 zeros of `maskedge.sha256`."""
    digest = content_digest(content).encode("ascii")
    return _DIGEST.sub(_DIGEST_KEY + b"\x12\x40" + digest, content, count=1)


def is_sealed(content: bytes) -> bool:
    """Return True if a model file holds its own digest."""
    return _DIGEST.search(content) is not None


def is_bundled(path: Path) -> bool:
    """Return True if a file is a bundled model. `check_catalogue` compares its checksum."""
    return path.parent == MODELS and path.name in read_catalogue(MODELS)


def check_catalogue(path: Path, content: bytes) -> None:
    """Compare a file with its checksum in the MODELS.json of its folder, if it is listed there.

    Raises:
        ModelError: The checksums differ.
    """
    expected = read_catalogue(path.parent).get(path.name, {}).get("sha256")
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            f"{path} is not the file that {CATALOGUE} in its folder lists (checksum differs): copy it again, or reinstall maskedge."
        )


def read_model(path: Path) -> bytes:
    """Read a model file and compare its checksums: in the file and in MODELS.json.

    With `model.trusted_keys`, the file must be signed.

    Raises:
        ModelError: The file is missing, unreadable, too large, damaged, not the one that
            MODELS.json lists, not signed by a trusted key, or keeps weights in another file.
    """
    try:
        content = read_regular(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"there is no model file {path}: check the path.") from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read ({error.strerror}): is it the right file?") from error
    check_catalogue(path, content)
    own = _DIGEST.search(content)
    if own and own[1].decode("ascii") != content_digest(content):
        raise ModelError(f"{path} is damaged: it is not what edge-export wrote (checksum differs). Copy or export it again.")
    try:
        read_graph(content)
    except GraphError as error:
        for start, what in _OTHER_FILES.items():
            if start.match(content):
                raise ModelError(f"{path} is refused: it is not an ONNX model, but {what}.") from error
        raise ModelError(f"{path} is refused: {error} (docs/contracts.md).") from error
    check_trusted(path, content)
    return content


def open_model(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Read a model file and open it. Files that are not bundled run in the sandbox first.

    Args:
        path: The .onnx file.
        threads: Threads inside an operator.

    Raises:
        ModelError: The file is refused.
    """
    content = read_model(path)
    if not is_bundled(path):
        try:
            try_model(content)
        except SandboxError as error:
            reason = str(error)
            if reason.startswith(RUNTIME):
                raise _not_opened(str(path), reason.removeprefix(RUNTIME)) from error
            raise ModelError(f"{path} is refused: {reason} (docs/contracts.md).") from error
    return open_session(content, str(path), threads)


def open_session(content: bytes, name: str, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a model in ONNX Runtime, on the processor.

    Args:
        content: Bytes of the .onnx file.
        name: Name of the file in messages.
        threads: Threads inside an operator. One by default: the models are small, and a thread
            pool costs more than it saves.

    Raises:
        ModelError: ONNX Runtime refuses the file.
    """
    try:
        return create_session(content, threads, ["CPUExecutionProvider"])
    except Exception as error:
        raise _not_opened(name, str(error)) from error


def _not_opened(name: str, text: str) -> ModelError:
    """Return the error for a model that ONNX Runtime does not open."""
    reason = " ".join(text.split())
    if "IR version" in reason or "opset" in reason.lower():
        return ModelError(
            f"{name} needs a newer onnxruntime than the installed {onnxruntime.__version__}: upgrade onnxruntime, "
            "or export the model again with edge-export."
        )
    return ModelError(f"{name} is not an ONNX model for onnxruntime {onnxruntime.__version__}: {reason[:200].rstrip('.')}.")


def read_kind(content: bytes) -> str:
    """Return the kind of a model file by its metadata, without opening it.

    The kind is `classifier` if the metadata does not state it.

    Raises:
        GraphError: The file is not a model.
    """
    return "detector" if read_graph(content).metadata.get("maskedge.kind") == "detector" else "classifier"


def read_contract(session: onnxruntime.InferenceSession, name: str) -> ClassifierContract:
    """Check a classifier file against the contract.

    Raises:
        ModelError: The file breaks a clause; the message names the first one.
    """
    broken = _refusal(name)
    metadata = session.get_modelmeta().custom_metadata_map
    labels, card = _read_common(metadata, "classifier", broken)
    if "maskedge.crop" not in metadata:
        raise broken("its metadata has no maskedge.crop")
    try:
        crop = CropRule.from_json(metadata["maskedge.crop"])
    except (ValueError, RecursionError, OverflowError) as error:
        raise broken(f"its metadata cannot be read ({error})") from error
    if len(labels) < 2:
        raise broken("maskedge.labels must be a JSON list of two or more names")

    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [node.name for node in inputs] != ["faces"] or inputs[0].type != "tensor(uint8)":
        raise broken(f"expected one input 'faces' of uint8, got {_signature(inputs)}")
    shape = inputs[0].shape
    if len(shape) != 4 or isinstance(shape[0], int) or shape[3] != 3 or not isinstance(shape[1], int) or shape[1] != shape[2]:
        raise broken(f"the input must be [N, S, S, 3] with a free N, got {shape}")
    if not _SIDES[0] <= shape[1] <= _SIDES[1]:
        raise broken(f"the side of its crops is {_SIDES[0]} to {_SIDES[1]} pixels, got {shape[1]}")
    names = [node.name for node in outputs]
    if names not in (["probabilities"], ["probabilities", "places"]) or any(node.type != "tensor(float)" for node in outputs):
        raise broken(f"expected an output 'probabilities' of float32, and optionally 'places', got {_signature(outputs)}")
    if len(outputs[0].shape) != 2 or outputs[0].shape[1] != len(labels):
        raise broken(f"{len(labels)} labels need an output [N, {len(labels)}], got {outputs[0].shape}")
    if len(outputs) == 2 and (len(outputs[1].shape) != 2 or outputs[1].shape[1] != 4):
        raise broken(f"the output 'places' must be [N, 4], got {outputs[1].shape}")
    return ClassifierContract(labels, shape[1], crop, card, metadata.get("maskedge.selftest"), places=len(outputs) == 2)


def read_detector_contract(session: onnxruntime.InferenceSession, name: str) -> DetectorContract:
    """Check a detector file against the contract.

    Raises:
        ModelError: The file breaks a clause; the message names the first one.
    """
    broken = _refusal(name)
    labels, card = _read_common(session.get_modelmeta().custom_metadata_map, "detector", broken)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [node.name for node in inputs] != ["frame"] or inputs[0].type != "tensor(uint8)":
        raise broken(f"expected one input 'frame' of uint8, got {_signature(inputs)}")
    shape = inputs[0].shape
    fixed = [isinstance(side, int) for side in shape]
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or fixed[1] != fixed[2]:
        raise broken(f"the input must be [1, H, W, 3] with H and W both fixed or both free, got {shape}")
    if fixed[1] and not (min(shape[1:3]) >= _LEAST_SIDE and max(shape[1:3]) <= _MOST_SIDE and shape[1] * shape[2] <= _MOST_PIXELS):
        raise broken(f"its input has sides of {_LEAST_SIDE} to {_MOST_SIDE} pixels and {_MOST_PIXELS:,} in all, got {shape}")
    if [node.name for node in outputs] != ["boxes", "scores"] or any(node.type != "tensor(float)" for node in outputs):
        raise broken(f"expected the outputs 'boxes' and 'scores' of float32, got {_signature(outputs)}")
    boxes, scores = (node.shape for node in outputs)
    if len(boxes) != 2 or boxes[1] != 4 or isinstance(boxes[0], int) or len(scores) != 1 or isinstance(scores[0], int):
        raise broken(f"the outputs must be [K, 4] and [K] with a free K, got {boxes} and {scores}")
    selftest = session.get_modelmeta().custom_metadata_map.get("maskedge.selftest")
    return DetectorContract(labels, (shape[2], shape[1]) if fixed[1] else None, card, selftest)


def _refusal(name: str) -> Callable[[str], ModelError]:
    def refuse(clause: str) -> ModelError:
        short = clause if len(clause) <= _CLAUSE else clause[:_CLAUSE] + "..."
        return ModelError(
            f"{name} breaks the model contract: {short}. edge-export writes valid files: from a checkpoint of edge-train, or, "
            "with edge-export adopt, from a classifier of another maker (docs/contracts.md)."
        )

    return refuse


def _read_common(
    metadata: dict[str, str], kind: str, broken: Callable[[str], ModelError]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Check the metadata of all kinds of files; return labels and card."""
    for key in ("maskedge.contract", "maskedge.kind", "maskedge.labels"):
        if key not in metadata:
            raise broken(f"its metadata has no {key}")
    if metadata["maskedge.contract"] != CONTRACT:
        raise broken(f"its contract version is {metadata['maskedge.contract']!r}, this runtime reads {CONTRACT!r}")
    if metadata["maskedge.kind"] != kind:
        raise broken(f"its kind is {metadata['maskedge.kind']!r}, expected {kind!r}")
    try:
        labels = read_json(metadata["maskedge.labels"])
        card = read_json(metadata.get("maskedge.card", "{}"))
    except ValueError as error:
        raise broken(f"its metadata cannot be read ({error})") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) and label for label in labels):
        raise broken("maskedge.labels must be a JSON list of names")
    if len(labels) > _MOST_LABELS or not all(len(label) <= _MOST_LABEL and label.isprintable() for label in labels):
        raise broken(f"maskedge.labels has {_MOST_LABELS:,} names at most, of {_MOST_LABEL} printable characters at most")
    if len(set(labels)) != len(labels):
        raise broken("maskedge.labels names a label twice")
    if not isinstance(card, dict):
        raise broken("maskedge.card must be a JSON object")
    bound = card.get("unsure_below", 0.0)
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound <= 1):
        raise broken("unsure_below of maskedge.card must be a number from 0 to 1")
    prior = card.get("prior", {})
    if not isinstance(prior, dict) or not all(isinstance(own, int | float) and not isinstance(own, bool) for own in prior.values()):
        raise broken("prior of maskedge.card must map labels to numbers")
    if not _are_operating_points(card.get("operating_points", {})):
        raise broken("operating_points of maskedge.card must map detectors, domains and names to thresholds from 0 to 1")
    return tuple(labels), card


def _are_operating_points(detectors: Any) -> bool:
    """Return True if a value has the shape of `vision.operating_points`."""
    if not isinstance(detectors, dict) or not all(isinstance(domains, dict) for domains in detectors.values()):
        return False
    measured = [domain for domains in detectors.values() for domain in domains.values()]
    if not all(isinstance(domain, dict) and isinstance(domain.get("points"), dict) for domain in measured):
        return False
    thresholds = [threshold for domain in measured for threshold in domain["points"].values()]
    return all(isinstance(own, int | float) and not isinstance(own, bool) and 0 <= own <= 1 for own in thresholds)


def _signature(nodes: list[Any]) -> str:
    return ", ".join(f"{node.name!r} {node.type}" for node in nodes) or "none"
