"""Build HTML reports of one file each, with embedded pictures.

A report is light or dark according to the reader's system.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from maskedge.support.files import write_file
from maskedge.types import Image

from .jpeg import encode_jpeg
from .theme import BASE, VARIABLES

_STYLE = """
.gallery { display: flex; flex-wrap: wrap; gap: .6rem; }
.gallery figure, .charts figure {
  margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: var(--round); padding: .4rem;
}
.gallery figure { width: 9rem; } .gallery img { width: 100%; display: block; border-radius: 3px; }
.gallery figcaption { font-size: .75rem; overflow-wrap: anywhere; margin-top: .3rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } .charts img { max-width: 100%; display: block; background: #fff; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } figure, tr { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; } th, td { padding: .2rem .4rem; font-size: 7.5pt; }
}
.headlines { display: flex; flex-wrap: wrap; gap: .8rem; margin: .8rem 0; }
.headlines p {
  margin: 0; flex: 1 1 11rem; max-width: 20rem; padding: .7rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: var(--round-big); color: var(--soft);
}
.headlines strong { display: block; font-size: 1.9rem; line-height: 1.2; color: var(--ink); font-variant-numeric: tabular-nums; }
.warning { background: var(--warn-panel); padding: .6rem 1rem; border-radius: var(--round); }
.confusion td { min-width: 5.5rem; text-align: center; border: 1px solid var(--line); }
.confusion td small { display: block; color: var(--soft); }
.confusion .right { box-shadow: inset 0 0 0 2px var(--good); }
.confusion .wrong { background: var(--bad-panel); }
@media (max-width: 40rem) {
  body { padding: 1rem; } th, td { padding: .3rem .4rem; }
  .confusion th, .confusion td { padding: .3rem; min-width: 3.2rem; font-size: .8rem; }
  .headlines p { flex-basis: 8rem; padding: .5rem .7rem; font-size: .85rem; } .headlines strong { font-size: 1.4rem; }
}
.group { border-left: 3px solid var(--accent); padding-left: .7rem; margin: .8rem 0; }
"""


def text(value: object) -> str:
    """Escape `value` for HTML."""
    return html.escape(str(value))


def picture(image: Image, longest_side: int = 144) -> str:
    """Return a JPEG data URL of `image`, shrunk to `longest_side` pixels.

    Args:
        image: uint8 `[H, W, 3]`, BGR.
        longest_side: Maximum width and height in pixels.
    """
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(image, 85, longest_side=longest_side)).decode()


def png(content: bytes) -> str:
    """Return a data URL of the PNG file `content`."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def figure(source: str, caption: str, description: str = "") -> str:
    """Return a picture with a caption; `description` is its alternative text."""
    return f'<figure><img src="{source}" alt="{text(description or caption)}"><figcaption>{text(caption)}</figcaption></figure>'


def gallery(figures: Iterable[str]) -> str:
    """Return small pictures side by side."""
    return f'<div class="gallery">{"".join(figures)}</div>'


def charts(figures: Iterable[str]) -> str:
    """Return charts side by side."""
    return f'<div class="charts">{"".join(figures)}</div>'


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table with names in the first column and figures in the other columns."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{text(cell)}</th>' if not i else f"<td>{text(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{named}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def headlines(parts: Iterable[str]) -> str:
    """Return headline figures (see `headline`) side by side."""
    return f'<div class="headlines">{"".join(parts)}</div>'


def headline(value: str, words: str) -> str:
    """Return one large figure with its explanation."""
    return f"<p><strong>{text(value)}</strong> {text(words)}</p>"


def warning(words: str) -> str:
    """Return a highlighted paragraph."""
    return f'<p class="warning">{text(words)}</p>'


def heading(words: str) -> str:
    """Return a heading inside a section."""
    return f"<h3>{text(words)}</h3>"


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix of counts and shares of the row.

    Rows are true labels, columns are predictions.
    """
    # Names may break at underscores, since four names are wider than a phone.
    names = [text(label).replace("_", "_<wbr>") for label in labels]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for row, (name, cells) in enumerate(zip(names, counts, strict=True)):
        total = max(sum(cells), 1)
        body = "".join(
            f'<td class="{"right" if column == row else "wrong" if count else ""}">{count:,}<small>{count / total:.1%}</small></td>'
            for column, count in enumerate(cells)
        )
        rows.append(f'<tr><th scope="row">{name}</th>{body}</tr>')
    caption = "<caption>Confusion matrix: rows are true labels, columns are predictions</caption>"
    top = f'<thead><tr><th scope="col">True \u2193 Predicted \u2192</th>{head}</tr></thead>'
    return f'<div class="scroll"><table class="confusion">{caption}{top}<tbody>{"".join(rows)}</tbody></table></div>'


def section(title: str, *parts: str) -> str:
    """Return a section with a heading; `parts` are HTML."""
    return f"<section><h2>{text(title)}</h2>{''.join(parts)}</section>"


def paragraph(words: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{text(words)}</p>"


def write_page(path: Path, title: str, lead: str, sections: Iterable[str]) -> None:
    """Write a page with a title, a lead paragraph and `sections` of HTML.

    Raises:
        OutputError: The file cannot be written.
    """
    content = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{text(title)}</title><style>{VARIABLES}{BASE}{_STYLE}</style></head>"
        f'<body><h1>{text(title)}</h1><p class="lead">{text(lead)}</p>{"".join(sections)}</body></html>\n'
    )
    write_file(path, content)
