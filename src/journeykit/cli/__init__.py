"""`journeykit …`, also `flask journeykit …` and `manage.py journeykit …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit.kit import JourneyKit


def main() -> int:
    """Run the command line and return its exit code: 0 done, 1 work failed, 2 usage or settings."""
    if not _has_click():
        return 2
    from journeykit.cli.app import run

    return run(sys.argv[1:])


def run_on(make_kit: Callable[[], JourneyKit], arguments: Sequence[str], *, name: str) -> int:
    """
    Run the command line of an app on its own kit, and return the exit code.

    Args:
        make_kit: Returns the kit; called before anything else, as its plugins may have commands.

        name: How the app's people call the command line.
    """
    if not _has_click():
        return 2
    from journeykit.cli.app import run

    return run(arguments, make_kit=make_kit, name=name)


def _has_click() -> bool:
    try:
        import click  # noqa: F401 - only whether it is there
    except ImportError:
        hint = "the command line needs an extra: pip install 'journeykit[cli]'"
        sys.stderr.write(f"journeykit: {hint}\n")
        return False
    return True
