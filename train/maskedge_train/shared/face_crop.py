"""Size and cut of the crops that the classifiers are trained on."""

from __future__ import annotations

from maskedge.modelfile.crop import CropRule

CROP = CropRule()
"""Crop rule of the project's classifiers."""

INPUT_SIZE = 64
"""Side of a classifier's input in pixels."""
