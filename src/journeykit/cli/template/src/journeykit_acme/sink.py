"""The sink: what `[sinks.NAME]` may say, and how a batch of events becomes requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs
import httpx

from journeykit import Batch, Secret
from journeykit.delivery.http import HttpSink, HttpTimeouts


@attrs.frozen(kw_only=True)
class AcmeSettings:
    """
    What the shop says in `[sinks.NAME]`.

    Args:
        url: Where events are posted to.

        token: What Acme knows the shop by.

        timeout: How long an answer may take.
    """

    url: str = attrs.field(validator=attrs.validators.matches_re("https?://.+"))
    token: Secret
    timeout: timedelta = timedelta(seconds=15)


class AcmeSink(HttpSink):
    """
    Posts each batch, one event a line.

    Connections, time-outs, outages and refusals are the affair of `HttpSink`.

    Args:
        name: The sink's name in `journeykit.toml`.

        settings: What stands below it.
    """

    def __init__(self, name: str, settings: AcmeSettings) -> None:
        seconds = settings.timeout.total_seconds()
        super().__init__(name, timeouts=HttpTimeouts(read=seconds, whole=seconds))
        self._settings = settings

    def requests(self, batch: Batch, client: httpx.Client) -> Iterable[httpx.Request]:
        """Return one request for the whole batch; `for event in batch` gives single events."""
        if not batch.lines:
            return
        yield client.build_request(
            "POST",
            self._settings.url,
            content=b"\n".join(batch.lines),
            headers={
                "Authorization": f"Bearer {self._settings.token.reveal()}",
                "Content-Type": "application/x-ndjson",
            },
        )
