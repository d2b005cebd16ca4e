"""The files of the status page and the editor, with the theme of the project inserted."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from pathlib import Path

from maskedge.rendering.theme import BASE, LABELS, VARIABLES

from .http import Response

_FOLDER = Path(__file__).parent / "assets"
_HTML, _SCRIPT, _STYLE = (f"text/{kind}; charset=utf-8" for kind in ("html", "javascript", "css"))
_SHARED_SCRIPTS = ("dom.js", "format.js", "charts.js")
_SCRIPTS = ("page.js", "wall.js", "history.js", "editor.js")


def assets(*, picture: bool, stills: bool = False, history: bool = False) -> dict[str, Response]:
    """Return the files of the page by URL path.

    Args:
        picture: True if the page shows the live picture.
        stills: True if it shows stills instead of a stream, which not every proxy passes on.
        history: True if the page shows the history.
    """
    page = insert_labels((_FOLDER / "page.html").read_text("utf-8"))
    page = page.replace("{{picture}}", ("stills" if stills else "stream") if picture else "no").replace(
        "{{history}}", "yes" if history else "no"
    )
    shared = {path: response for path, response in shared_assets().items() if history or "uplot" not in path}
    return {
        **shared,
        "/": Response(page.encode(), _HTML),
        "/editor.html": Response((_FOLDER / "editor.html").read_bytes(), _HTML),
        "/page.css": Response((_FOLDER / "page.css").read_bytes(), _STYLE),
        **{f"/{name}": Response((_FOLDER / name).read_bytes(), _SCRIPT) for name in _SCRIPTS},
    }


def shared_assets() -> dict[str, Response]:
    """Return the files that the page of the fleet also uses, by URL path."""
    common = VARIABLES + BASE + (_FOLDER / "common.css").read_text("utf-8")
    return {
        "/common.css": Response(common.encode(), _STYLE),
        **{f"/{name}": Response((_FOLDER / name).read_bytes(), _SCRIPT) for name in _SHARED_SCRIPTS},
        "/uplot.js": Response((_FOLDER / "uplot" / "uPlot.iife.min.js").read_bytes(), _SCRIPT),
        "/uplot.css": Response((_FOLDER / "uplot" / "uPlot.min.css").read_bytes(), _STYLE),
        "/icon.svg": Response((_FOLDER / "icon.svg").read_bytes(), "image/svg+xml"),
    }


def insert_labels(page: str) -> str:
    """Return a page with the styles of the labels in the place of `{{labels}}`."""
    labels = {label: {key: asdict(style)[key] for key in ("name", "symbol", "dash")} for label, style in LABELS.items()}
    return page.replace("{{labels}}", html.escape(json.dumps(labels)))
