"""What browsers say about consent by themselves."""

from __future__ import annotations

from journeykit.config.settings import Gpc
from journeykit.model.consent import ANY, ANY_EXPORT

_DENIES = {
    Gpc.EXPORT: frozenset([ANY_EXPORT]),
    Gpc.ALL: frozenset([ANY]),
    Gpc.IGNORE: frozenset(),
}


def denied_by(sec_gpc: str | None, gpc: Gpc) -> frozenset[str]:
    """
    Return the purposes that a request denies by its header `Sec-GPC`.

    Global Privacy Control (https://w3c.github.io/gpc/) asks not to sell or share what is known of a
    person with third parties; any value but `1` says nothing.
    """
    return _DENIES[gpc] if sec_gpc == "1" else frozenset()
