from __future__ import annotations

from journeykit.model import Receipt


def test_an_accepted_event_is_truthy() -> None:
    """A receipt with an id is truthy, also with an empty text as id."""
    assert Receipt("id-1")
    assert Receipt("")


def test_a_refused_event_is_falsy_and_says_why() -> None:
    """A receipt without an id is falsy and has the reason and a sentence."""
    receipt = Receipt(None, "full", "the store has not kept up")
    assert not receipt
    assert (receipt.reason, receipt.detail) == ("full", "the store has not kept up")
