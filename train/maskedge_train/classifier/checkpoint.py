"""Checkpoints of classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from maskedge.errors import ModelError
from maskedge.modelfile.crop import CropRule
from maskedge_train.shared.checkpoint import Card, read_checkpoint, write_checkpoint

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
        ModelError: The file is missing, damaged, or from another project.
    """
    content = read_checkpoint(path)
    try:
        spec = ClassifierSpec.from_dict(content["maskedge"])
        net = build(spec.net, len(spec.labels))
        weights = {name.removeprefix("net."): value for name, value in content["state_dict"].items() if name.startswith("net.")}
        net.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} does not fit this version of maskedge: train again.") from error
    return net.eval(), spec, content["maskedge"].get("card", {})


def store_card(path: Path, spec: ClassifierSpec, card: Card) -> None:
    """Store results after training in a checkpoint: calibration in `spec`, figures in `card`."""
    content = read_checkpoint(path)
    content["maskedge"] |= {**spec.to_dict(), "card": card}
    write_checkpoint(path, content)
