"""What `track()` does: context, checks, encoding, and the tail that the committer empties."""

from __future__ import annotations

from journeykit.capture.context import Bound, bind_customer
from journeykit.capture.spool import Spool
from journeykit.capture.tail import MemoryTail, Tail, Taken
from journeykit.capture.tracker import Tracker

__all__ = ["Bound", "MemoryTail", "Spool", "Tail", "Taken", "Tracker", "bind_customer"]
