"""Detectors that are precise by themselves, for classifiers that do not know what is no face.

The default detectors answer for much that is no face and leave it to the label `not_a_face` to throw that out. A model without that
label cannot; it gets a detector that needs no such help, and the user is warned.
"""

from __future__ import annotations

from collections.abc import Sequence

NOT_A_FACE = "not_a_face"
"""The label with which a classifier throws out what the detector should not have found."""
