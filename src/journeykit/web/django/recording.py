"""`track_in_transaction`, which may be imported before there is anything to track with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.web.django.project import get_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from journeykit.model.customer import Customer
    from journeykit.model.receipt import Receipt


def track_in_transaction(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    customer: Customer | str | None = None,
    at: datetime | None = None,
    id: str | None = None,
    using: str | None = None,
) -> Receipt:
    """
    Record an event if, and only if, the surrounding `transaction.atomic` is committed.

    It is written into a table of that database, in that transaction, and comes from there to the
    Log: also if this process is killed right behind the commit.
    Outside a transaction it is `kit.track()`.

    Args:
        name, properties, customer, at, id: Those of `kit.track()`.

        using: The database, as with `transaction.atomic`.

    Returns:
        A receipt, truthy if the event is kept with the transaction, else with the reason.
        Its reason is `pending` where the table could not be written, since its migration is
        missing, say: then the event is recorded right behind the commit, and only the end of the
        process in that moment loses it.

    Raises:
        EventRejected: Only if the kit is strict; and then, whatever the database raises.
    """
    project = get_project()
    return project.outbox.track(name, properties, customer=customer, at=at, id=id, using=using)
