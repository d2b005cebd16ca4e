"""From a frame to labelled faces.

- `pipeline`: `MaskDetector`, the public API: detect, track, classify, vote.
- `detectors`: the detector protocol, the registry, `load_detector`, and the detectors themselves.
- `classifier`: `MaskClassifier`, which runs a classifier file on crops of faces.
- `scoring`: thresholds, fusion of scores, refinement, choice of labels.
- `schedule`: which frames of a video a detector runs on.
- `standalone`: which detector suits a classifier without the label `not_a_face`.
- `trial_pictures`: pictures that a model file must process before it is used.
- `self_test`, `model_card`: the proof and the card that a model file carries.
"""
