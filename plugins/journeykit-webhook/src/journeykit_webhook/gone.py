"""Whether an endpoint has said that it is gone: remembered in the store, for all processes."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from journeykit import StoreError

if TYPE_CHECKING:
    from journeykit.store.kept import Kept


class Gone:
    """
    What is known of the endpoint at *url*.

    Another address is another endpoint: nothing is known of it.
    """

    def __init__(self, url: str) -> None:
        # The address may be a secret, and the store is no place for it.
        self._key = f"gone:{hashlib.sha256(url.encode()).hexdigest()[:24]}"
        self._kept: Kept | None = None
        self._since: str | None = None
        self._looked = False

    def keep_in(self, kept: Kept) -> None:
        """Take the place in the store where it is remembered."""
        self._kept, self._looked = kept, False

    def since(self) -> str | None:
        """Return when it said so, RFC 3339; None if it has not, or somebody has enabled it."""
        # While it is gone somebody may enable it; while it is not, it says so itself.
        if self._kept is not None and (self._since is not None or not self._looked):
            value = self._kept.all().get(self._key)
            self._since = None if value is None else value.decode("ascii", "replace")
            self._looked = True
        return self._since

    def note(self, now: str) -> None:
        """Remember that it said so at *now*; where the store is away it will be asked once more."""
        self._since = now
        if self._kept is not None:
            with contextlib.suppress(StoreError):
                self._kept.put(self._key, now.encode())

    def forget(self) -> None:
        """Let it be asked again."""
        self._since = None
        if self._kept is not None:
            self._kept.remove(self._key)
