"""
Events that come when their customer was erased already.

They are left out.
One that names an anonymous id as well tells whose that was; if nobody knew, what is there under it
has to go too.
So such an event leads to an erasure of its own, which *follows* the one of the request: it has a
fact in the Log, and takes every step that the first one took.
Whether the id is theirs is known where its fact folds: not if it was another person's before.
It deletes what occurred up to the request; what came after that is a new customer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journeykit.capture.ids import id_behind
from journeykit.model.customer import Customer
from journeykit.model.event import IDENTIFIED, UNMERGED, Kind
from journeykit.store.erasure import ERASED, fact_of, ids_of, without

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from journeykit.model.event import Entry
    from journeykit.store.erasure import Erasure, Id, Resolved

#: Who asked for it, and why, in the fact of an erasure that follows another.
_ACTOR: Final = "journeykit"
_REASON: Final = "a late event told one more id"


class Told(NamedTuple):
    """
    What a late event has told: that the anonymous id *visitor* was *user*, who was erased.

    `sure` says that it was a sign-in, which joins again what was taken apart.
    """

    user: Id
    visitor: Id
    erased_at: int
    sure: bool


class Screened(NamedTuple):
    """
    What is left of entries, and what those that were left out have told.

    `changed` says that something was left out; `parted` are pairs that were taken apart.
    """

    kept: Sequence[Entry]
    changed: bool = False
    told: Sequence[Told] = ()
    parted: Sequence[Told] = ()


def screen(
    entries: Sequence[Entry], latest: int | None, find: Callable[[Collection[Id]], Mapping[Id, int]]
) -> Screened:
    """
    Return *entries* without those of people who were erased since.

    Args:
        latest: When the last erasure was; only what occurred before is looked at.

        find: Returns which ids were erased, and when.
    """
    if latest is None or all(entry.occurred_at > latest for entry in entries):
        return Screened(entries)
    old = [entry for entry in entries if entry.occurred_at <= latest]
    whose = [Customer(entry.user_id, entry.anonymous_id) for entry in old]
    ids = {one for customer in whose for one in ids_of(customer)}
    erased = find(ids)
    if not erased:
        return Screened(entries)
    kept: list[Entry] = []
    heard = _Heard()
    changed = False
    for entry in entries:
        since = {one for one in ids if erased.get(one, entry.occurred_at - 1) >= entry.occurred_at}
        left = without(entry, since.__contains__)
        changed |= left is not entry
        if left is not None:
            kept.append(left)
        elif entry.kind is not Kind.DERIVED and entry.user_id and entry.anonymous_id:
            user, visitor = ("user", entry.user_id), ("anonymous", entry.anonymous_id)
            if visitor not in since:
                heard.add(entry, user, visitor, erased[user])
    return Screened(kept, changed, list(heard.told.values()), list(heard.parted.values()))


class _Heard:
    """What late events tell, in the order in which they come."""

    def __init__(self) -> None:
        self.told: dict[tuple[Id, Id], Told] = {}
        self.parted: dict[tuple[Id, Id], Told] = {}

    def add(self, entry: Entry, user: Id, visitor: Id, erased_at: int) -> None:
        """Hear an event that names both."""
        named = entry.name if entry.kind is Kind.FACT else None
        told = Told(user, visitor, erased_at, named == IDENTIFIED)
        pair = user, visitor
        if named == UNMERGED:
            self.told.pop(pair, None)
            self.parted[pair] = told
        elif told.sure or pair not in self.parted:
            self.parted.pop(pair, None)
            self.told[pair] = told


def apart(user: Id, visitor: Id) -> Id:
    """Return what is kept, as a hash, of a user and an anonymous id that is not theirs."""
    return ("apart", f"{user[1]}\x1f{visitor[1]}")


def apart_by(entries: Iterable[Entry]) -> set[Id]:
    """Return what to keep of the facts among *entries* that took a user and an id apart."""
    return {
        apart(("user", entry.user_id), ("anonymous", entry.anonymous_id))
        for entry in entries
        if entry.kind is Kind.FACT and entry.name == UNMERGED
        if entry.user_id and entry.anonymous_id
    }


def by_request(told: Iterable[Told]) -> dict[int, frozenset[Id]]:
    """Return the ids that were told by when the requests were that they belong to."""
    found: dict[int, set[Id]] = {}
    for user, visitor, erased_at, _ in told:
        found.setdefault(erased_at, set()).update((user, visitor))
    return {erased_at: frozenset(ids) for erased_at, ids in found.items()}


def following_fact(follows: str, number: int, erased_at: int) -> Entry:
    """Return the fact of the erasure *number*, which follows the one whose fact is *follows*."""
    return fact_of(
        id_behind(follows, erased_at, f"{ERASED}\x1f{follows}\x1f{number}".encode()),
        actor=_ACTOR,
        reason=_REASON,
        source={"app": "journeykit"},
        at=erased_at,
        properties={"follows": follows},
    )


def theirs(erasure: Erasure, owner: Callable[[Id], Collection[Id]]) -> frozenset[Id]:
    """
    Return which ids an erasure that follows another is about.

    Args:
        owner: Returns the user ids of whoever an anonymous id belongs to; nothing for nobody.
    """
    users = {one for one in erasure.ids if one[0] == "user"}
    visitors = (one for one in erasure.ids if one[0] == "anonymous")
    return frozenset(users | {one for one in visitors if users.issuperset(owner(one))})


def resolved_ids(erasure: Erasure, resolved: Resolved) -> frozenset[Id]:
    """Return whom *erasure* is about, once that is resolved."""
    found = frozenset(resolved.ids)
    return found | erasure.ids if erasure.follows is None else found


def not_theirs(erasure: Erasure, ids: Collection[Id]) -> set[Id]:
    """Return what to keep of those ids of *erasure* that are not among the *ids* it is about."""
    others = [one for one in erasure.ids if one not in ids]
    return {apart(user, other) for user in ids if user[0] == "user" for other in others}
