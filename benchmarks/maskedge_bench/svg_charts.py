"""Inline SVG charts in the colours of the page; lines also differ by their dashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from maskedge.rendering.html import text

STYLE = """<style>
.charts figure { flex: 1 1 28rem; max-width: min(37rem, 100%); min-width: 0; overflow-x: auto; }
.charts figure > svg { min-width: 28rem; } .charts figcaption { font-size: .85rem; }
th[scope="row"] { min-width: 9rem; }
@media print {
  .charts figure { overflow: visible; max-width: 28rem; } .charts figure > svg { min-width: 0; }
  .charts figcaption { columns: 2; font-size: .7rem; } th[scope="row"] { min-width: 0; }
  thead { break-after: avoid; } tbody tr:first-child { break-before: avoid; }
}
</style>"""
"""The style sheet of a page with charts and wide tables."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 340, 58, 14, 12, 44
_COLOURS = ("--accent", "--label-with-mask", "--label-without-mask", "--label-incorrect-mask", "--label-unsure", "--soft")
_DASHES = ("", "7 3", "2 3", "7 3 2 3", "12 4", "1 2")
_BAR, _GAP = 22, 24


@dataclass(frozen=True)
class Series:
    """One line or set of dots.

    Attributes:
        name: Name in the legend.
        points: Pairs of x and y. A logarithmic axis leaves out values of 0 and below.
        line: Join the points by a line.
        dots: Draw a dot at each point.
        names: A label per point; empty for none.
    """

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = True
    dots: bool = False
    names: Sequence[str] = ()


def plot(series: Sequence[Series], across: str, up: str, *, log_x: bool = False, log_y: bool = False, whole_x: bool = False) -> str:
    """Return a chart as a `<figure>`, or an empty string without points.

    Args:
        series: Lines and dots.
        across: Title of the x axis.
        up: Title of the y axis.
        log_x: Make the x axis logarithmic.
        log_y: Make the y axis logarithmic.
        whole_x: Draw only integer ticks on the x axis.
    """
    points = [point for own in series for point in own.points]
    xs, ys = [x for x, _ in points if x > 0 or not log_x], [y for _, y in points if y > 0 or not log_y]
    if not xs or not ys:
        return ""
    x_ticks, y_ticks = _ticks(min(xs), max(xs), log=log_x, least=float(whole_x)), _ticks(min(ys), max(ys), log=log_y)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    to_x, to_y = _scale(x_ticks, _LEFT, wide, log=log_x), _scale(y_ticks, _TOP + high, -high, log=log_y)
    parts = []
    for tick in x_ticks:
        parts.append(f'<path d="M{to_x(tick)} {_TOP}v{high}" stroke="var(--line)"/>')
        parts.append(f'<text x="{to_x(tick)}" y="{_TOP + high + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        parts.append(f'<path d="M{_LEFT} {to_y(tick)}h{wide}" stroke="var(--line)"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{to_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
    middle = _TOP + high / 2
    parts.append(f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{text(across)}</text>')
    parts.append(f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{text(up)}</text>')
    keys = []
    for index, own in enumerate(series):
        # A repeated colour gets a different dash pattern.
        dashes = _DASHES[(index + index // len(_COLOURS)) % len(_DASHES)]
        colour = f"var({_COLOURS[index % len(_COLOURS)]})"
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" fill="none"'
        named = [
            (to_x(x), to_y(y), name)
            for (x, y), name in zip(own.points, own.names or [""] * len(own.points), strict=True)
            if (x > 0 or not log_x) and (y > 0 or not log_y)
        ]
        placed = [(x, y) for x, y, _ in named]
        if own.line:
            parts.append(f'<polyline points="{" ".join(f"{x},{y}" for x, y in placed)}" {stroke}/>')
        if own.dots:
            parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in placed]
        for x, y, name in named if own.names else ():
            # Place the label on the side with more room.
            anchor, shift = ("end", -8) if x > _LEFT + wide / 2 else ("start", 8)
            parts.append(f'<text x="{x + shift}" y="{y - 8}" text-anchor="{anchor}">{text(name)}</text>')
        mark = f'<path d="M0 5H40" {stroke}/>' if own.line else f'<circle cx="20" cy="5" r="4" fill="{colour}"/>'
        keys.append(f'<svg width="40" height="10" aria-hidden="true">{mark}</svg> {text(own.name)}<br>')
    return _figure(_WIDTH, _HEIGHT, f"{up} over {across}", parts, "".join(keys))


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], unit: str) -> str:
    """Return a chart of stacked horizontal bars as a `<figure>`, or an empty string without values.

    Args:
        rows: Name and parts (name, value) of each bar.
        unit: Unit of the values.
    """
    longest = max((sum(value for _, value in parts) for _, parts in rows), default=0.0)
    if longest <= 0:
        return ""
    names = list(dict.fromkeys(name for _, parts in rows for name, _ in parts))
    drawn, wide, y = [], _WIDTH - 10, 0
    for name, parts in rows:
        total = sum(value for _, value in parts)
        drawn.append(f'<text x="2" y="{y + 15}">{text(name)}: {total:.2f} {text(unit)}</text>')
        x = 2.0
        for part, value in parts:
            width = round(value / longest * wide, 1)
            colour = f"var({_COLOURS[names.index(part) % len(_COLOURS)]})"
            drawn.append(
                f'<rect x="{round(x, 1)}" y="{y + _GAP - 4}" width="{width}" height="{_BAR - 6}" fill="{colour}" '
                f'stroke="var(--paper)"><title>{text(part)}: {value:.2f} {text(unit)}</title></rect>'
            )
            if width > 7 * len(part):
                drawn.append(f'<text x="{x + 4:.1f}" y="{y + _GAP + 8}" style="fill:var(--paper)">{text(part)}</text>')
            x += width
        y += _BAR + _GAP
    keys = [
        '<span style="white-space:nowrap"><svg width="14" height="12" aria-hidden="true">'
        f'<rect width="12" height="12" fill="var({_COLOURS[index % len(_COLOURS)]})"/>'
        f"</svg> {text(name)}</span> "
        for index, name in enumerate(names)
    ]
    return _figure(_WIDTH, y, f"{unit} by part", drawn, "".join(keys))


def _figure(width: float, height: float, description: str, parts: Sequence[str], caption: str) -> str:
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" role="img" font-size="12" fill="var(--ink)" '
        f'style="max-width:100%" aria-label="{text(description)}. The tables have the figures.">{"".join(parts)}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _scale(ticks: Sequence[float], start: float, length: float, *, log: bool) -> Callable[[float], float]:
    """Return a function from values to coordinates. The outer ticks are the ends of the axis."""
    shown: Callable[[float], float] = log10 if log else float
    low, high = shown(ticks[0]), shown(ticks[-1])
    return lambda value: round(start + (shown(value) - low) / (high - low) * length, 1)


def _ticks(low: float, high: float, *, log: bool, least: float = 0.0) -> list[float]:
    """Return round values that cover `low` to `high`, with a step of at least `least`."""
    if log:
        found = [step * 10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 2) for step in (1, 2, 5)]
        first = max(index for index, value in enumerate(found) if value <= low)
        last = min(index for index, value in enumerate(found) if value >= high and index > first)
        return found[first : last + 1]
    rough = (high - low or abs(high) or 1.0) / 5
    power = 10.0 ** floor(log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    step = max(step, least)
    first, last = floor(low / step), ceil(high / step)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]
