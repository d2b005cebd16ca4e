"""The look of the page: the colours, fonts and spacing of the status page and the reports, in Streamlit's terms."""

from __future__ import annotations

_LIGHT = {
    "primaryColor": "#0b6bcb",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f4f6f8",
    "textColor": "#1c2126",
    "borderColor": "#d9dee3",
    "linkColor": "#0b6bcb",
}
_DARK = {
    "primaryColor": "#6cb2ff",
    "backgroundColor": "#14181c",
    "secondaryBackgroundColor": "#1d2329",
    "textColor": "#e8ecef",
    "borderColor": "#313a42",
    "linkColor": "#6cb2ff",
}
THEME: dict[str, str] = {
    "theme.font": "system-ui, sans-serif",
    "theme.headingFont": "system-ui, sans-serif",
    "theme.baseRadius": "6px",
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}
"""Options of Streamlit: light or dark as the reader's system."""
