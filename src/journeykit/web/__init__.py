"""The web: what is the same in every framework. Adapters: `journeykit.web.flask`."""

from __future__ import annotations

from journeykit.web.http import Request, Response

__all__ = ["Request", "Response"]
