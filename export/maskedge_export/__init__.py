"""Export of trained checkpoints to self-describing, verified ONNX files (workstation only).

Import order, low to high: onnx_file -> classifier, detector -> cli. The package imports `maskedge`
and `maskedge_train`.
"""
