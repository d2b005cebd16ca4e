"""Size and cut of the crops that the classifiers are trained on."""

from __future__ import annotations

from maskedge.modelfile.crop import CropRule

CROP = CropRule()
"""How the project's models want faces cut."""

INPUT_SIZE = 64
"""Side of the input in pixels."""
