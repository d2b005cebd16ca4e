"""Opens a model file: checksum, contract, session options. Every refusal is a sentence that says which clause was broken."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import onnxruntime

from maskedge.crop import CropRule
from maskedge.errors import ModelError

CONTRACT = "1"
"""Version of the contract between a model file and the runtime (docs/contracts.md)."""

MODELS = Path(str(files("maskedge") / "models"))
"""Folder of the bundled models."""
CATALOGUE = "MODELS.json"
"""Name of the file that lists checksum and headline figures of the models beside it. `edge-export` keeps it up to date."""

# Far above any model of ours, far below what would eat a device's memory before it is found to be the wrong file.
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClassifierContract:
    """What a classifier file says of itself.

    Attributes:
        labels: The C labels, in output order.
        size: Side S of the square input crops, in pixels.
        crop: How a face box becomes a crop.
        card: Where the model comes from and how it was measured; empty when the file carries no card.
    """

    labels: tuple[str, ...]
    size: int
    crop: CropRule
    card: dict[str, Any]


def read_catalogue(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the MODELS.json of `folder`: file name to `sha256` and headline figures. Empty where there is none.

    Raises:
        ModelError: It cannot be read.
    """
    path = folder / CATALOGUE
    try:
        models: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(entry) for name, entry in models.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): remove it, or install maskedge again.") from error


def default_model() -> Path:
    """Path of the bundled classifier."""
    return MODELS / "edgenet.onnx"


def read_model(path: Path) -> bytes:
    """Read a model file and, where a MODELS.json beside it lists it, compare its checksum.

    Raises:
        ModelError: The file is missing, unreadable, too large, or not the one that MODELS.json lists.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ModelError(f"{path} has {size / 1e6:.0f} MB; a classifier has a few at most: is it the right file?")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"there is no model file {path}: check the path, or leave --model out to use the bundled model."
        ) from error
    except OSError as error:
        raise ModelError(f"the model file {path} cannot be read ({error.strerror}).") from error
    expected = read_catalogue(path.parent).get(path.name, {}).get("sha256")
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            f"{path} is not the file that {CATALOGUE} beside it lists (checksum differs): copy it again, or install maskedge again."
        )
    return content


def open_session(content: bytes, name: str, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a model in ONNX Runtime.

    Args:
        content: Bytes of the .onnx file.
        name: What to call the file in a refusal.
        threads: Threads inside an operator. One by default: the models are small, and a pool that spins between frames
            costs more than it gives.

    Raises:
        ModelError: ONNX Runtime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # its refusals become our sentence
    try:
        return onnxruntime.InferenceSession(content, options, providers=_providers())
    except Exception as error:
        reason = " ".join(str(error).split())
        if "IR version" in reason or "opset" in reason.lower():
            raise ModelError(
                f"{name} needs a newer onnxruntime than the installed {onnxruntime.__version__}: upgrade onnxruntime, "
                "or export the model again with edge-export."
            ) from error
        raise ModelError(f"{name} is no ONNX model that onnxruntime {onnxruntime.__version__} can open: {reason[:200]}") from error


def _providers() -> list[str]:
    """Choose the execution providers: a GPU's where the installed onnxruntime has one, the CPU's always last."""
    available = onnxruntime.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def read_contract(session: onnxruntime.InferenceSession, name: str) -> ClassifierContract:
    """Check a classifier file against the contract.

    Raises:
        ModelError: The first clause that the file breaks.
    """

    def broken(clause: str) -> ModelError:
        return ModelError(f"{name} breaks the model contract: {clause}. Export it again with edge-export (docs/contracts.md).")

    metadata = session.get_modelmeta().custom_metadata_map
    for key in ("maskedge.contract", "maskedge.kind", "maskedge.labels", "maskedge.crop"):
        if key not in metadata:
            raise broken(f"its metadata has no {key}")
    if metadata["maskedge.contract"] != CONTRACT:
        raise broken(f"its contract version is {metadata['maskedge.contract']!r}, this runtime reads {CONTRACT!r}")
    if metadata["maskedge.kind"] != "classifier":
        raise broken(f"its kind is {metadata['maskedge.kind']!r}, expected 'classifier'")
    try:
        labels = json.loads(metadata["maskedge.labels"])
        crop = CropRule.from_json(metadata["maskedge.crop"])
        card = json.loads(metadata.get("maskedge.card", "{}"))
    except ValueError as error:
        raise broken(f"its metadata cannot be read ({error})") from error
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) and label for label in labels):
        raise broken("maskedge.labels must be a JSON list of two or more names")
    if len(set(labels)) != len(labels):
        raise broken("maskedge.labels names a label twice")
    if not isinstance(card, dict):
        raise broken("maskedge.card must be a JSON object")

    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [node.name for node in inputs] != ["faces"] or inputs[0].type != "tensor(uint8)":
        raise broken(f"expected one input 'faces' of uint8, got {_signature(inputs)}")
    shape = inputs[0].shape
    if len(shape) != 4 or isinstance(shape[0], int) or shape[3] != 3 or not isinstance(shape[1], int) or shape[1] != shape[2]:
        raise broken(f"the input must be [N, S, S, 3] with a free N, got {shape}")
    if [node.name for node in outputs] != ["probabilities"] or outputs[0].type != "tensor(float)":
        raise broken(f"expected one output 'probabilities' of float32, got {_signature(outputs)}")
    if len(outputs[0].shape) != 2 or outputs[0].shape[1] != len(labels):
        raise broken(f"{len(labels)} labels need an output [N, {len(labels)}], got {outputs[0].shape}")
    return ClassifierContract(tuple(labels), shape[1], crop, card)


def _signature(nodes: list[Any]) -> str:
    return ", ".join(f"{node.name!r} {node.type}" for node in nodes) or "none"
