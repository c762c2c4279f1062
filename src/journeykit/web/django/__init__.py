"""
Django: `"journeykit.web.django"` in `INSTALLED_APPS`, and its middleware behind Django's own.

Each request knows its customer: the person who is signed in, and the visitor of journeykit's own
cookie.
Neither is looked up before the first event of the request where that can be; the cookie is set only
if there was one, and no session is forced on anybody.
Who signs in is identified and who signs out is forgotten by Django's own signals.

`kit` is the kit of the project, and `track_in_transaction` records an event if, and only if, the
transaction around it is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journeykit.web.django.project import get_kit
from journeykit.web.django.recording import track_in_transaction

if TYPE_CHECKING:
    from journeykit.kit import JourneyKit

__all__ = ["get_kit", "kit", "track_in_transaction"]


class _Kit:
    """The kit of the project, made when something is first asked of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_kit(), name)

    def __repr__(self) -> str:
        return "<the kit of this Django project>"


#: Stands for the kit, so that modules can import it before there is one.
kit: JourneyKit = _Kit()  # type: ignore[assignment]
