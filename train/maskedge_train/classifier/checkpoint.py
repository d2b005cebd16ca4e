"""Checkpoints: weights with what is needed to use them. Read with `weights_only=True`, so a file from a stranger runs no code."""

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
    """How a checkpoint's weights are meant.

    Attributes:
        net: Name in `nets.NETS`.
        labels: Labels in output order.
        size: Side of the square input in pixels.
        crop: How a face box becomes an input.
        temperature: Divides the logits, so that probabilities mean what they say (`calibration.fit_temperature`).
        unsure_below: Probability of the likeliest label under which an answer should be called unsure.
    """

    net: str
    labels: tuple[str, ...]
    size: int
    crop: CropRule
    temperature: float = 1.0
    unsure_below: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the spec in types that `weights_only` loading admits."""
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
        """Read the spec of a checkpoint."""
        return cls(
            fields["net"],
            tuple(fields["labels"]),
            int(fields["size"]),
            CropRule.from_json(fields["crop"]),
            float(fields.get("temperature", 1.0)),
            float(fields.get("unsure_below", 0.0)),
        )


def load_classifier(path: Path) -> tuple[nn.Module, ClassifierSpec, Card]:
    """Rebuild the net of a checkpoint, in evaluation mode.

    Raises:
        ModelError: The file is missing, damaged, or not one of ours.
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


def add_results(path: Path, spec: ClassifierSpec, card: Card) -> None:
    """Write what was measured after training into the checkpoint `path`: calibration in `spec`, figures in `card`."""
    content = read_checkpoint(path)
    content["maskedge"] |= {**spec.to_dict(), "card": card}
    write_checkpoint(path, content)
