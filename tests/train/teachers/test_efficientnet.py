"""EfficientNet-Lite, and its start from ImageNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from maskedge import ModelError, UsageError
from maskedge_train.classifier.nets import build, locate
from maskedge_train.classifier.warm_start import check_start, initial_temperature, load_start
from maskedge_train.data.dataset import LABELS, load_dataset
from maskedge_train.data.split import split_dataset
from maskedge_train.shared.checkpoint import read_checkpoint
from maskedge_train.shared.face_crop import INPUT_SIZE
from maskedge_train.shared.layers import count_parameters
from maskedge_train.teachers.efficientnet import SameConv2d, same_padding, scaled_width

PIXELS = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Weights for the thousand labels of ImageNet, with statistics of their own."""
    torch.manual_seed(3)
    net = build("efficientnet-lite0", 1000)
    with torch.no_grad():
        net.train()(PIXELS)
    return net.state_dict()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (112, 3, 2, (0, 1)),
        (28, 5, 2, (1, 2)),
        (7, 5, 2, (2, 2)),
        (7, 3, 2, (1, 1)),
        (14, 5, 1, (2, 2)),
        (14, 1, 1, (0, 0)),
        (14, 1, 2, (0, 0)),
    ],
)
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding
    layer, x = SameConv2d(2, 3, kernel, stride), torch.randn(1, 2, size, size)
    expected = functional.conv2d(functional.pad(x, padding * 2), layer.weight, stride=stride)
    assert expected.shape[2:] == (-(-size // stride),) * 2
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_padding_of_an_axis_does_not_depend_on_the_other() -> None:
    assert SameConv2d(1, 1, 5, 2)(torch.zeros(1, 1, 7, 28)).shape == (1, 1, 4, 14)


@pytest.mark.parametrize(
    ("name", "blocks", "outputs", "parameters"),
    [("efficientnet-lite0", 16, 320, 3_376_132), ("efficientnet-lite2", 21, 352, 4_816_196)],
)
def test_sizes(name: str, blocks: int, outputs: int, parameters: int) -> None:
    net = build(name, 4)
    assert len(net.get_submodule("_blocks")) == blocks  # type: ignore[arg-type]
    assert net.get_parameter("_conv_stem.weight").shape == (32, 3, 3, 3)
    assert net.get_parameter("_conv_head.weight").shape == (1280, outputs, 1, 1)
    # The published networks have 4.65 and 6.09 million with the 1,000 labels of ImageNet.
    assert count_parameters(net) == parameters
    assert {layer.eps for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}
    logits, places = locate(net.eval(), PIXELS)
    assert (logits.shape, places) == ((2, 4), None)
    assert net.features(torch.zeros(1, 3, 112, 112)).shape == (1, 1280, 4, 4)  # type: ignore[operator]


def test_widths_are_multiples_of_eight() -> None:
    assert [scaled_width(channels, 1.1) for channels in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]
    assert scaled_width(10, 1.0) == 16, "8 would be less than nine tenths"


def test_imagenet_weights_are_loaded_but_for_the_last_layer(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "lite0.pth"
    torch.save(weights, path)
    assert check_start(path, "efficientnet-lite0", LABELS) == ("efficientnet-lite0", ())
    assert initial_temperature(path) == 1
    net = load_start(path, "efficientnet-lite0", LABELS, PIXELS).eval()
    state = net.state_dict()
    assert {name for name in weights if not torch.equal(weights[name], state[name])} == {"_fc.weight", "_fc.bias"}
    # The ImageNet pictures were RGB, and crops are BGR.
    given = build("efficientnet-lite0", 1000).eval()
    given.load_state_dict(weights)
    with torch.no_grad():
        rgb = functional.interpolate(PIXELS[:, [2, 1, 0]], (112, 112), mode="bilinear", align_corners=False)
        pooled = given.features(rgb).mean((2, 3))  # type: ignore[operator]
        assert torch.allclose(net(PIXELS), pooled @ state["_fc.weight"].T + state["_fc.bias"], atol=1e-5)


def test_other_weights_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (
        {name: value for name, value in weights.items() if name != "_bn1.bias"},
        weights | {"_bn9.bias": torch.zeros(1)},
        weights | {"_bn1.bias": torch.zeros(7)},
        weights | {"_bn1.bias": "text"},
        [1, 2],
        {1: 2},
        build("efficientnet-lite2", 4).state_dict(),
    ):
        torch.save(content, path)
        with pytest.raises(ModelError, match="does not have the weights of this net"):
            check_start(path, "efficientnet-lite0", LABELS)
    path.write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="nothing in it was executed"):
        check_start(path, "efficientnet-lite0", LABELS)
    torch.save(weights, path)
    with pytest.raises(UsageError, match="give --net efficientnet-lite0 or efficientnet-lite2"):
        check_start(path, "edgenet", LABELS)
    with pytest.raises(UsageError, match="only be given to --init"):
        check_start(path, "efficientnet-lite0", LABELS, partial=False)
    with pytest.raises(ModelError, match="there is no file"):
        check_start(tmp_path / "none.pth", "efficientnet-lite0", LABELS)


def test_training_from_imagenet_weights_keeps_the_split(  # type: ignore[no-untyped-def]
    invoke, weights: dict[str, torch.Tensor], faces_folder: Path, tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "lite0.pth")
    np.save(tmp_path / "seen.npy", np.arange(9, dtype=np.uint64))  # of a training in the folder, not of the weights
    run = [
        "edge-train",
        "classifier",
        "--data",
        faces_folder,
        "--whole-pictures",
        "--negatives",
        "none",
        "--no-paint",
        "--epochs",
        "1",
    ]
    run += ["--samples", "16", "--batch-size", "8", "--accelerator", "cpu", "--quiet", "--net", "efficientnet-lite0"]
    done = invoke(*run, "--init", tmp_path / "lite0.pth", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "trained on" not in done.stderr
    dataset = load_dataset(faces_folder)
    assert json.loads((tmp_path / "run" / "split.json").read_text())["parts"] == split_dataset(dataset, 0).parts
    assert not np.isin(np.arange(9), np.load(tmp_path / "run" / "seen.npy")).any()
    # Two steps change the weights little.
    trained = read_checkpoint(tmp_path / "run" / "last.ckpt")["state_dict"]["net._conv_head.weight"]
    assert 0 < (trained - weights["_conv_head.weight"]).abs().max() < 0.02
