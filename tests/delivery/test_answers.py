from __future__ import annotations

import pytest

from journeykit.delivery.answers import ALL_ALIKE, told, unanswered


@pytest.mark.parametrize("status", sorted(ALL_ALIKE - {410}))
def test_what_refuses_everything_says_what_to_check(status: int) -> None:
    """A status that waits for a person tells that person what to look at."""
    assert told(status).startswith(f"HTTP {status}; check ")


def test_redirects_say_why_they_fail() -> None:
    """A redirect is told as what it is: an address that has moved."""
    assert "redirects are not followed" in told(307)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "it refuses the event"),
        (413, "too large"),
        (414, "the address is too long"),
        (422, "it refuses the event"),
        (423, "it is tried again"),
        (429, "too many requests"),
        (431, "the headers are too large"),
        (500, "the fault is over there; it is tried again"),
        (504, "it is tried again"),
    ],
)
def test_every_status_says_what_to_do(status: int, says: str) -> None:
    """There is no status about which an operator is told no more than its number."""
    assert told(status).startswith(f"HTTP {status}; ")
    assert says in told(status)


@pytest.mark.parametrize(
    ("why", "says"),
    [
        ("ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate …", "check its certificate"),
        ("ConnectError: [SSL: WRONG_VERSION_NUMBER] wrong version number", "speak TLS"),
        ("gaierror: [Errno -2] Name or service not known", "leads nowhere"),
        ("ConnectError: [Errno -3] Temporary failure in name resolution", "leads nowhere"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "nobody listens there"),
        ("OSError: [Errno 101] Network is unreachable", "there is no way there"),
        ("ReadTimeout", "it takes too long"),
        ("TimeoutError: timed out", "it takes too long"),
        ("RemoteDisconnected", "it hung up"),
        ("RemoteProtocolError", "it hung up"),
        ("LocalProtocolError", "check its credentials and headers"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", "it hung up"),
    ],
)
def test_a_missing_answer_says_what_to_do(why: str, says: str) -> None:
    """What keeps an answer from coming is told with what to look at."""
    assert unanswered(why).startswith(f"{why}; ")
    assert says in unanswered(why)


def test_an_error_that_nobody_knows_stands_for_itself() -> None:
    """Of an error about which nothing is known nothing is made up."""
    assert unanswered("SomeError: of a kind") == "SomeError: of a kind"
