"""Hook of MkDocs: pages that are made from other files, and links to files outside `docs`.

The documents are written for a clone, where a link such as `../CONTRIBUTING.md` works. On the site
the README, CONTRIBUTING.md and so on are pages, and links to other files lead to the repository or,
without an address of the repository, become plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Documents at the root of the repository, and their pages."""
API = (
    ("maskedge", ("MaskDetector",)),
    ("maskedge.types", ()),
    ("maskedge.events", ("Event",)),
    ("maskedge.results", ("FrameResult",)),
    ("maskedge.vision.detectors", ()),
    ("maskedge.sources.base", ()),
    ("maskedge.sinks.base", ()),
    ("maskedge.alerts.conditions", ()),
    ("maskedge.alerts.action", ()),
    ("maskedge.errors", ()),
)
"""Modules of the reference, and the members that are shown; none means all."""
COMMANDS = (
    ("edge-run", "maskedge.cli.run"),
    ("edge-doctor", "maskedge.cli.doctor"),
    ("edge-app", "maskedge.cli.app"),
    ("edge-train", "maskedge_train.cli"),
    ("edge-export", "maskedge_export.cli"),
    ("edge-bench", "maskedge_bench.cli.main"),
    ("edge-fleet", "maskedge_fleet.cli"),
)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for name, page in ROOT_PAGES.items():
        text = _without_root((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "reference/python.md", content=_api()))
    files.append(File.generated(config, "reference/commands.md", content=_commands()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Resolve links to files outside `docs`."""
    folder = posixpath.dirname(page.file.src_uri)

    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, _, anchor = target.partition("#")
        outside = posixpath.normpath(posixpath.join("docs", folder, path))
        if not outside.startswith("docs/") or files.get_file_from_path(outside.removeprefix("docs/")) is None:
            if outside in ROOT_PAGES:
                own = posixpath.relpath(ROOT_PAGES[outside], folder or ".")
                return f"[{text}]({own}{'#' + anchor if anchor else ''})"
            if not (ROOT / outside).exists():
                return match.group()  # strict mode reports it
            return f"[{text}]({config.repo_url}/blob/HEAD/{outside})" if config.repo_url else text
        return match.group()

    # A link in a code block is an example.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    link = r"(?<!!)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)"
    return "".join(part if part.startswith("```") else re.sub(link, replace, part) for part in parts)


def on_config(config: Any) -> Any:
    """Take the address of the repository from the workflow that builds the site."""
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    if not config.repo_url and server and name:
        config.repo_url = f"{server}/{name}"
    return config


def _without_root(text: str) -> str:
    """Return a document of the root with its links relative to `docs`."""
    text = re.sub(r"(\]\()docs/", r"\1", text)
    return re.sub(r"(\]\()(?![a-z]+:|#|/)(?=[^)]*)", _above, text)


def _above(match: re.Match[str]) -> str:
    rest = match.string[match.end() :]
    target = rest.partition(")")[0].partition("#")[0]
    return match.group(1) + ("" if (ROOT / "docs" / target).exists() else "../")


def _api() -> str:
    parts = ["# Python API", "", "The modules that other programs and parts of your own may import."]
    for module, members in API:
        parts += ["", f"## `{module}`", ""]
        for name in [f"{module}.{member}" for member in members] or [module]:
            parts += [
                f"::: {name}",
                "    options:",
                "      heading_level: 3",
                f"      show_root_heading: {str(bool(members)).lower()}",
                "",
            ]
    return "\n".join(parts)


def _commands() -> str:
    parts = ["# Commands", "", "The same text as `--help` prints."]
    for name, module in COMMANDS:
        parts += [
            "",
            "::: mkdocs-click",
            f"    :module: {module}",
            "    :command: main",
            f"    :prog_name: {name}",
            "    :depth: 1",
        ]
    return "\n".join(parts)
