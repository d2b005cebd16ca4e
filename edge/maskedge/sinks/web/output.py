"""The web output as `maskedge.sinks` lists it. The server is loaded when a page is served."""

from __future__ import annotations

from maskedge.sinks.base import Sink, SinkContext

from .config import WebConfig


class WebOutput(Sink):
    """An output with the section `[web]`. `open` returns a `WebSink`."""

    name = "web"
    section = "web"
    settings_class = WebConfig
    queue_capacity = None

    @classmethod
    def is_wanted(cls, settings: WebConfig) -> bool:
        """Return True if an address is set."""
        return bool(settings.serve)

    @classmethod
    def open(cls, settings: WebConfig, context: SinkContext) -> Sink | None:
        """Start the server."""
        from .sink import WebSink

        sink = WebSink(settings, context.snapshot, names=context.names, history=context.history)
        context.warnings.extend(sink.warnings)
        return sink
