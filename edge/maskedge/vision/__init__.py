"""From a frame to labelled faces: detectors, the classifier and the pipeline around them."""
