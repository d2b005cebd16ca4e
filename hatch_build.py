"""Build hook: in the wheel, the workstation's extras bring the workstation's packages.

A clone has these packages in `train/`, `export/` and `benchmarks/`, and an editable install puts all
of them on the path. An installed wheel has the device's package alone, so its extras `train`,
`export` and `bench` also require `maskedge-workstation` (`workstation/pyproject.toml`).
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WorkstationHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add `maskedge-workstation`, at the same version, to the extras of `[tool.hatch...hooks.custom]`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the requirement unless the install is editable.

        Args:
            version: What hatchling builds: `standard` or `editable`.
            build_data: What hatchling adds to the wheel.
        """
        if version == "standard":
            build_data["dependencies"] += [
                f"maskedge-workstation=={self.metadata.version}; extra == '{extra}'" for extra in self.config["extras"]
            ]
