"""What may be kept and shown of what the other side said."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
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


class RubbishAnswer(TypeError):
    """A sink has returned what it must not; the message says what, and holds nothing of it."""


def mistake(error: BaseException) -> str:
    """
    Return what *error*, which a sink has not meant to raise, is and where it happened.

    Not its message: that may hold what was being sent.
    """
    if isinstance(error, RubbishAnswer):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{where}; a mistake in the sink, or in what it uses"
