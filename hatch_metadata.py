"""Package metadata that depends on the repository: the links of the README, and `project.urls`.

A package index shows the README without the files beside it. The links in the file stay relative, so
that they work in a clone and on any host; the built package gets absolute ones.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def absolute_links(markdown: str, repository: str) -> str:
    """Make the relative links and pictures of a README absolute.

    Args:
        markdown: Text of the README at the root of the repository, or in a folder there.
        repository: Address of the repository, as in `https://host/owner/name`.
    """

    def replace(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/HEAD/{target.removeprefix('../')})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]+)\)", replace, markdown)


def project_urls(repository: str) -> dict[str, str]:
    """Return `project.urls` of a repository."""
    return {
        "Repository": repository,
        "Documentation": f"{repository}/tree/HEAD/docs",
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
    }


class RepositoryMetadata(MetadataHookInterface):
    """Set `urls`, and `readme` if it is dynamic, from the key `repository` or the repository that a GitHub workflow runs in.

    Without either, as in a clone without a host, links stay relative and there are no URLs.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dynamic fields of the project. A source distribution already has them."""
        if (Path(self.root) / "PKG-INFO").is_file():
            return
        repository = self.config.get("repository", "") or _of_workflow()
        if "readme" not in metadata:
            text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
            metadata["readme"] = {
                "content-type": "text/markdown",
                "text": absolute_links(text, repository) if repository else text,
            }
        if repository:
            metadata["urls"] = project_urls(repository)


def _of_workflow() -> str:
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{name}" if server and name else ""
