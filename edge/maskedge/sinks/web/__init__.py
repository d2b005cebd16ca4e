"""The web output: status page, API, live picture and metrics of a run, over HTTP."""

from __future__ import annotations

from .config import WebConfig
from .sink import WebSink

__all__ = ["WebConfig", "WebSink"]
