"""Execution providers of ONNX Runtime: the processor, and the accelerators that a build brings.

The package `onnxruntime` computes on the processor. Other builds of it (`onnxruntime-gpu`,
`onnxruntime-openvino`, the one of JetPack) bring accelerators.
"""

from __future__ import annotations

from maskedge.settings import PROVIDERS

ORT_NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "acl": "ACLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Name of a provider in ONNX Runtime, the most specialised accelerators first."""

_chosen = PROVIDERS[0]


def choose_provider(provider: str) -> None:
    """Set the provider of the models that this process loads from now on.

    It is a property of the machine, so it is one setting for the whole process.
    """
    global _chosen
    _chosen = provider


def chosen_provider() -> str:
    """Return the setting: one of `PROVIDERS`."""
    return _chosen


def available_accelerators() -> list[str]:
    """Return the names of the accelerators of the installed onnxruntime, those to try first in front."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return [name for name, own in ORT_NAMES.items() if own in available and name != "cpu"]
