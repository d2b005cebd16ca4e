"""Initialisation of a larger network from a smaller trained one (Chen et al., "Net2Net", 2016)."""

from __future__ import annotations

from itertools import zip_longest
from typing import TypeAlias, cast

import torch
from torch import nn

from maskedge_train.shared.layers import Residual

from .nets import EdgeNet

WIDENS = {"edgenet-l": "edgenet"}
"""Name of a larger network to the name of the smaller network that it can start from."""
_INITIAL_SCALE = 0.01
"""Initial scale of a new block in front of a ReLU. With a scale of 0 it would never learn."""

_Pair: TypeAlias = tuple[nn.Conv2d, nn.BatchNorm2d]


def widen(small: EdgeNet, large: EdgeNet, pixels: torch.Tensor) -> None:
    """Copy the weights of `small` into `large`, which then predicts nearly the same.

    The first channels of each layer are those of the smaller network. The other channels keep their
    fresh weights, but no later layer uses them yet. Blocks that the smaller network lacks add
    almost nothing.

    Args:
        small: A trained network, one of the values of `WIDENS`.
        large: The matching larger network with fresh weights; changed in place and left in
            evaluation mode.
        pixels: float32 `[N, 3, 64, 64]` in -1..1, a few hundred training crops to measure the
            statistics of fresh channels.
    """
    (stem, head), (large_stem, large_head) = _ends(small), _ends(large)
    fresh = {pair[1]: torch.ones(pair[1].num_features, dtype=torch.bool) for pair in _all_pairs(large)}
    with torch.no_grad():
        mapping = _copy_pair(stem, large_stem, torch.eye(3), fresh)
        for blocks, larger in zip(_stages(small), _stages(large), strict=True):
            for block, other in zip_longest(blocks, larger):
                if block is None:
                    _mute(other)
                else:
                    mapping = _copy_block(block, other, mapping, fresh)
        mapping = _copy_pair(head, large_head, mapping, fresh)
        own = {key: value for key, value in small.state_dict().items() if not key.startswith("body.")}
        own["label.3.weight"] = own["label.3.weight"] @ mapping
        own["place.0.weight"] = _map_inputs(own["place.0.weight"], mapping)
        large.load_state_dict(own, strict=False)
        _calibrate_fresh(large, fresh, pixels)


def _pairs(layers: nn.Sequential) -> list[_Pair]:
    """Return the convolutions, each with the normalisation after it."""
    return [cast(_Pair, (layer, layers[index + 1])) for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]


def _ends(net: EdgeNet) -> list[_Pair]:
    """Return stem and head."""
    return _pairs(net.body)


def _blocks(net: EdgeNet) -> list[Residual]:
    return [layer for layer in net.body if isinstance(layer, Residual)]


def _all_pairs(net: EdgeNet) -> list[_Pair]:
    return [*_ends(net), *(pair for block in _blocks(net) for pair in _pairs(block.body))]


def _stages(net: EdgeNet) -> list[list[Residual]]:
    """Return the blocks, grouped by the size of their feature maps."""
    stages: list[list[Residual]] = [[]]
    for block in _blocks(net):
        if any(convolution.stride != (1, 1) for convolution, _ in _pairs(block.body)):
            stages.append([])
        stages[-1].append(block)
    return stages


def _map_inputs(weight: torch.Tensor, mapping: torch.Tensor) -> torch.Tensor:
    """Map weights `[O, I, h, w]` for the smaller network's channels to `[O, J, h, w]`."""
    return torch.einsum("oihw,ij->ojhw", weight, mapping)


def _copy_pair(small: _Pair, large: _Pair, mapping: torch.Tensor, fresh: dict[nn.BatchNorm2d, torch.Tensor]) -> torch.Tensor:
    """Copy a convolution and its normalisation into the first rows of a larger pair.

    Args:
        small: Pair to copy.
        large: Pair to fill.
        mapping: float32 `[I, J]`: its product with the larger network's J input channels gives the
            smaller network's I.
        fresh: Channels of each normalisation that hold fresh weights; updated.

    Returns:
        The mapping of the output channels, in the form of `mapping`.
    """
    count = small[0].out_channels
    large[0].weight[:count] = small[0].weight if small[0].groups > 1 else _map_inputs(small[0].weight, mapping)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(large[1], name)[:count] = getattr(small[1], name)
    fresh[large[1]][:count] = False
    return torch.eye(count, large[0].out_channels)


def _copy_block(small: Residual, large: Residual, mapping: torch.Tensor, fresh: dict[nn.BatchNorm2d, torch.Tensor]) -> torch.Tensor:
    """Copy a block into a larger one. For `mapping` and the result, see `_copy_pair`."""
    inner = mapping
    for pair, other in zip(_pairs(small.body), _pairs(large.body), strict=True):
        inner = _copy_pair(pair, other, inner, fresh)
    if small.shortcut and not large.shortcut:
        # The larger block has no shortcut. Behind a ReLU the input is positive, so it passes
        # unchanged through extra channels, which the next layer adds.
        convolution = _pairs(large.body)[-1][0]
        count, middle = len(mapping), convolution.kernel_size[0] // 2
        convolution.weight[count : 2 * count] = 0
        convolution.weight[count : 2 * count, :, middle, middle] = mapping
        inner = inner + torch.eye(count, convolution.out_channels).roll(count, dims=1)
    return inner


def _mute(block: Residual) -> None:
    """Make a block add almost nothing to its input."""
    last = _pairs(block.body)[-1][1]
    nn.init.constant_(last.weight, _INITIAL_SCALE if isinstance(block.body[-1], nn.ReLU) else 0.0)


def _calibrate_fresh(net: EdgeNet, fresh: dict[nn.BatchNorm2d, torch.Tensor], pixels: torch.Tensor) -> None:
    """Measure the statistics of fresh channels, and keep pass-through channels unchanged."""
    identity = {pair[1]: pair[0].weight.flatten(1).count_nonzero(dim=1) == 1 for pair in _all_pairs(net) if pair[0].groups == 1}

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(layer, nn.BatchNorm2d)  # noqa: S101  (for the type checker)
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        new = fresh[layer]
        layer.running_mean[new], layer.running_var[new] = mean[new], variance[new]  # type: ignore[index]
        if layer in identity:
            same = new & identity[layer]
            layer.weight[same], layer.bias[same] = torch.sqrt(variance[same] + layer.eps), mean[same]

    hooks = [layer.register_forward_pre_hook(measure) for layer in fresh]
    net.eval()(pixels)
    for hook in hooks:
        hook.remove()
