from __future__ import annotations

import pytest
import torch

from maskedge import UsageError
from maskedge_train.nets import INPUT_SIZE, NETS, build, count_parameters


@pytest.mark.parametrize("name", sorted(NETS))
def test_shape(name: str) -> None:
    net = build(name, 3).eval()
    assert net(torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)).shape == (2, 3)


def test_sizes() -> None:
    assert count_parameters(build("edgenet", 2)) <= 150_000
    assert 300_000 <= count_parameters(build("edgenet-l", 2)) <= 600_000
    assert count_parameters(build("seednet", 2)) == pytest.approx(2.2e6, rel=0.02)


def test_seednet_has_three_and_three_layers() -> None:
    kinds = [type(module).__name__ for module in build("seednet", 2).modules()]
    assert kinds.count("Conv2d") == kinds.count("Linear") == 3


def test_unknown_net() -> None:
    with pytest.raises(UsageError, match="edgenet, edgenet-l, seednet"):
        build("resnet", 2)
