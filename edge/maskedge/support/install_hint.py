"""Shell commands that install a missing part.

The commands match the origin of the package: a clone, a wheel file or an index.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

OPENCV = "opencv-python>=4.10,<5"
HEADLESS = "opencv-python-headless>=4.10,<5"
"""Requirement for OpenCV without windows, an alternative to `OPENCV`."""
SYSTEM_LIBRARIES = "sudo apt install libgl1 libglib2.0-0"
"""Command that installs the libraries of opencv-python on Debian, Raspberry Pi OS and Ubuntu."""


EXTRAS_WITH_PACKAGES = ("train", "export", "bench", "fleet")
"""Extras that need a second distribution, `maskedge-workstation` or `maskedge-fleet`."""


def pip(*arguments: str) -> str:
    """Return a shell command for the pip of this Python.

    The pip of a virtual environment may be missing from PATH.
    """
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def install_command(extra: str = "") -> str:
    """Return the shell command that reinstalls this package with an extra.

    Args:
        extra: Name of the extra, such as `mqtt`; empty for none.
    """
    origin = _origin()
    extras = f"[{extra}]" if extra else ""
    place = urlsplit(origin.get("url", ""))
    if place.scheme != "file":
        return pip("install", f"maskedge{extras}")
    path = Path(unquote(place.path))
    # A wheel file is often deleted after installation. Its name then identifies the file to get.
    requirement = f"{path if path.exists() else path.name}{extras}"
    options = ["-e"] if origin.get("dir_info", {}).get("editable") else []
    if path.suffix == ".whl" and extra in EXTRAS_WITH_PACKAGES:
        # `make wheel` puts all wheel files into one folder.
        options = ["--find-links", str(path.parent) if path.exists() else "."]
    return pip("install", *options, requirement)


def _origin() -> dict[str, Any]:
    """Return pip's record of the package's origin: `url` and, for a folder, `dir_info`.

    The record is empty for a package from an index.
    """
    # Imported here: importlib.metadata takes a fifth of the start of a command.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution("maskedge").read_text("direct_url.json")
        content = json.loads(text or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
