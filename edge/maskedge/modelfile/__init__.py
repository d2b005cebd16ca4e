"""Model files: their contract, and the checks before they are opened.

- `contract`: checks the checksums and the contract of a model file, and opens the file.
- `crop`: the crop of a face, shared by the device and training.
- `onnx_graph`: reads an ONNX file without executing it and refuses unbounded graphs.
- `sandbox`: runs an unknown file once in another process, with limits.
- `onnx_session`: the options of ONNX Runtime.
- `key_files`: writes new keys.
- `signature`: signs model files and verifies their signatures.
- `trusted`: the keys whose files this process takes.
- `cascade_file`: checks the XML of a cascade before OpenCV reads it.
"""
