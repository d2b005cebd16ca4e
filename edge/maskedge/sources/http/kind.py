"""The kind of source `http://`. The HTTP client and TLS are loaded when such a camera is used."""

from __future__ import annotations

from functools import partial

from maskedge.sources.address import check_stream, has_scheme
from maskedge.sources.config import SourceConfig
from maskedge.sources.devices.capture import Opener
from maskedge.sources.kinds import LiveKind


def _opener(uri: str, config: SourceConfig) -> Opener:
    from .camera import open_http

    check_stream(uri)  # refuses what cannot work before a thread opens it
    return partial(open_http, uri, config)


KIND = LiveKind(("http://", "https://"), lambda uri, config: has_scheme(uri, "http", "https"), _opener)
