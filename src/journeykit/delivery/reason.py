"""What may be kept and shown of what the other side said."""

from __future__ import annotations

import re
from typing import Final

#: The most characters of a reason: a line that a person reads.
LENGTH: Final = 300

#: An address: its host tells where it failed; path, query and user may be secrets.
_ADDRESS: Final = re.compile(r"(\w{2,10}://)(?:[^\s/@'\"]*@)?([^\s/?#'\"<>)]+)[^\s'\"<>)]*")
_MAIL: Final = re.compile(r"[^\s@<>'\"(:=]+@[^\s@<>'\")]+")


def plain(reason: str) -> str:
    """Return *reason* without the paths of addresses, without mail addresses, and not too long."""
    # Cut first, generously: what a server sends back may be a whole page.
    text = _ADDRESS.sub(r"\1\2", reason[: 10 * LENGTH])
    return _MAIL.sub("…", text)[:LENGTH]
