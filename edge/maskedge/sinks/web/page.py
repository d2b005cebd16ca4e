"""The files of the status page and the editor, with the theme of the project inserted."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path

from maskedge.rendering.theme import BASE, LABELS, VARIABLES

from .http import Response

_FOLDER = Path(__file__).parent / "assets"
_SCRIPTS = ("dom.js", "page.js", "wall.js", "history.js", "editor.js")


def assets(*, picture: bool, history: bool = False) -> dict[str, Response]:
    """Return the files of the page by URL path.

    Args:
        picture: True if the page shows the live picture.
        history: True if the page shows the history.
    """
    labels = {label: {key: asdict(style)[key] for key in ("name", "symbol", "dash")} for label, style in LABELS.items()}
    page = (_FOLDER / "page.html").read_text("utf-8")
    page = page.replace("{{labels}}", html.escape(json.dumps(labels))).replace("{{picture}}", "yes" if picture else "no")
    page = page.replace("{{history}}", "yes" if history else "no")
    css = VARIABLES + BASE + (_FOLDER / "page.css").read_text("utf-8")
    script, style = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
    charts = {
        "/uplot.js": Response((_FOLDER / "uplot" / "uPlot.iife.min.js").read_bytes(), script),
        "/uplot.css": Response((_FOLDER / "uplot" / "uPlot.min.css").read_bytes(), style),
    }
    return {
        "/": Response(page.encode(), "text/html; charset=utf-8"),
        "/page.css": Response(css.encode(), style),
        "/editor.html": Response((_FOLDER / "editor.html").read_bytes(), "text/html; charset=utf-8"),
        **{f"/{name}": Response((_FOLDER / name).read_bytes(), script) for name in _SCRIPTS},
        **(charts if history else {}),
        "/icon.svg": Response((_FOLDER / "icon.svg").read_bytes(), "image/svg+xml"),
    }
