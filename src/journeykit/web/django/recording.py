"""`track_in_transaction`, which may be imported before there is anything to track with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.web.django.project import get_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from journeykit.model.customer import Customer
    from journeykit.model.receipt import Receipt


def track_in_transaction(  # noqa: PLR0913 - those of `track`, and which database
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    customer: Customer | str | None = None,
    at: datetime | None = None,
    id: str | None = None,
    durable: bool = False,
    using: str | None = None,
) -> Receipt:
    """
    Record an event if, and only if, the surrounding `transaction.atomic` is committed.

    It is written into a table of that database, in that transaction, and comes from there to the
    Log: also if this process is killed right behind the commit.
    Outside a transaction it is `kit.track()`.

    Args:
        name, properties, customer, at, id: Those of `kit.track()`.

        durable: Let the commit wait until the event is in the Log, for five seconds at most, so
            that the next page knows it.

        using: The database, as with `transaction.atomic`.

    Returns:
        A receipt, truthy if the event is kept with the transaction, else with the reason.
        Its reason is `pending` where the table could not be written, since its migration is
        missing, say: then the event is recorded right behind the commit, and only the end of the
        process in that moment loses it.

    Raises:
        EventRejected: Only if the kit is strict; and then, whatever the database raises.
    """
    given: dict[str, Any] = {"customer": customer, "at": at, "id": id}
    return get_project().outbox.track(name, properties, given, durable=durable, using=using)
