"""A larger net that starts from what a smaller one learned (Chen et al., "Net2Net", 2016)."""

from __future__ import annotations

from itertools import zip_longest
from typing import TypeAlias, cast

import torch
from torch import nn

from maskedge_train.shared.layers import Residual

from .nets import EdgeNet

GROWS = {"edgenet-l": "edgenet"}
"""Net, and the smaller one that it can start from."""
_FAINT = 0.01
"""What a block that the smaller net lacks adds at first behind a ReLU, where nothing at all would never learn."""

_Pair: TypeAlias = tuple[nn.Conv2d, nn.BatchNorm2d]


def grow(small: EdgeNet, large: EdgeNet, pixels: torch.Tensor) -> None:
    """Put what `small` learned into `large`, which then answers nearly as it does and has more to learn with.

    The first channels of each layer become the smaller net's. The others keep their fresh weights, and nothing listens to them yet.
    Blocks that the smaller net lacks add next to nothing.

    Args:
        small: A net of `GROWS`.
        large: The net that can start from it, with fresh weights; changed in place, and left in evaluation mode.
        pixels: float32 `[N, 3, 64, 64]` in -1..1, some hundred crops as the training shows them, to measure fresh channels by.
    """
    (stem, head), (large_stem, large_head) = _ends(small), _ends(large)
    fresh = {pair[1]: torch.ones(pair[1].num_features, dtype=torch.bool) for pair in _all_pairs(large)}
    with torch.no_grad():
        seen = _copy(stem, large_stem, torch.eye(3), fresh)
        for blocks, larger in zip(_stages(small), _stages(large), strict=True):
            for block, other in zip_longest(blocks, larger):
                if block is None:
                    _silence(other)
                else:
                    seen = _bring(block, other, seen, fresh)
        seen = _copy(head, large_head, seen, fresh)
        own = {key: value for key, value in small.state_dict().items() if not key.startswith("body.")}
        own["label.3.weight"] = own["label.3.weight"] @ seen
        own["place.0.weight"] = _listen(own["place.0.weight"], seen)
        large.load_state_dict(own, strict=False)
        _settle(large, fresh, pixels)


def _pairs(layers: nn.Sequential) -> list[_Pair]:
    """Give the convolutions, each with the normalisation behind it."""
    return [cast(_Pair, (layer, layers[index + 1])) for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]


def _ends(net: EdgeNet) -> list[_Pair]:
    """Give the stem and the head."""
    return _pairs(net.body)


def _blocks(net: EdgeNet) -> list[Residual]:
    return [layer for layer in net.body if isinstance(layer, Residual)]


def _all_pairs(net: EdgeNet) -> list[_Pair]:
    return [*_ends(net), *(pair for block in _blocks(net) for pair in _pairs(block.body))]


def _stages(net: EdgeNet) -> list[list[Residual]]:
    """Give the blocks, those that work on maps of one size together."""
    stages: list[list[Residual]] = [[]]
    for block in _blocks(net):
        if any(convolution.stride != (1, 1) for convolution, _ in _pairs(block.body)):
            stages.append([])
        stages[-1].append(block)
    return stages


def _listen(weight: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Let weights `[O, I, h, w]` for the smaller net's channels find these in the larger one, as `seen` tells: `[O, J, h, w]`."""
    return torch.einsum("oihw,ij->ojhw", weight, seen)


def _copy(small: _Pair, large: _Pair, seen: torch.Tensor, fresh: dict[nn.BatchNorm2d, torch.Tensor]) -> torch.Tensor:
    """Put a convolution and its normalisation into the first rows of a larger one.

    Returns:
        How the smaller net's channels are found in the larger one's behind it, as `seen` tells it before: float32 `[I, J]`, whose
        product with the J channels gives the I.
    """
    count = small[0].out_channels
    large[0].weight[:count] = small[0].weight if small[0].groups > 1 else _listen(small[0].weight, seen)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(large[1], name)[:count] = getattr(small[1], name)
    fresh[large[1]][:count] = False
    return torch.eye(count, large[0].out_channels)


def _bring(small: Residual, large: Residual, seen: torch.Tensor, fresh: dict[nn.BatchNorm2d, torch.Tensor]) -> torch.Tensor:
    """Put a block into a larger one. `seen` and what is returned: see `_copy`."""
    inner = seen
    for pair, other in zip(_pairs(small.body), _pairs(large.body), strict=True):
        inner = _copy(pair, other, inner, fresh)
    if small.shortcut and not large.shortcut:
        # The input, which is positive behind a ReLU, gets channels of its own: who listens adds them.
        convolution = _pairs(large.body)[-1][0]
        count, middle = len(seen), convolution.kernel_size[0] // 2
        convolution.weight[count : 2 * count] = 0
        convolution.weight[count : 2 * count, :, middle, middle] = seen
        inner = inner + torch.eye(count, convolution.out_channels).roll(count, dims=1)
    return inner


def _silence(block: Residual) -> None:
    """Let a block add next to nothing to its input."""
    last = _pairs(block.body)[-1][1]
    nn.init.constant_(last.weight, _FAINT if isinstance(block.body[-1], nn.ReLU) else 0.0)


def _settle(net: EdgeNet, fresh: dict[nn.BatchNorm2d, torch.Tensor], pixels: torch.Tensor) -> None:
    """Measure what fresh channels are normalised by; those that only pass something on must do so unchanged."""
    passing = {pair[1]: pair[0].weight.flatten(1).count_nonzero(dim=1) == 1 for pair in _all_pairs(net) if pair[0].groups == 1}

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101  (for the type checker)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        new = fresh[layer]
        layer.running_mean[new], layer.running_var[new] = mean[new], variance[new]  # type: ignore[index]
        if layer in passing:
            same = new & passing[layer]
            layer.weight[same], layer.bias[same] = torch.sqrt(variance[same] + layer.eps), mean[same]

    hooks = [layer.register_forward_pre_hook(measure) for layer in fresh]
    net.eval()(pixels)
    for hook in hooks:
        hook.remove()
