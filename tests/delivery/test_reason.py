from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.delivery.reason import LENGTH, RubbishAnswer, mistake, plain


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("POST https://hooks.example:8443: HTTP 500", "POST https://hooks.example:8443: HTTP 500"),
        (
            "no route to https://hooks.example/s3cr3t?t=1 now",
            "no route to https://hooks.example now",
        ),
        ("(https://me:pw@hooks.example/s3cr3t)", "(https://hooks.example)"),
        ("see 'http://hooks.example/a b'", "see 'http://hooks.example b'"),
        ("duplicate email: ada@example.com", "duplicate email: …"),
        ("<ada.l+x@example.com> is unknown", "<…> is unknown"),
        ("locked", "locked"),
        ("", ""),
    ],
)
def test_addresses_lose_what_may_be_secret(said: str, kept: str) -> None:
    """Of an address the host stays; paths, queries, passwords and mail addresses go."""
    assert plain(said) == kept


@given(st.text(), st.text(st.characters(categories=("L", "N")), min_size=1))
def test_no_mail_address_is_left(text: str, who: str) -> None:
    """Whatever is around it, a mail address is not in what is kept, which is never too long."""
    kept = plain(f"{text} {who}@example.com {text}")

    assert "@example.com" not in kept
    assert len(kept) <= LENGTH


def test_a_mistake_is_told_with_its_place() -> None:
    """What a sink did not mean to raise is told by its class and its line, not by what it says."""
    try:
        raise LookupError("ada@example.com")
    except LookupError as error:
        told = mistake(error)
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0

    assert told.startswith(f"LookupError (test_reason.py, line {line}); ")
    assert "ada" not in told


def test_an_answer_that_is_none_is_told_in_our_words() -> None:
    """What a sink must not return is told as we say it."""
    assert mistake(RubbishAnswer("deliver returned str")) == "deliver returned str"
