"""The colours and fonts of `maskedge.rendering.theme` as Streamlit options."""

from __future__ import annotations

from maskedge.rendering.theme import DARK, FONT, LIGHT, MONOSPACE

_COLOURS = {
    "primaryColor": "accent",
    "backgroundColor": "paper",
    "secondaryBackgroundColor": "panel",
    "textColor": "ink",
    "borderColor": "line",
    "linkColor": "accent",
    "greenTextColor": "good",
    "redTextColor": "bad",
}
THEME: dict[str, str | list[str]] = {
    "theme.font": FONT,
    "theme.headingFont": FONT,
    "theme.codeFont": MONOSPACE,
    "theme.headingFontSizes": ["1.9rem", "1.5rem", "1.25rem"],
    "theme.metricValueFontSize": "1.6rem",
    "theme.baseRadius": "6px",
    **{f"theme.light.{option}": LIGHT[name] for option, name in _COLOURS.items()},
    **{f"theme.dark.{option}": DARK[name] for option, name in _COLOURS.items()},
}
"""Streamlit options. The page is light or dark according to the reader's system."""
