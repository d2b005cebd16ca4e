"""Fixtures of the export's tests: a network with random weights."""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from maskedge.modelfile.crop import CropRule

if TYPE_CHECKING:
    import onnx

    from maskedge_export.classifier.graph import ClassifierGraph

# pytest loads this file even if the folder is not collected, so PyTorch is imported in the fixtures.


@pytest.fixture(scope="session")
def graph() -> ClassifierGraph:
    import torch

    from maskedge_export.classifier.graph import ClassifierGraph
    from maskedge_train.classifier.nets import build

    torch.manual_seed(0)
    return ClassifierGraph(build("edgenet", 2)).eval()


@pytest.fixture(scope="session")
def saved(graph: ClassifierGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the network, which no test changes."""
    import torch

    from maskedge_train.classifier.checkpoint import ClassifierSpec

    spec = ClassifierSpec("edgenet", ("with_mask", "without_mask"), 64, CropRule())
    weights = {f"net.{name}": value for name, value in graph.net.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    torch.save({"maskedge": spec.to_dict(), "state_dict": weights}, path)
    return path


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint."""
    return Path(shutil.copy(saved, tmp_path))


@pytest.fixture(scope="session")
def converted(graph: ClassifierGraph) -> onnx.ModelProto:
    """The network as an ONNX model. PyTorch takes many seconds for it."""
    from maskedge_export.classifier.graph import to_onnx

    return to_onnx(graph, 64)


@pytest.fixture
def converted_already(converted: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export takes that model, for tests of what comes before or after the conversion."""
    from maskedge_export.classifier import export

    monkeypatch.setattr(export, "to_onnx", lambda graph, size: deepcopy(converted))
