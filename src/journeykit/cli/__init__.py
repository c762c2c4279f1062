"""`journeykit …`, also `flask journeykit …`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code: 0 done, 1 work failed, 2 usage or settings."""
    try:
        import click  # noqa: F401 - only whether it is there
    except ImportError:
        hint = "the command line needs an extra: pip install 'journeykit[cli]'"
        sys.stderr.write(f"journeykit: {hint}\n")
        return 2
    from journeykit.cli.app import run

    return run(sys.argv[1:])
