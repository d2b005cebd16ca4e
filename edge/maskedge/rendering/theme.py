"""Colours, fonts, label symbols and label names of pages, reports and the overlay.

A symbol and a name identify a label; colour is never the only signal. This module imports no other
module of the project, so any part may use it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """The appearance of a label.

    Attributes:
        name: Name in running text; `label_title` capitalises it for use alone.
        symbol: One character shown next to the name or in its place.
        light: Text colour on a light background, `#rrggbb`, with a contrast ratio of at least 4.5.
        dark: Text colour on a dark background, with the same contrast.
        picture: Colour of the overlay's boxes and captions, `#rrggbb`.
        dash: Line style in a chart, as an SVG `stroke-dasharray`; empty for a solid line.
    """

    name: str
    symbol: str
    light: str
    dark: str
    picture: str
    dash: str


LABELS = {
    "with_mask": LabelStyle("with a mask", "✓", light="#0f7f5f", dark="#3ccb9b", picture="#1b9e77", dash=""),
    "without_mask": LabelStyle("without a mask", "✕", light="#c63f13", dark="#ff7f57", picture="#dc4b1e", dash="7 3"),
    "incorrect_mask": LabelStyle("mask worn incorrectly", "!", light="#9a6300", dark="#f2b92f", picture="#ebaa14", dash="7 3 2 3"),
    "unsure": LabelStyle("unsure", "?", light="#5f6a94", dark="#a9b3dc", picture="#6e78a0", dash="2 3"),
}
"""The labels of the bundled models, in display order."""

LIGHT = {
    "ink": "#1c2126",
    "soft": "#5b6670",
    "paper": "#ffffff",
    "panel": "#f4f6f8",
    "line": "#d9dee3",
    "accent": "#0b6bcb",
    "good": "#0f7f5f",
    "bad": "#b3261e",
    "bad-panel": "#fdecea",
    "warn-panel": "#fff4dc",
}
"""Colours on a light background.

`ink` is text, `soft` secondary text, `paper` and `panel` are backgrounds, `line` rules, `accent`
links and focus, `good` and `bad` states, `bad-panel` and `warn-panel` the backgrounds of banners.
"""

DARK = {
    "ink": "#e8ecef",
    "soft": "#9aa6b0",
    "paper": "#14181c",
    "panel": "#1d2329",
    "line": "#313a42",
    "accent": "#6cb2ff",
    "good": "#3ccb9b",
    "bad": "#ff8a80",
    "bad-panel": "#3b1f1d",
    "warn-panel": "#352b14",
}
"""Colours on a dark background, with the keys of `LIGHT`."""

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
MONOSPACE = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'


def label_style(label: str) -> LabelStyle:
    """Return the style of `label`.

    An unknown label keeps its own name and gets a neutral symbol and colour.
    """
    other = LABELS["unsure"]
    return LABELS.get(label) or replace(other, name=label.replace("_", " "), symbol="•")


def label_title(label: str) -> str:
    """Return the name of `label` with a capital, for use alone."""
    name = label_style(label).name
    return name[:1].upper() + name[1:]


def to_bgr(colour: str) -> tuple[int, int, int]:
    """Convert `#rrggbb` to an OpenCV colour: blue, green, red, each 0 to 255."""
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)


def _properties(colours: dict[str, str], *, dark: bool) -> str:
    labels = {f"label-{name.replace('_', '-')}": style.dark if dark else style.light for name, style in LABELS.items()}
    return " ".join(f"--{name}: {value};" for name, value in {**colours, **labels}.items())


VARIABLES = f"""
:root {{
  color-scheme: light dark;
  {_properties(LIGHT, dark=False)}
  --font: {FONT}; --monospace: {MONOSPACE};
  --gap-1: .25rem; --gap-2: .5rem; --gap-3: .8rem; --gap-4: 1.25rem; --gap-5: 2.2rem; --round: 6px; --round-big: 12px;
}}
/* Printed pages are always dark on light. */
@media screen and (prefers-color-scheme: dark) {{
  :root {{ {_properties(DARK, dark=True)} }}
}}
@media print {{
  :root {{ color-scheme: light; }}
}}
"""
"""CSS custom properties.

The properties are the colours (`--ink`), the colours of labels (`--label-with-mask`), `--font`,
`--gap-1` to `--gap-5`, and `--round`.
"""

BASE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; font: 16px/1.5 var(--font); color: var(--ink); background: var(--paper); }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: var(--gap-5) 0 .6rem; }
p { max-width: 46rem; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.lead, figcaption, caption { color: var(--soft); }
table { border-collapse: collapse; margin: var(--gap-3) 0; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
.scroll { overflow-x: auto; }
.label { white-space: nowrap; }
.label::before {
  content: attr(data-symbol); display: inline-block; width: 1.35em; margin-right: .45em; border-radius: 50%; text-align: center;
  font-weight: 700; line-height: 1.35; color: var(--paper); background: var(--label-unsure);
}
.label[data-label="with_mask"]::before { background: var(--label-with-mask); }
.label[data-label="without_mask"]::before { background: var(--label-without-mask); }
.label[data-label="incorrect_mask"]::before { background: var(--label-incorrect-mask); }
"""
"""Style sheet of text, tables and labels.

A label is `<span class="label" data-label="with_mask" data-symbol="✓">with a mask</span>`.
"""
