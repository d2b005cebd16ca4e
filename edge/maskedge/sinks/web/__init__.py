"""The status page, the API, the live picture and the metrics of a running `edge-run`, over HTTP."""

from __future__ import annotations

from .config import WebConfig
from .metrics import Names
from .sink import WebSink

__all__ = ["Names", "WebConfig", "WebSink"]
