"""The action `notify`, which sends a message by Apprise: e-mail, chats, push services and others.

No message of this program contains an address, because most addresses contain a password.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskedge.errors import OutputError, UsageError
from maskedge.events import ALERT, UNNAMED, Event
from maskedge.rendering.jpeg import encode_jpeg
from maskedge.results import FrameResult
from maskedge.settings import check_settings
from maskedge.support.files import MAX_SECRET_BYTES, read_text
from maskedge.support.install_hint import install_command
from maskedge.support.text import displayable

from .action import Action, ActionContext
from .rules import AlertRule

if TYPE_CHECKING:
    from apprise import Apprise

MOST_RECEIVERS = 20
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,30})://", re.IGNORECASE)
_WIDTH = 1280
"""Maximum width of an attached picture in pixels."""
_TITLES = ("rule", "when", "zone")
"""Keys of an event that the first lines of a message contain."""


@dataclass(frozen=True)
class NotifyConfig:
    """The section `[notify]`."""

    urls: tuple[str, ...] = field(
        default=(),
        metadata={"help": "addresses of Apprise for alerts with the action 'notify', such as mailto://...", "secret": True},
    )
    urls_file: Path | None = field(default=None, metadata={"help": "file with one address a line, besides urls"})
    snapshot: bool = field(
        default=False, metadata={"help": "attach the picture at the start of an alert, pixelated with anonymize"}
    )

    def __post_init__(self) -> None:
        check_settings(self, "notify")


class NotifyAction(Action):
    """Sends a message at the start and at the end of an alert.

    A failed message is tried again after 2, 10 and 30 s. Each address has its own thread, so that a
    slow service does not delay others.
    """

    name = "notify"
    section = "notify"
    settings_class = NotifyConfig

    def __init__(self, rules: Sequence[AlertRule], context: ActionContext) -> None:
        super().__init__(rules, context)
        settings: NotifyConfig = context.settings.get(self.section, NotifyConfig())
        self._snapshot = settings.snapshot
        self._receivers = open_receivers(settings.urls, settings.urls_file)
        if not self._receivers:
            raise UsageError(f"alert rule {rules[0].name!r} has the action 'notify': set [notify] urls or urls_file.")

    def start(self) -> None:
        """Start a thread for each address."""
        threads = self.context.threads
        self.workers = [
            threads.open(f"notification {receiver.name}", f"notification by {receiver.name}", target=receiver.url)
            for receiver in self._receivers
        ]

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Queue the message."""
        picture = result if self._snapshot and event.kind == ALERT else None
        for receiver, thread in zip(self._receivers, self.workers, strict=True):
            send = partial(self._send, receiver, rule.name, picture)
            thread.submit(self.context.threads.deferred(send, event))
        return []

    def _send(self, receiver: Receiver, rule: str, result: FrameResult | None, event: Event) -> None:
        ended = event.kind != ALERT
        # `picture` is pixelated if the user hides faces.
        may_use = self.context.threads.may_use
        picture = encode_jpeg(result.picture, width=_WIDTH) if result is not None and may_use(result) else None
        title = f"{'Ended: ' if ended else ''}{rule} ({_place(event)})"
        receiver.send(title, describe_event(event), ended=ended, picture=picture)


def _place(event: Event) -> str:
    names = [event.device or event.source, *([event.camera] if event.camera != UNNAMED else [])]
    return ", ".join(names)


def describe_event(event: Event) -> str:
    """Return the text of a message: condition, zone, time and measured values, one a line."""
    content = event.to_json()
    lines = [f"Condition: {content['when']}"] if "when" in content else []
    lines += [f"Zone: {content['zone']}"] if "zone" in content else []
    values = {key: value for key, value in event.details.items() if key not in _TITLES}
    lines += [f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in values.items()]
    return "\n".join([*lines, f"Time: {content['time']}"])


def read_addresses(urls: Sequence[str], urls_file: Path | None) -> tuple[str, ...]:
    """Return the addresses of settings.

    Args:
        urls: The setting `urls`.
        urls_file: The setting `urls_file`: a file with one address a line. Empty lines and lines
            that begin with `#` are left out.

    Raises:
        UsageError: The file cannot be read, or there are too many addresses.
    """
    found = list(urls)
    if urls_file is not None:
        try:
            lines = read_text(urls_file.expanduser(), MAX_SECRET_BYTES).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"{displayable(urls_file)} cannot be read ({reason}): check notify.urls_file.") from error
        found += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    found = list(dict.fromkeys(found))
    if len(found) > MOST_RECEIVERS:
        raise UsageError(
            f"[notify] has {len(found)} addresses, and {MOST_RECEIVERS} are allowed: use a list of the service itself."
        )
    return tuple(found)


class Receiver:
    """Sends messages to one address of Apprise.

    Args:
        url: The address, such as `mailto://USER:PASSWORD@example.org`.
        number: Its place among the addresses, from 1, for messages.

    Attributes:
        url: The address, with its secrets.
        name: The service and its place, such as `mailto 1`.

    Raises:
        UsageError: Apprise does not know the address, or is not installed.
    """

    def __init__(self, url: str, number: int = 1) -> None:
        scheme = _SCHEME.match(url)
        self.url = url
        self.name = f"{scheme[1].lower() if scheme else 'address'} {number}"
        self._service = _new_service()
        try:
            known = bool(self._service.add(url))
        except (TypeError, ValueError):
            known = False
        if not known:
            raise UsageError(
                f"the address {number} of [notify] ({self.name.partition(' ')[0]}://...) is not one of Apprise: check its form."
            )

    def send(self, title: str, body: str, *, ended: bool = False, picture: bytes | None = None) -> None:
        """Send a message. Blocks for some seconds if the service does not answer.

        Args:
            title: Title of the message.
            body: Text of the message.
            ended: The message is about the end of an alert.
            picture: A JPEG file to attach; None for none.

        Raises:
            OutputError: The service did not accept the message.
        """
        from apprise import AppriseAttachment, NotifyFormat, NotifyType
        from apprise.attachment.memory import AttachMemory

        memory: Any = AttachMemory

        attachment = None
        if picture is not None:
            attachment = AppriseAttachment()
            attachment.add(memory(content=picture, name="alert.jpg", mimetype="image/jpeg"))
        kind = NotifyType.SUCCESS if ended else NotifyType.WARNING
        try:
            sent = bool(
                self._service.notify(body=body, title=title, notify_type=kind, body_format=NotifyFormat.TEXT, attach=attachment)
            )
        except Exception:  # noqa: BLE001  (a service of Apprise may raise anything, with the address in it)
            sent = False
        if not sent:
            raise OutputError(
                f"the notification by {self.name} was not accepted: check its address in [notify] and the network."
            ) from None


def open_receivers(urls: Sequence[str], urls_file: Path | None) -> tuple[Receiver, ...]:
    """Return the receivers of settings.

    Raises:
        UsageError: The file cannot be read, an address is not valid, or Apprise is not installed.
    """
    return tuple(Receiver(url, number) for number, url in enumerate(read_addresses(urls, urls_file), 1))


def _new_service() -> Apprise:
    try:
        from apprise import Apprise, AppriseAsset
    except ImportError as error:
        raise UsageError(
            f"notifications need the package apprise: install the extra notify: {install_command('notify')}"
        ) from error
    # Its messages may contain the address.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return Apprise(asset=AppriseAsset(app_id="maskedge", app_desc="maskedge", async_mode=False))
