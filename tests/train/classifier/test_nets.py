from __future__ import annotations

import pytest
import torch

from maskedge import UsageError
from maskedge_train.classifier.nets import NETS, build, locate
from maskedge_train.shared.face_crop import INPUT_SIZE
from maskedge_train.shared.layers import count_parameters


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
    with pytest.raises(UsageError, match="edgenet, edgenet-l, efficientnet-lite0, efficientnet-lite2, seednet"):
        build("resnet", 2)


def test_edgenet_l_predicts_the_same_for_a_crop_and_its_mirror_image() -> None:
    torch.manual_seed(0)
    net, pixels = build("edgenet-l", 4), torch.rand(3, 3, INPUT_SIZE, INPUT_SIZE) * 2 - 1
    for parameter in net.parameters():  # the box head starts at zero
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        (logits, places), (mirrored, other) = (locate(net.eval(), crops) for crops in (pixels, pixels.flip(3)))
        assert torch.allclose(logits, mirrored, atol=1e-5)
        assert torch.equal(net(pixels), logits)
        assert places is not None and other is not None
        assert torch.allclose(places, torch.stack([1 - other[:, 2], other[:, 1], 1 - other[:, 0], other[:, 3]], dim=1), atol=1e-5)
        # In training there is no second crop.
        single = [locate(net.train(), crops)[0] for crops in (pixels, pixels.flip(3))]
        assert not torch.allclose(*single, atol=1e-5)
