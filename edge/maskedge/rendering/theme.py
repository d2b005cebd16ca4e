"""The look of what people read, in one place: colours, symbols and words of the status page, the reports, the app and the overlay.

A label is told by its symbol and its name; its colour comes on top and is never the only signal. Nothing is imported, so that any
part may use it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How a label is shown.

    Attributes:
        name: What people call it.
        symbol: One character that stands beside or instead of the name.
        light: Colour on light paper, `#rrggbb`; 4.5 times as dark as the paper, so words may have it.
        dark: Colour on dark paper, as readable.
        picture: Colour of boxes on pictures, `#rrggbb`.
        dash: Dashes of its line in a chart, as SVG's `stroke-dasharray`; empty for a solid line.
    """

    name: str
    symbol: str
    light: str
    dark: str
    picture: str
    dash: str


LABELS = {
    "with_mask": LabelStyle("with a mask", "✓", "#0f7f5f", "#3ccb9b", "#1b9e77", ""),
    "without_mask": LabelStyle("without a mask", "✕", "#c63f13", "#ff7f57", "#dc4b1e", "7 3"),
    "incorrect_mask": LabelStyle("mask worn wrongly", "!", "#9a6300", "#f2b92f", "#ebaa14", "7 3 2 3"),
    "unsure": LabelStyle("not sure", "?", "#5f6a94", "#a9b3dc", "#6e78a0", "2 3"),
}
"""The labels of the bundled models, in the order in which they are shown."""

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
"""Colours on light paper: `ink` words, `soft` lesser words, `paper` and `panel` grounds, `line` rules, `accent` links and focus,
`good` and `bad` states, `bad-panel` and `warn-panel` the grounds of banners."""

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
"""The same colours on dark paper."""

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
MONOSPACE = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'


def label_look(label: str) -> LabelStyle:
    """Give the look of `label`; one that is not known (a model of other makers) keeps its own name."""
    other = LABELS["unsure"]
    return LABELS.get(label) or LabelStyle(label.replace("_", " "), "•", other.light, other.dark, other.picture, other.dash)


def to_bgr(colour: str) -> tuple[int, int, int]:
    """Give `#rrggbb` as OpenCV takes it: blue, green, red, 0 to 255."""
    return int(colour[5:7], 16), int(colour[3:5], 16), int(colour[1:3], 16)


def _properties(colours: dict[str, str], *, dark: bool) -> str:
    labels = {f"label-{name.replace('_', '-')}": look.dark if dark else look.light for name, look in LABELS.items()}
    return " ".join(f"--{name}: {value};" for name, value in {**colours, **labels}.items())


VARIABLES = f"""
:root {{
  color-scheme: light dark;
  {_properties(LIGHT, dark=False)}
  --font: {FONT}; --monospace: {MONOSPACE};
  --gap-1: .25rem; --gap-2: .5rem; --gap-3: .8rem; --gap-4: 1.25rem; --gap-5: 2.2rem; --round: 6px; --round-big: 12px;
}}
/* On paper it is dark on light, whatever the reader prefers on the screen. */
@media screen and (prefers-color-scheme: dark) {{
  :root {{ {_properties(DARK, dark=True)} }}
}}
@media print {{
  :root {{ color-scheme: light; }}
}}
"""
"""CSS custom properties: `--ink` and the other colours, `--label-with-mask` and so on, `--font`, `--gap-1` to `--gap-5`,
`--round`."""

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
"""Style sheet of words, tables and of a label: `<span class="label" data-label="with_mask" data-symbol="✓">with a mask</span>`."""
