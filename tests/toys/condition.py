"""An alert condition: somebody is there."""

from __future__ import annotations

from collections.abc import Sequence

from maskedge.alerts.conditions import Condition, Details
from maskedge.types import Face


class ToyCondition(Condition):
    """At least `threshold` faces, by default one."""

    name = "toy"

    def observe(self, now: float, faces: Sequence[Face]) -> Details | None:
        """Return the number of faces while there are enough."""
        return {"people": len(faces)} if len(faces) >= (self.rule.threshold or 1) else None
