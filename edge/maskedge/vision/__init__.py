"""From a frame to labelled faces.

- `pipeline`: `MaskDetector`, the public API.
- `acceleration`: moves a model to an accelerator that gives the same outputs.
- `analysis`: detection and classification of one frame, without state.
- `video`: `VideoDetector`: tracks that follow every frame, and detections that correct them.
- `worker`: `DetectionWorker`, a thread that analyses frames for live sources.
- `detectors`: the detector protocol, the registry, `load_detector`, and the detectors themselves.
- `classifier`: `MaskClassifier`, which runs a classifier file on crops of faces.
- `scoring`: thresholds, fusion of scores, refinement and choice of labels.
- `schedule`: the choice of the frames of a video in which a detector runs.
- `standalone`: the choice of a detector for a classifier without the label `not_a_face`.
- `self_test`: inputs and expected outputs in a model file, to verify it on another machine.
- `model_card`: the card in a model file, as Markdown.
"""
