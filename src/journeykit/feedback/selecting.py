"""Asks plugins which of several prompts to show, for as long as a page can wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from journeykit.exceptions import StoreError
from journeykit.runtime import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journeykit.model.customer import Customer
    from journeykit.model.impression import Candidate, Page
    from journeykit.plugins import Plugins
    from journeykit.store.protocol import Store

#: How long all plugins together may take, in seconds.
PATIENCE: Final = 0.05

HOOK: Final = "select_prompt"

_log = logging.getLogger("journeykit")


class Selector:
    """
    Chooses among candidates: as plugins do, or the first.

    A plugin that hangs is tripped: it is not asked again until the process restarts.
    """

    def __init__(self, plugins: Plugins, store: Store) -> None:
        self._plugins = plugins
        self._store = store
        self._asks = plugins.implements(HOOK)

    def choose(self, candidates: Sequence[Candidate], customer: Customer, page: Page) -> Candidate:
        """Return one of *candidates*, of which there is at least one."""
        if not self._asks or len(candidates) < 2:
            return candidates[0]
        offered = tuple(candidates)
        key, hanging = within(
            PATIENCE, lambda: self._plugins.select_prompt(offered, customer, page)
        )
        if hanging is not None:
            self._trip(hanging.plugin)
        return next((each for each in candidates if each.key == key), candidates[0])

    def _trip(self, name: str) -> None:
        plugin = self._plugins.named(name)
        if plugin is None or plugin.tripped is not None:
            return
        plugin.tripped = HOOK
        _log.error("journeykit.plugin_tripped", extra={"plugin": name, "hook": HOOK})
        try:
            self._store.count({f"tripped:{name}:{HOOK}": 1})
        except StoreError:
            # It is told by the log, and by this process's own `tripped`.
            return
