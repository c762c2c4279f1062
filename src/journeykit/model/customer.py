"""Who an event happened to."""

from __future__ import annotations

from typing import Final

import attrs

#: What programs write where they have no id; in any case, in quotes or without.
#: Most are PostHog's list (`isDistinctIdIllegal`); databases and spreadsheets write `-`, `n/a`,
#: `nil` and the UUID of zeros.
#: Each would make one person of everybody who has no id.
JUNK_IDS: Final = frozenset(
    {
        "",
        "-",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "00000000000000000000000000000000",
        "[object object]",
        "anonymous",
        "distinct_id",
        "distinctid",
        "email",
        "false",
        "guest",
        "id",
        "n/a",
        "nan",
        "nil",
        "none",
        "not_authenticated",
        "null",
        "true",
        "undefined",
    }
)


@attrs.frozen
class Customer:
    """
    One customer as an event saw them.

    Args:
        user_id: The shop's own id of a known person.

        anonymous_id: The first-party cookie's value.

        session_id: One visit.
            It groups events, and names nobody.
    """

    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None

    def __bool__(self) -> bool:
        return bool(self.user_id or self.anonymous_id)

    @property
    def key(self) -> str:
        """The id that State is kept under: the known person's if there is one."""
        return customer_key(self.user_id, self.anonymous_id)

    @classmethod
    def of(cls, value: Customer | str | int | None) -> Customer:
        """Return *value* if it is a customer already, else the known person with that id."""
        if isinstance(value, Customer):
            return value
        # A web app passes None where nobody has signed in: that is nobody, not "None".
        return cls() if value is None else cls(user_id=str(value))


#: Whom a fact is about that is about no customer.
NOBODY: Final = Customer()


def from_key(key: str) -> Customer:
    """Return the customer whose key that is."""
    return Customer(key[2:]) if key.startswith("u:") else Customer(None, key[2:] or None)


def customer_key(user_id: str | None, anonymous_id: str | None) -> str:
    """Return the key of a customer; known and anonymous ids never share one."""
    return f"u:{user_id}" if user_id else f"a:{anonymous_id}"


def is_junk(value: str) -> bool:
    """Return whether *value* is what programs write for "no id", and so names nobody."""
    return value.strip(" '\"").lower() in JUNK_IDS
