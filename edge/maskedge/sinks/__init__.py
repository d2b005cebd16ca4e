"""The outputs of a run. Each is a subclass of `Sink` in its own module and is listed here.

The table contains import paths, so that reading it loads neither OpenCV nor a library of an extra.
"A sink" in CONTRIBUTING.md describes how to add one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Sink

SINKS = [
    "maskedge.sinks.save:SaveSink",
    "maskedge.sinks.events:EventSink",
    "maskedge.sinks.clips:ClipSink",
    "maskedge.sinks.history:HistorySink",
    "maskedge.sinks.mqtt.sink:MqttSink",
    "maskedge.sinks.web.output:WebOutput",
    "maskedge.sinks.window:WindowSink",
]
"""Modules and classes of the outputs, in the order of opening and writing."""


def sink_classes() -> list[type[Sink]]:
    """Import and return the classes of all outputs."""
    classes = []
    for path in SINKS:
        module, _, name = path.partition(":")
        classes.append(getattr(import_module(module), name))
    return classes
