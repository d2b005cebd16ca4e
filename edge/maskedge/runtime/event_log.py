"""Logging of events."""

from __future__ import annotations

import logging

from maskedge.events import ALERT, FACE_APPEARED, FACE_LEFT, HEALTH, LABEL_CHANGED, LINE_CROSSED, OUTPUT_LOST, SOURCE_LOST, Event
from maskedge.support.log import NAME

_log = logging.getLogger(NAME)
_LEVELS = {
    **dict.fromkeys((SOURCE_LOST, ALERT, OUTPUT_LOST), logging.WARNING),
    **dict.fromkeys((FACE_APPEARED, FACE_LEFT, LABEL_CHANGED, LINE_CROSSED), logging.DEBUG),
}


def log_event(event: Event) -> None:
    """Log an event as one line, at the level of its kind."""
    level = _LEVELS.get(event.kind, logging.INFO)
    if event.kind == HEALTH and (event.details.get("throttled") or event.details.get("slowed_by")):
        level = logging.WARNING
    if _log.isEnabledFor(level):
        _log.log(level, "%s", describe_event(event), extra={"happening": event.to_json()})


def describe_event(event: Event) -> str:
    """Return an event as a message for people."""
    kind, details = event.kind, event.details
    match kind:
        case "source_lost":
            return f"lost: {details['error']}"
        case "source_back":
            return f"{event.source} is back after {details['seconds']} s"
        case "output_lost":
            return f"output {details['output']}: {details.get('error', 'lost')}"
        case "output_back":
            return f"output {details['output']} works again"
        case "alert" | "alert_ended":
            facts = ", ".join(f"{name} {value}" for name, value in details.items() if name not in ("rule", "when"))
            return f"{'alert' if kind == ALERT else 'alert ended'}: {details['rule']} ({facts})"
        case "health" if "slowed_by" in details:
            if not details["slowed_by"]:
                return "the loop runs at its full rate again"
            return f"the loop is limited to {details['rate_limit_fps']} frames/s ({', '.join(details['slowed_by'])})"
        case "health":
            slowed = ", ".join(details["throttled"] or ()) or "not throttled"
            if details["temperature_c"] is None:
                return f"health: {slowed}"
            return f"health: {details['temperature_c']} degrees Celsius ({details['temperature_band']}), {slowed}"
        case _:
            facts = ", ".join(f"{name} {value}" for name, value in details.items())
            return f"{kind.replace('_', ' ')}: {facts}"
