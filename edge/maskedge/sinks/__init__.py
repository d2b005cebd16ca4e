"""Where answers go."""

from __future__ import annotations

from .base import Sink
from .events import EventSink
from .images import ImageSink
from .video import VideoSink, open_picture_output
from .window import WindowSink, display_problem

__all__ = ["EventSink", "ImageSink", "Sink", "VideoSink", "WindowSink", "display_problem", "open_picture_output"]
