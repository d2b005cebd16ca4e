"""What the tests of the export share: a net with fresh weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskedge.crop import CropRule
from maskedge_export.graph import ClassifierGraph
from maskedge_train.checkpoint import ClassifierSpec
from maskedge_train.nets import build


@pytest.fixture(scope="module")
def graph() -> ClassifierGraph:
    torch.manual_seed(0)
    return ClassifierGraph(build("edgenet", 2)).eval()


@pytest.fixture
def checkpoint(graph: ClassifierGraph, tmp_path: Path) -> Path:
    spec = ClassifierSpec("edgenet", ("with_mask", "without_mask"), 64, CropRule())
    weights = {f"net.{name}": value for name, value in graph.net.state_dict().items()}
    torch.save({"maskedge": spec.to_dict(), "state_dict": weights}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"
