"""The web output as `maskedge.sinks` lists it. The server is loaded when a page is served."""

from __future__ import annotations

import threading

from maskedge.sinks.base import CAMERAS, Sink, SinkContext

from .config import WebConfig, read_token

_sharing = threading.Lock()
"""Held while a camera looks for the shared server and starts it. Several cameras may open at the same time."""


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
    def validate(cls, settings: WebConfig) -> None:
        """Refuse a token file that cannot be read."""
        read_token(settings)

    @classmethod
    def open(cls, settings: WebConfig, context: SinkContext) -> Sink | None:
        """Start the server, or serve the camera on the one of the process."""
        from .sink import WebSink
        from .site import WebSite

        if not context.named:
            sink = WebSink(settings, context.snapshot, names=context.names, history=context.history)
            context.warnings.extend(sink.warnings)
            return sink
        with _sharing:
            site = context.shared.get(cls.name)
            if site is None:
                site = WebSite(settings, lambda: context.shared.get(CAMERAS, {}), history=context.history)
                context.shared[cls.name] = site
                site.start()
                context.warnings.extend(site.warnings)
        return WebSink(settings, context.snapshot, names=context.names, camera=context.camera, named=True, site=site)
