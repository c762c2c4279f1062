"""The console sink: one line an event, to read while developing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import attrs

from journeykit.delivery.sink import ErasureResult
from journeykit.model.extension import SinkType

if TYPE_CHECKING:
    from journeykit.delivery.sink import Batch
    from journeykit.model.customer import Customer
    from journeykit.model.event import Event


@attrs.frozen
class ConsoleSettings:
    """
    Settings of `[sinks.NAME] type = "console"`.

    Args:
        json: Print the wire form instead of a line for people.
    """

    json: bool = False


class ConsoleSink:
    """Prints events to standard error, where they do not mix with a program's output."""

    third_party = False

    def __init__(self, name: str, settings: ConsoleSettings, stream: TextIO | None = None) -> None:
        self.name = name
        self._json = settings.json
        self._stream = stream

    def deliver(self, batch: Batch) -> None:
        """Print *batch*."""
        # Looked up now: a test or a server may have replaced it since.
        stream = self._stream or sys.stderr
        if self._json:
            lines = [line.decode() for line in batch.lines]
        else:
            lines = [_line(event) for event in batch]
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()

    def erase(self, customer: Customer) -> ErasureResult:
        """Say that what was printed is out of reach."""
        return ErasureResult("unsupported", "what was printed is kept by whoever keeps the output")

    def close(self) -> None:
        """Do nothing: the stream is not ours."""


def _line(event: Event) -> str:
    who = event.customer.user_id or event.customer.anonymous_id
    where = f" → {event.stage}" if event.stage else ""
    journey = f" [{event.journey}]" if event.journey else ""
    return f"{event.occurred_at:%H:%M:%S} {event.kind:<10} {event.name}{where}{journey}  {who}"


CONSOLE: SinkType = SinkType("console", ConsoleSettings, ConsoleSink)
