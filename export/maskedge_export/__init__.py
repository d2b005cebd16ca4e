"""Export of trained checkpoints to one self-describing, proven ONNX file (workstation only)."""
