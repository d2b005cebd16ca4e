"""Training of boosted cascades (Viola and Jones, 2001) that OpenCV loads, for masked and unmasked faces."""
