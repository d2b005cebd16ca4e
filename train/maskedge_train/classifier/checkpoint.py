"""Checkpoints of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from maskedge.errors import ModelError, UsageError
from maskedge.modelfile.crop import CropRule
from maskedge_train.shared.checkpoint import Card, check_weights, checkpoint_kind, read_checkpoint, write_checkpoint
from maskedge_train.shared.onnx_weights import is_exported
from maskedge_train.teachers.distillation import Teachers

from .nets import build


@dataclass(frozen=True)
class ClassifierSpec:
    """Facts needed to use the weights of a classifier checkpoint.

    Attributes:
        net: Name in `nets.NETS`.
        labels: Labels in output order.
        size: Side of the square input in pixels.
        crop: Rule by which a face box becomes an input.
        temperature: Divisor of the logits that calibrates the probabilities
            (`calibration.fit_temperature`).
        unsure_below: Top probability below which an answer is unsure.
    """

    net: str
    labels: tuple[str, ...]
    size: int
    crop: CropRule
    temperature: float = 1.0
    unsure_below: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the spec in types that can be loaded with `weights_only`."""
        return {
            "kind": "classifier",
            "net": self.net,
            "labels": list(self.labels),
            "size": self.size,
            "crop": self.crop.to_json(),
            "temperature": self.temperature,
            "unsure_below": self.unsure_below,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ClassifierSpec:
        """Build the spec of a checkpoint from its facts."""
        return cls(
            fields["net"],
            tuple(fields["labels"]),
            int(fields["size"]),
            CropRule.from_json(fields["crop"]),
            float(fields.get("temperature", 1.0)),
            float(fields.get("unsure_below", 0.0)),
        )


def load_classifier(path: Path) -> tuple[nn.Module, ClassifierSpec, Card]:
    """Load the network of a checkpoint, in evaluation mode.

    Returns:
        The network, its spec and its card.

    Raises:
        ModelError: The file is missing, damaged, or from another project, or a weight is not a number.
    """
    content = read_checkpoint(path)
    try:
        spec = ClassifierSpec.from_dict(content["maskedge"])
        net = build(spec.net, len(spec.labels))
        weights = {name.removeprefix("net."): value for name, value in content["state_dict"].items() if name.startswith("net.")}
        net.load_state_dict(weights)
    except UsageError as error:
        raise ModelError(f"{path} does not fit this version of maskedge: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit this version of maskedge: train again.") from error
    check_weights(net, path)
    return net.eval(), spec, content["maskedge"].get("card", {})


def load_teachers(paths: Sequence[Path]) -> tuple[Teachers, tuple[str, ...]]:
    """Load the networks of one or more checkpoints as teachers.

    Returns:
        The teachers, and their labels in output order.

    Raises:
        ModelError: A file is missing, damaged, or from another project.
        UsageError: A file is no checkpoint of a classifier, or two files have different labels.
    """
    nets, specs = [], []
    for path in paths:
        if is_exported(path) or checkpoint_kind(path) != "classifier":
            raise UsageError(f"{path} cannot teach: give a checkpoint of edge-train classifier, such as best.ckpt.")
        net, spec, _ = load_classifier(path)
        nets.append(net)
        specs.append(spec)
        check_teacher_labels(path, spec.labels, specs[0].labels)
    return Teachers(nets), specs[0].labels


def check_teacher_labels(path: Path, own: tuple[str, ...], labels: tuple[str, ...]) -> None:
    """Check that a teacher has the labels of the student or of the first teacher, in the same order.

    Raises:
        UsageError: The labels differ.
    """
    if own != labels:
        raise UsageError(
            f"{path} cannot teach: its labels are {', '.join(own)}, and {', '.join(labels)} are needed, in this order: train a "
            "teacher with the same data."
        )


def store_card(path: Path, spec: ClassifierSpec, card: Card) -> None:
    """Store results after training in a checkpoint: calibration in `spec`, figures in `card`."""
    content = read_checkpoint(path)
    content["maskedge"] |= {**spec.to_dict(), "card": card}
    write_checkpoint(path, content)
