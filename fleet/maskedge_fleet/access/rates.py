"""Limits on the number of requests of a token and of an address, and of refused tokens."""

from __future__ import annotations

import math
import threading
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from maskedge.errors import UsageError
from maskedge.settings import shown
from maskedge_fleet.settings import ServerConfig


class RateLimits:
    """Counts requests in this process, from any thread.

    Args:
        config: The section `[server]`.

    Raises:
        UsageError: A limit is not of the form `600/minute`.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._items: dict[str, RateLimitItem] = {
            "token": _parse("token_limit", config.token_limit),
            "address": _parse("address_limit", config.address_limit),
            "login": _parse("login_limit", config.login_limit),
        }
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        # The storage fails if two threads count at the same time: both start its timer.
        self._lock = threading.Lock()

    def count(self, kind: str, key: str) -> int:
        """Count a request. Return 0, or the seconds to wait if the limit is exceeded.

        Args:
            kind: `token`, `address` or `login`.
            key: Identifies the token or the address.
        """
        item = self._items[kind]
        with self._lock:
            if self._limiter.hit(item, kind, key):
                return 0
            reset = self._limiter.get_window_stats(item, kind, key).reset_time
        return max(1, math.ceil(reset - time.time()))


def _parse(name: str, text: str) -> RateLimitItem:
    try:
        item = parse(text)
        # A limit of 0 would refuse every request.
        if item.amount < 1 or item.multiples < 1:
            raise ValueError
    except ValueError:
        raise UsageError(f"server.{name} is a limit such as 600/minute, got {shown(text)}.") from None
    return item
