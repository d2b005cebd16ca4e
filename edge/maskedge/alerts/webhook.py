"""The action `webhook`, which posts the event to a URL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskedge.events import Event
from maskedge.results import FrameResult
from maskedge.settings import Range

from .action import Action, ActionContext
from .rules import AlertRule

if TYPE_CHECKING:
    from .webhook_post import Webhook


@dataclass(frozen=True)
class WebhookRule(AlertRule):
    """A rule with the keys of the action `webhook`."""

    webhook: str | None = field(default=None, metadata={"help": "http(s) URL that takes a POST of JSON", "secret": True})
    webhook_header: str | None = field(
        default=None, metadata={"help": "header to send, 'NAME: VALUE'", "secret": True, "free": True}
    )
    webhook_header_env: str | None = field(default=None, metadata={"help": "environment variable that holds the header"})
    webhook_header_file: Path | None = field(default=None, metadata={"help": "file that holds the header"})
    webhook_timeout: float = field(default=5.0, metadata={"help": "seconds for one attempt", "range": Range(0.01, 60)})


class WebhookAction(Action):
    """Posts the JSON of an event.

    A failed request is tried again after 2, 10 and 30 s. Each rule has its own thread, so that a
    slow server does not delay other rules.
    """

    name = "webhook"
    rule_class = WebhookRule

    def __init__(self, rules: Sequence[WebhookRule], context: ActionContext) -> None:
        # Imported here: the HTTP client and TLS are loaded only for a webhook.
        from .webhook_post import Webhook

        super().__init__(rules, context)
        self._webhooks: dict[str, Webhook] = {rule.name: Webhook(rule) for rule in rules}

    def start(self) -> None:
        """Start a thread for each rule."""
        self._threads = {
            name: self.context.threads.open(f"webhook {name}", f"webhook of {name}", target=webhook.target)
            for name, webhook in self._webhooks.items()
        }
        self.workers = list(self._threads.values())

    def perform(self, rule: AlertRule, event: Event, result: FrameResult | None) -> list[Event]:
        """Queue the request."""
        self._threads[rule.name].submit(self.context.threads.deferred(self._webhooks[rule.name].post, event))
        return []
