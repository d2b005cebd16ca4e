"""Training of boosted cascades (Viola and Jones, 2001) for OpenCV, on masked and bare faces."""
