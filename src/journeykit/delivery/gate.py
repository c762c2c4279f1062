"""Which events a sink may have, by what their customers have agreed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.model.consent import export_to, names, stamp_of
from journeykit.model.event import ASKED, DENIED

if TYPE_CHECKING:
    from journeykit.model.event import Entry, Outgoing
    from journeykit.model.extension import SinkOptions


class Gate:
    """
    Lets the events through that a sink may have.

    Args:
        sink: The sink's name.

        purpose: What customers must have agreed to; None for nothing.

        third_party: Whether the sink is somebody else's, so that a customer may have denied it.

        opt_in: Whether nobody has agreed who was not asked.
    """

    def __init__(self, sink: str, purpose: str | None, *, third_party: bool, opt_in: bool) -> None:
        self.purpose = purpose
        self.third_party = third_party
        self._export = export_to(sink)
        self._unasked = not opt_in
        #: The flags of an event that has to be looked into.
        self._telling = (ASKED | DENIED) if purpose else DENIED if third_party else 0

    @classmethod
    def of(cls, sink: Any, options: SinkOptions, *, opt_in: bool) -> Gate:
        """Return the gate of *sink*: what is configured counts more than what it says of itself."""
        third_party = options.third_party
        if third_party is None:
            third_party = bool(getattr(sink, "third_party", True))
        purpose = options.purpose or getattr(sink, "purpose", None)
        return cls(sink.name, purpose, third_party=third_party, opt_in=opt_in)

    def stops(self, event: Outgoing | Entry) -> bool:
        """Return whether the sink may not have *event*."""
        if not event.flags & self._telling:
            return self.purpose is not None and not self._unasked
        stamp = stamp_of(event.flags, event.body)
        if self.third_party and names(stamp.denied, self._export):
            return True
        return self.purpose is not None and not stamp.allows(self.purpose, unasked=self._unasked)
