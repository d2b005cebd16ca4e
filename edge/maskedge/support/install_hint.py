"""How to install a missing part: the command that works here, whether the package came from a clone, a wheel file or an index."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

OPENCV = "opencv-python>=4.10,<5"
HEADLESS = "opencv-python-headless>=4.10,<5"
"""OpenCV without windows, which takes the place of the other one."""
SYSTEM_LIBRARIES = "sudo apt install libgl1 libglib2.0-0"
"""What brings the system libraries of opencv-python on Debian, Raspberry Pi OS and Ubuntu."""


WORKSTATION_EXTRAS = ("train", "export", "bench")
"""Extras that bring a second distribution, `maskedge-workstation`."""


def pip(*arguments: str) -> str:
    """Give the line of shell that calls the pip of this Python: that of a virtual environment need not be on the PATH."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def install_command(extra: str = "") -> str:
    """Give the line of shell that installs the package again, with an extra.

    Args:
        extra: Name of an extra, such as `mqtt`; empty for the base install.
    """
    origin = _origin()
    extras = f"[{extra}]" if extra else ""
    place = urlsplit(origin.get("url", ""))
    if place.scheme != "file":
        return pip("install", f"maskedge{extras}")
    path = Path(unquote(place.path))
    # A wheel is often thrown away once it is installed; its name still says which file is needed.
    requirement = f"{path if path.exists() else path.name}{extras}"
    options = ["-e"] if origin.get("dir_info", {}).get("editable") else []
    if path.suffix == ".whl" and extra in WORKSTATION_EXTRAS:
        # `make wheel` puts both wheel files into one folder.
        options = ["--find-links", str(path.parent) if path.exists() else "."]
    return pip("install", *options, requirement)


def _origin() -> dict[str, Any]:
    """Give what pip noted about where the package came from: `url` and, for a folder, `dir_info`; empty when from an index."""
    try:
        text = distribution("maskedge").read_text("direct_url.json")
        content = json.loads(text or "{}")
    except (PackageNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
