"""Which messages may go beside each other: those that have no customer in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit_webhook.envelopes import Message


def lanes(messages: Sequence[Message], most: int) -> list[list[Message]]:
    """
    Return *messages* in at most *most* lanes of about the same length.

    Messages of one customer, under whatever ids, are in one lane and in order.
    """
    if most == 1 or len(messages) == 1:
        return [list(messages)]
    groups: dict[str, list[Message]] = {}
    for message, root in zip(messages, _roots(messages), strict=True):
        groups.setdefault(root, []).append(message)
    found: list[list[Message]] = [[] for _ in range(min(most, len(groups)))]
    # The longest first, each to the lane that is shortest.
    for group in sorted(groups.values(), key=len, reverse=True):
        min(found, key=len).extend(group)
    return found


def _roots(messages: Sequence[Message]) -> list[str]:
    """Return one id for each message, the same for all that are linked by ids in common."""
    parents: dict[str, str] = {}

    def root(each: str) -> str:
        while (parent := parents.setdefault(each, each)) != each:
            parents[each] = each = parents[parent]
        return each

    for message in messages:
        first, *others = message.customers or (f"e{message.event_id}",)
        for other in others:
            parents[root(other)] = root(first)
    return [root((message.customers or (f"e{message.event_id}",))[0]) for message in messages]
