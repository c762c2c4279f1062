"""What `track()` answers."""

from __future__ import annotations

from typing import NamedTuple


class Receipt(NamedTuple):
    """
    Whether an event was accepted: truthy with its id, or falsy with the reason.

    Reasons are short words that counters use too: `no_customer`, `no_consent`, `bad_name`,
    `bad_time`, `bad_id`, `bad_customer`, `bad_purpose`, `too_large`, `too_deep`, `cycle`,
    `unencodable`, `full`, `disk_full`, `closed`, `failed`.
    A truthy receipt has the reason `pending` where a durable event is kept, but not in the Log yet.
    `detail` is a sentence for people.
    """

    id: str | None
    reason: str | None = None
    detail: str | None = None

    def __bool__(self) -> bool:
        return self.id is not None
