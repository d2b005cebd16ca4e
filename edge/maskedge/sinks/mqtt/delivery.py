"""The messages of a spool on their way: which are sent next, and when they are removed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from maskedge.errors import OutputError

from .spool import Message, Spool

IN_FLIGHT = 16
"""Maximum number of messages that the broker has not confirmed, below the 20 that Mosquitto takes by default."""
_WINDOW = 200
"""Maximum number of messages that the fleet has not confirmed."""
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 300.0
"""Seconds after which a message that the fleet has not confirmed is sent again."""


class Delivery:
    """Delivers the messages of a spool to the broker. One that the broker confirms is removed.

    With QoS 2, each message arrives exactly once. Every method runs on the thread of the connection.

    Args:
        spool: The messages, in order.
        qos: 1 or 2.

    Attributes:
        qos: Quality of service.
        delivered: Number of confirmed messages.
    """

    def __init__(self, spool: Spool, qos: int) -> None:
        self.qos = qos
        self.delivered = 0
        self._spool = spool
        self._position = 0
        self._in_flight: dict[int, Message] = {}
        self._arrived: list[int] = []

    @property
    def is_complete(self) -> bool:
        """True if the spool is empty."""
        return len(self._spool) == 0

    @property
    def has_in_flight(self) -> bool:
        """True if the broker has not confirmed every message that was sent."""
        return bool(self._in_flight)

    @property
    def is_stuck(self) -> bool:
        """True if the broker confirms messages, and the fleet has confirmed none for long."""
        return False

    def remove_arrived(self) -> None:
        """Remove confirmed messages from the spool."""
        if self._arrived:
            # On a full disk, they stay in this list, so that they are not sent again in this run.
            with contextlib.suppress(OutputError):
                self._spool.remove(self._arrived)
                self._arrived = []

    def next_messages(self) -> list[Message]:
        """Return the messages to send now, in order."""
        if len(self._spool) <= len(self._in_flight) + len(self._arrived):
            return []
        return self._new_messages(IN_FLIGHT - len(self._in_flight))

    def add_sent(self, packet: int, message: Message) -> None:
        """Note that a message was sent.

        Args:
            packet: Number of the packet, by which the broker confirms it.
            message: The message.
        """
        self._in_flight[packet] = message

    def has_sent(self, packet: int) -> bool:
        """Return True if a packet is a message that the broker has not confirmed."""
        return packet in self._in_flight

    def confirm_packet(self, packet: int) -> None:
        """Note that the broker has confirmed a packet."""
        self._arrived.append(self._in_flight.pop(packet).number)
        self.delivered += 1

    def confirm_numbers(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Note that the fleet has confirmed messages, by ranges of their numbers."""

    def resume(self) -> None:
        """Note that the connection is restored. The client sends what the broker has not confirmed."""

    def start_anew(self) -> None:
        """Begin with the first unconfirmed message, because a new client does not know the old one's."""
        self._position = min((message.number for message in self._in_flight.values()), default=self._position + 1) - 1
        self._in_flight = {}

    def seconds_left(self) -> float:
        """Return the seconds until a message must be sent again."""
        return _LONGEST_WAIT

    def _new_messages(self, count: int) -> list[Message]:
        """Return the next messages that have not been sent, and count them as sent."""
        arrived = set(self._arrived)
        found = self._spool.after(self._position, count) if count > 0 else []
        if found:
            self._position = found[-1].number
        return [message for message in found if message.number not in arrived]


class FleetDelivery(Delivery):
    """Delivers the messages of a spool to the server of a fleet. One that the server confirms is removed.

    A broker may lose what it has confirmed, so a message is sent again until the server has stored
    it. The server recognises a repeated message by its `id`.

    Args:
        spool: The messages, in order.
    """

    def __init__(self, spool: Spool) -> None:
        super().__init__(spool, qos=1)
        self._sent_at: dict[int, float] = {}  # messages that the fleet has not confirmed, by number
        self._again: list[int] = []
        self._wait = _FIRST_WAIT

    @property
    def is_stuck(self) -> bool:
        """True if the broker confirms messages, and the fleet has confirmed none for long."""
        return self._wait == _LONGEST_WAIT

    def next_messages(self) -> list[Message]:
        """Return the messages to send now: overdue ones again, then new ones."""
        now, room = time.monotonic(), IN_FLIGHT - len(self._in_flight)
        if self.seconds_left() <= 0:
            self._again = sorted(number for number, sent in self._idle() if now - sent >= self._wait)
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
        found: list[Message] = []
        while self._again and len(found) < room:
            number = self._again.pop(0)
            if number in self._sent_at:
                found += (message for message in self._spool.after(number - 1, 1) if message.number == number)
        if len(self._spool) > len(self._sent_at) + len(self._arrived):
            found += self._new_messages(min(room - len(found), _WINDOW - len(self._sent_at)))
        self._sent_at |= dict.fromkeys((message.number for message in found), now)
        return found

    def confirm_packet(self, packet: int) -> None:
        """Note that the broker has confirmed a packet. The message stays until the fleet confirms it."""
        del self._in_flight[packet]

    def confirm_numbers(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Note that the fleet has confirmed messages. Numbers that were not sent are ignored."""
        confirmed = [number for number in self._sent_at if any(first <= number <= last for first, last in ranges)]
        for number in confirmed:
            del self._sent_at[number]
        if confirmed:
            self._wait = _FIRST_WAIT
            self.delivered += len(confirmed)
            self._arrived += confirmed

    def resume(self) -> None:
        """Send again what the fleet has not confirmed, except what the client sends again itself."""
        self._again = sorted(number for number, _ in self._idle())

    def start_anew(self) -> None:
        """Send again what the fleet has not confirmed."""
        self._in_flight = {}

    def seconds_left(self) -> float:
        """Return the seconds until a message must be sent again."""
        if self._again:
            return _LONGEST_WAIT  # they are sent as soon as the broker confirms others
        first = min((sent for _, sent in self._idle()), default=None)
        return _LONGEST_WAIT if first is None else first + self._wait - time.monotonic()

    def _idle(self) -> list[tuple[int, float]]:
        """Return number and time of sending of the messages that the broker has and the fleet has not confirmed."""
        on_the_way = {message.number for message in self._in_flight.values()}
        return [(number, sent) for number, sent in self._sent_at.items() if number not in on_the_way]
