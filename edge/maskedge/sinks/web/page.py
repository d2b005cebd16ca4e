"""The files of the status page, with the theme of the project inserted."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path

from maskedge.rendering.theme import BASE, LABELS, VARIABLES

from .http import Response

_FOLDER = Path(__file__).parent / "assets"


def assets(*, picture: bool) -> dict[str, Response]:
    """Return the files of the page by URL path.

    Args:
        picture: True if the page shows the live picture.
    """
    labels = {label: {key: asdict(style)[key] for key in ("name", "symbol", "dash")} for label, style in LABELS.items()}
    page = (_FOLDER / "page.html").read_text("utf-8")
    page = page.replace("{{labels}}", html.escape(json.dumps(labels))).replace("{{picture}}", "yes" if picture else "no")
    css = VARIABLES + BASE + (_FOLDER / "page.css").read_text("utf-8")
    return {
        "/": Response(page.encode(), "text/html; charset=utf-8"),
        "/page.css": Response(css.encode(), "text/css; charset=utf-8"),
        "/page.js": Response((_FOLDER / "page.js").read_bytes(), "text/javascript; charset=utf-8"),
        "/icon.svg": Response((_FOLDER / "icon.svg").read_bytes(), "image/svg+xml"),
    }
