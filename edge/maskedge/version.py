"""The version of the package. The build reads it from this file (pyproject.toml)."""

from __future__ import annotations

# A literal: reading it from the metadata of the installed package takes a fifth of the start.
VERSION = "0.1.0"
