"""Addresses of streams: which are known, and how they are said without their secrets."""

from __future__ import annotations

import re

STREAMS = ("rtsp", "rtsps", "http", "https", "tcp", "udp", "rtp", "rtmp", "srt")
"""Schemes that FFmpeg reads as a live stream."""

# Names under which cameras and pipelines take their secrets: ?user=..&pwd=.., rtspsrc user-pw=..
_SECRET = re.compile(
    r"(?i)(?<![a-z0-9])(user(?:[-_]?(?:id|name|pw))?|usr|login(?:use|pas|id)?|account|auth|pass(?:word|wd|phrase)?|pwd|pw|"
    r"(?:(?:auth|access|api|stream)[-_]?)?(?:token|key|secret))=(?:\"[^\"]*\"|[^&\s!;#]+)"
)
_USER = re.compile(r"(?<=://)([^/?#\s]*)@(?=[^/?#@\s]*)")
# A slash in a password: what stands where the port belongs is no number.
_ODD = re.compile(r"(?<=://)[^/?#\s@:\[\]]*:(?!\d+(?:[/?#\s]|$))[^\s]*@")


def without_password(text: str) -> str:
    """Hide name and password of an address or a GStreamer pipeline, for logs and events.

    >>> without_password("rtsp://me:secret@camera/1?channel=2&pwd=secret")
    'rtsp://***@camera/1?channel=2&pwd=***'
    """
    text = _ODD.sub("***@", text)
    text = _USER.sub(lambda found: "***@" if found[1] else "@", text)
    return _SECRET.sub(r"\1=***", text)
