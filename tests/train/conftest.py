"""Random numbers that do not depend on the tests that ran before."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _seed() -> None:
    # Networks in training mode drop features at random.
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
