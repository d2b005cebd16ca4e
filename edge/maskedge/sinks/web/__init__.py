"""The status page, the API, the live picture and the metrics of a running `edge-run`, over HTTP."""

from __future__ import annotations

from .config import WebConfig
from .sink import WebSink

__all__ = ["WebConfig", "WebSink"]
