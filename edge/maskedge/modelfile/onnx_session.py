"""Sessions of ONNX Runtime: their options, and their execution providers.

The package `onnxruntime` computes on the processor. Other builds of it (`onnxruntime-gpu`,
`onnxruntime-openvino`, the one of JetPack) bring accelerators.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime

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
_OPTIONS_OF_THREADS = {"OpenVINOExecutionProvider": "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
"""Option for the number of threads, of providers that have threads of their own on the processor."""

_chosen = PROVIDERS[0]

# maskedge sets ORT_DISABLE_TELEMETRY, which comes too late if the program has loaded ONNX Runtime before.
onnxruntime.disable_telemetry_events()


def create_session(content: bytes, threads: int, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    """Open a model. The errors of ONNX Runtime are raised unchanged.

    Args:
        content: Bytes of the .onnx file.
        threads: Threads inside an operator.
        providers: Execution providers, the preferred one first.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A plan of memory for each batch size costs 6 to 8 MB and saves no time.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # its errors become a ModelError
    own = [{_OPTIONS_OF_THREADS[name]: str(threads)} if name in _OPTIONS_OF_THREADS else {} for name in providers]
    return onnxruntime.InferenceSession(content, options, providers=[*providers], provider_options=own)


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
    available = onnxruntime.get_available_providers()
    return [name for name, own in ORT_NAMES.items() if own in available and name != "cpu"]
