"""Fixtures of the export's tests: a network with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maskedge.modelfile.crop import CropRule

if TYPE_CHECKING:
    from maskedge_export.classifier.graph import ClassifierGraph

# pytest loads this file even if the folder is not collected, so PyTorch is imported in the fixtures.


@pytest.fixture(scope="module")
def graph() -> ClassifierGraph:
    import torch

    from maskedge_export.classifier.graph import ClassifierGraph
    from maskedge_train.classifier.nets import build

    torch.manual_seed(0)
    return ClassifierGraph(build("edgenet", 2)).eval()


@pytest.fixture
def checkpoint(graph: ClassifierGraph, tmp_path: Path) -> Path:
    import torch

    from maskedge_train.classifier.checkpoint import ClassifierSpec

    spec = ClassifierSpec("edgenet", ("with_mask", "without_mask"), 64, CropRule())
    weights = {f"net.{name}": value for name, value in graph.net.state_dict().items()}
    torch.save({"maskedge": spec.to_dict(), "state_dict": weights}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"
