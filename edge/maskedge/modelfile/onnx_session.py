"""The options of ONNX Runtime, shared by normal use and the sandbox."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime

_OPTIONS_OF_THREADS = {"OpenVINOExecutionProvider": "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
"""Option for the number of threads, of providers that have threads of their own on the processor."""


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
