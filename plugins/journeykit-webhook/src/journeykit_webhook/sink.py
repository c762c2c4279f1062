"""The sink: one endpoint, one request for each event."""

from __future__ import annotations

import functools
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

import attrs

from journeykit import DeliveryError, Rejection
from journeykit.delivery.answers import ALL_ALIKE, NOT_NOW, retry_after, told
from journeykit.delivery.guard import Guard
from journeykit.delivery.reason import mistake
from journeykit.model.times import to_rfc3339
from journeykit_webhook.envelopes import CONTENT_TYPES, Envelopes, Message
from journeykit_webhook.gone import Gone
from journeykit_webhook.lanes import lanes
from journeykit_webhook.posting import Answer, Line, Target
from journeykit_webhook.settings import reveal
from journeykit_webhook.signing import Signer, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit import Batch
    from journeykit.store.kept import Kept
    from journeykit_webhook.settings import WebhookSettings

#: The endpoint is gone, and is not to be asked again.
_GONE: Final = 410

#: The event is too large: no waiting makes it smaller.
_TOO_LARGE: Final = 413

#: The endpoint wants another format, of every event.
_FORMAT: Final = 415

_BEHIND: Final = "an earlier event of this customer waits"


@attrs.define
class _Outcome:
    """What became of the messages of one lane."""

    taken: list[str] = attrs.field(factory=list)
    rejections: list[Rejection] = attrs.field(factory=list)
    failure: DeliveryError | None = None
    gone: bool = False


class WebhookSink:
    """
    Posts each event to one endpoint.

    - 2xx: it was taken.
    - 410: the endpoint is gone; nothing more is sent there, also after a restart, until there is
      another address or somebody enables it.
    - No answer, 5xx, 408, 423, 425, 429, redirects (none is followed), 401, 403, 404, 405, 407 and
      415: an outage, which is waited out however long it lasts; `Retry-After` is honoured.
    - 413: the event is parked.
    - Any other 4xx: the event is tried again, later events of its customer wait for it, and it is
      parked when it was refused twenty times while others were taken.

    Args:
        name: The sink's name.

        settings: What is configured.

        now: The clock, in seconds since the epoch.

        tls: The settings of TLS; those of the system if not given.

    Raises:
        ValueError: A secret or the address is not what it should be.
    """

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        *,
        now: Callable[[], float] = time.time,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._now = now
        url = reveal(settings.url)
        self._target = Target.of(url, plain=bool(settings.allow))
        self._gone = Gone(url)
        self._envelopes = Envelopes(settings.format, settings.events, settings.source)
        secrets = [settings.secret, *settings.old_secrets] if settings.secret else []
        self._signer = Signer([key_of(reveal(secret)) for secret in secrets])
        self._signed = bool(secrets)
        self._headers = {
            "user-agent": "journeykit-webhook",
            "content-type": CONTENT_TYPES[settings.format],
            **{key.lower(): _header(reveal(value)) for key, value in settings.headers.items()},
        }
        make_line = functools.partial(
            Line,
            self._target,
            Guard(settings.allow),
            timeout=settings.timeout.total_seconds(),
            tls=functools.cache(lambda: tls or ssl.create_default_context()),
        )
        self._lines = [make_line() for _ in range(settings.connections)]

    def keep_in(self, kept: Kept) -> None:
        """Take the place in the store where it is remembered that the endpoint is gone."""
        self._gone.keep_in(kept)

    def deliver(self, batch: Batch) -> list[Rejection]:
        """
        Post the events of *batch* that are wanted, those of each customer in order.

        Raises:
            DeliveryError: The endpoint takes nothing at present.
        """
        messages = [each for each in map(self._envelopes.message, batch.lines) if each is not None]
        if not messages:
            return []
        if self._gone.since() is not None:
            raise DeliveryError(self._told_gone())
        outcomes = self._send(lanes(messages, len(self._lines)))
        if any(each.gone for each in outcomes):
            self._gone.note(to_rfc3339(round(self._now() * 1_000_000)))
        failure = next((each.failure for each in outcomes if each.failure is not None), None)
        if failure is not None:
            wanted = {message.event_id for message in messages}
            taken = {event for each in outcomes for event in each.taken}
            # What is not wanted is done with, too.
            taken |= set(batch.ids) - wanted
            raise DeliveryError(str(failure), retry_after=failure.retry_after, taken=taken)
        return [rejection for each in outcomes for rejection in each.rejections]

    def reset_after_fork(self) -> None:
        """Close this process's copies of connections, which sends nothing to the other side."""
        self.close()

    def close(self) -> None:
        """Close the connections; the next batch opens them again."""
        for line in self._lines:
            line.close()

    def _send(self, chosen: Sequence[Sequence[Message]]) -> list[_Outcome]:
        """Send each lane's messages over a connection of its own, the lanes beside each other."""
        stop = threading.Event()
        outcomes = [_Outcome() for _ in chosen]
        threads = [
            threading.Thread(
                target=self._send_lane,
                args=(messages, line, outcome, stop),
                name=f"journeykit-webhook-{self.name}",
                daemon=True,
            )
            for messages, line, outcome in zip(
                chosen[1:], self._lines[1:], outcomes[1:], strict=False
            )
        ]
        for thread in threads:
            thread.start()
        self._send_lane(chosen[0], self._lines[0], outcomes[0], stop)
        for thread in threads:
            thread.join()
        return outcomes

    def _send_lane(
        self, messages: Sequence[Message], line: Line, outcome: _Outcome, stop: threading.Event
    ) -> None:
        waiting: set[str] = set()
        for message in messages:
            if stop.is_set():
                return
            if not waiting.isdisjoint(message.customers):
                waiting.update(message.customers)
                outcome.rejections.append(Rejection(message.event_id, _BEHIND, retryable=True))
                continue
            try:
                answer = self._post(message, line)
                outcome.gone = outcome.gone or answer.status == _GONE
                rejection = self._judge(message, answer)
            except DeliveryError as error:
                outcome.failure = error
                stop.set()
                return
            except Exception as error:  # noqa: BLE001 - in a thread nobody else would hear of it
                outcome.failure = DeliveryError(f"POST {self._target}: {mistake(error)}")
                stop.set()
                return
            if rejection is None:
                outcome.taken.append(message.event_id)
            else:
                outcome.rejections.append(rejection)
                waiting.update(message.customers if rejection.retryable else ())

    def _post(self, message: Message, line: Line) -> Answer:
        headers = self._headers
        if self._signed:
            seconds = int(self._now())
            signed = self._signer.headers(message.message_id, seconds, message.body)
            headers = {**headers, **signed}
        return line.post(message.body, headers)

    def _judge(self, message: Message, answer: Answer) -> Rejection | None:
        status = answer.status
        if 200 <= status < 300:
            return None
        if status == _GONE:
            raise DeliveryError(self._told_gone())
        msg = f"POST {self._target}: {told(status)}"
        if status == _TOO_LARGE:
            return Rejection(message.event_id, msg)
        if status >= 500 or status < 400 or status in NOT_NOW | ALL_ALIKE | {_FORMAT}:
            wait = retry_after(answer.retry_after, self._now())
            raise DeliveryError(msg, retry_after=wait)
        return Rejection(message.event_id, msg, retryable=True)

    def _told_gone(self) -> str:
        enable = f"or until `journeykit webhook enable {self.name}`"
        return f"POST {self._target}: {told(_GONE)}; nothing is sent there until then, {enable}"


def _header(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("a value in headers has characters that no header may have")
    return value.strip()
