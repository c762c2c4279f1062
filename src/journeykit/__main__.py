"""`python -m journeykit`."""

from __future__ import annotations

from journeykit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
