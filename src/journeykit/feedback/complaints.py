"""What the cases of a customer mean to whoever wants to ask them something."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journeykit.feedback.case_state import CASES, FILES, CaseFile, Record, stand
from journeykit.model.casework import CaseStatus

if TYPE_CHECKING:
    from journeykit.store.protocol import Store


class Complaint(NamedTuple):
    """What the closed loop says of a customer: see `Known`."""

    is_open: bool = False
    closed_at: int | None = None
    recovery: frozenset[str] = frozenset()


def no_complaint(_: Store, __: str) -> Complaint:
    """Return that nobody complains: there are no cases."""
    return Complaint()


def complaint_of(store: Store, customer: str) -> Complaint:
    """
    Return what the cases of a customer say.

    One that is resolved is open until it is closed; but its own question may be asked.
    """
    data = store.state((FILES, customer))
    if data is None:
        return Complaint()
    file, recovery = CaseFile.decode(data), set[str]()
    for found in store.states({CASES: file.open})[CASES].values() if file.open else ():
        record = Record.decode(found)
        asked = record.opened.terms.recovery
        # Whether it is closed by now is the projector's to say.
        last = max((change.at for change in record.changes), default=record.opened.at)
        if asked is not None and stand(record, last).status is CaseStatus.RESOLVED:
            recovery.add(asked)
    return Complaint(bool(file.open), file.closed_at, frozenset(recovery))
