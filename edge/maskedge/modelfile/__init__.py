"""Model files: what they must hold, and how they are opened safely.

- `contract`: opens a model file: checksums, the clauses of the contract, ONNX Runtime.
- `crop`: the crop of a face, shared by the device and training.
- `onnx_graph`: reads an ONNX file without executing it and refuses unbounded graphs.
- `sandbox`: a first run of an unknown file in another process, with limits.
- `onnx_session`: the options of ONNX Runtime.
- `cascade_file`: checks a cascade's XML before OpenCV reads it.
"""
