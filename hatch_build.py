"""Build hook: in the wheel, the extras of a workstation and of a server bring their packages.

A clone has these packages in `train/`, `export/`, `benchmarks/` and `fleet/`, and an editable install
puts all of them on the path. An installed wheel has the device's package alone, so its extras
`train`, `export` and `bench` also require `maskedge-workstation` (`workstation/pyproject.toml`), and
its extra `fleet` requires `maskedge-fleet` (`fleet/pyproject.toml`).
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """Add the packages of `[tool.hatch...hooks.custom]`, at the same version, to their extras."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the requirement unless the install is editable.

        Args:
            version: What hatchling builds: `standard` or `editable`.
            build_data: What hatchling adds to the wheel.
        """
        if version == "standard":
            build_data["dependencies"] += [
                f"{package}=={self.metadata.version}; extra == '{extra}'" for extra, package in self.config["packages"].items()
            ]
