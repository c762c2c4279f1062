"""
Which requests are let in: from the shop's own pages, made for a person, and not too many.

Everything here is decided from the request's headers, before its body is read.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

#: What crawlers, monitors and previews call themselves.
#: Most say so with a word; the rest are those that do not.
_BOT: Final = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|preview|monitor|scan|fetch|archive|lighthouse|pingdom|uptime"
    r"|curl/|wget/|python-|java/|go-http|okhttp|libwww|httpclient|facebookexternalhit|whatsapp",
    re.IGNORECASE,
)
_PHONE: Final = re.compile(r"iphone|ipod|android.+mobile|windows phone|mobi", re.IGNORECASE)
_TABLET: Final = re.compile(r"ipad|tablet|android", re.IGNORECASE)
_SEARCH: Final = re.compile(
    r"(^|\.)(google|bing|duckduckgo|yahoo|ecosia|qwant|startpage|baidu|yandex|kagi)\."
    r"|^search\.brave\."
)
_SOCIAL: Final = re.compile(
    r"(^|\.)(facebook|instagram|twitter|x|t|linkedin|lnkd|pinterest|reddit|tiktok|youtube|threads"
    r"|bsky|mastodon)\.(com|co|net|in|app|social)$"
)
_PREFETCH: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def is_same_origin(headers: Mapping[str, str], *, reading: bool = False) -> bool:
    """
    Return whether a request comes from a page of the shop itself.

    Browsers say it in `Sec-Fetch-Site`, where the page is secure; elsewhere the host of `Origin`
    must be the one that was asked.

    Args:
        reading: Whether the request changes nothing: then a browser may have said nothing at all.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return reading
    asked = _host_of(f"{origin.partition(':')[0]}://{headers.get('host', '')}")
    return asked is not None and asked == _host_of(origin)


def _host_of(origin: str) -> tuple[str, int | None] | None:
    """Return host and port; None where there is no host, as in `null`."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def is_prefetch(headers: Mapping[str, str]) -> bool:
    """Return whether a browser only prepares for a page that may never be looked at."""
    said = (headers.get(name, "").lower() for name in _PREFETCH)
    return any("prefetch" in each or "prerender" in each or "preview" in each for each in said)


def is_bot(headers: Mapping[str, str]) -> bool:
    """Return whether a program says that it is one; a browser always says what it is."""
    agent = headers.get("user-agent", "")
    return not agent or _BOT.search(agent) is not None


def device_of(headers: Mapping[str, str]) -> str:
    """Return `"phone"`, `"tablet"` or `"desktop"`."""
    if headers.get("sec-ch-ua-mobile") == "?1":
        return "phone"
    agent = headers.get("user-agent", "")
    if _PHONE.search(agent):
        return "phone"
    return "tablet" if _TABLET.search(agent) else "desktop"


def referrer_of(referrer: str, host: str) -> str:
    """
    Return how a visitor came: `"direct"`, `"internal"`, `"search"`, `"social"` or `"external"`.

    Args:
        referrer: The address of the page before, as the browser tells it; it is kept nowhere.

        host: The shop's own host.
    """
    try:
        parts = urlsplit(referrer[:2000])
    except ValueError:
        return "external"
    if not parts.hostname:
        return "direct"
    if parts.netloc.lower() == host.lower():
        return "internal"
    if _SEARCH.search(parts.hostname):
        return "search"
    return "social" if _SOCIAL.search(parts.hostname) else "external"


class Rate:
    """
    Lets each key act *burst* times at once, and *per_second* times a second for long.

    It forgets who was not seen for long, and never holds more than *most* keys.
    """

    def __init__(
        self,
        burst: float,
        per_second: float,
        *,
        clock: Callable[[], float],
        most: int = 10_000,
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Return whether *key* may act now; if so, it counts."""
        now = self._clock()
        with self._lock:
            left, then = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - then) * self._per_second)
            allowed = left >= 1
            self._left[key] = (left - 1 if allowed else left, now)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
        return allowed

    @property
    def wait(self) -> int:
        """After how many seconds who was refused may act again."""
        return max(1, round(1 / self._per_second))
