from __future__ import annotations

import pytest

from journeykit.web.guard import Rate, device_of, is_bot, is_prefetch, is_same_origin, referrer_of


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://shop.example"}, False),
        ({"origin": "https://shop.example"}, True),
        ({"origin": "https://SHOP.example:443"}, True),
        ({"origin": "https://shop.example:8443"}, False),
        ({"origin": "https://shop.example.evil"}, False),
        ({"origin": "https://shop.example:x"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({}, False),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], same: bool) -> None:
    """Sec-Fetch-Site decides; without it the origin must be the host, with its port."""
    assert is_same_origin({"host": "shop.example", **headers}) is same


def test_reading_needs_no_origin() -> None:
    """A request that changes nothing may come from a browser that does not say where from."""
    assert is_same_origin({"host": "shop.example"}, reading=True)
    assert not is_same_origin({"origin": "https://evil.example"}, reading=True)


@pytest.mark.parametrize(
    ("agent", "bot"),
    [
        ("", True),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", True),
        ("Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2)", True),
        ("curl/8.5.0", True),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT X50) Chrome/120 Mobile Safari/537.36", False),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Version/17.5 Safari/605.1.15", False),
    ],
)
def test_who_is_a_bot(agent: str, bot: bool) -> None:
    """Programs that say so are bots, and a telephone that has the word in its name is none."""
    assert is_bot({"user-agent": agent}) is bot


@pytest.mark.parametrize(
    ("headers", "device"),
    [
        ({"sec-ch-ua-mobile": "?1"}, "phone"),
        ({"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)"}, "phone"),
        ({"user-agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile Safari"}, "phone"),
        ({"user-agent": "Mozilla/5.0 (Linux; Android 13; SM-X700) Safari"}, "tablet"),
        ({"user-agent": "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X)"}, "tablet"),
        ({"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/156"}, "desktop"),
    ],
)
def test_what_it_is_read_on(headers: dict[str, str], device: str) -> None:
    """The device follows from what the browser says of itself."""
    assert device_of(headers) == device


@pytest.mark.parametrize(
    ("headers", "prepares"),
    [
        ({"sec-purpose": "prefetch"}, True),
        ({"sec-purpose": "prefetch;prerender"}, True),
        ({"purpose": "Prefetch"}, True),
        ({"x-moz": "prefetch"}, True),
        ({}, False),
    ],
)
def test_who_only_prepares(headers: dict[str, str], prepares: bool) -> None:
    """A browser says when it fetches what nobody looks at yet."""
    assert is_prefetch(headers) is prepares


def test_a_rate_lets_a_burst_through_and_then_a_stream() -> None:
    """Three at once, then one a second; others are not concerned."""
    now = [0.0]
    rate = Rate(3, 1, clock=lambda: now[0])

    assert [rate.allows("a") for _ in range(4)] == [True, True, True, False]
    assert rate.allows("b")
    now[0] = 1.0
    assert [rate.allows("a") for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [rate.allows("a") for _ in range(4)] == [True, True, True, False]
    assert rate.wait == 1


def test_a_rate_holds_no_more_keys_than_it_may() -> None:
    """Who was not seen for longest is forgotten first."""
    rate = Rate(1, 0.001, clock=lambda: 0.0, most=2)
    for key in "abc":
        rate.allows(key)

    assert [rate.allows(key) for key in "cba"] == [False, False, True]


@pytest.mark.parametrize(
    ("referrer", "kind"),
    [
        ("", "direct"),
        ("no address", "direct"),
        ("https://shop.example/cart?x=1", "internal"),
        ("https://www.google.de/", "search"),
        ("https://search.brave.com/search?q=x", "search"),
        ("https://t.co/x", "social"),
        ("https://www.notgoogle.de/", "external"),
        ("https://[::1", "external"),
    ],
)
def test_how_somebody_came(referrer: str, kind: str) -> None:
    """The page before tells how a visitor came."""
    assert referrer_of(referrer, "shop.example") == kind
