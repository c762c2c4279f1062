"""Secrets, which configuration names and never holds."""

from __future__ import annotations

import os
from pathlib import Path

import attrs


@attrs.frozen
class Secret:
    """
    A reference to a secret: `{ env = "NAME" }` or `{ file = "path" }`.

    Its `repr` shows the reference only.
    """

    env: str | None = None
    file: str | None = None

    def __attrs_post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            msg = 'a secret names one place: { env = "NAME" } or { file = "path" }'
            raise ValueError(msg)

    def problem(self) -> str | None:
        """Return what keeps this secret from being read, or None."""
        if self.env is not None:
            return (
                None if os.environ.get(self.env) else f"environment variable {self.env} is not set"
            )
        return None if os.access(self.file or "", os.R_OK) else f"file {self.file} cannot be read"

    def reveal(self) -> str:
        """
        Return the secret itself.

        Raises:
            LookupError: It is not where the reference says.
        """
        problem = self.problem()
        if problem is not None:
            raise LookupError(problem)
        if self.env is not None:
            return os.environ[self.env]
        return Path(self.file or "").read_text(encoding="utf-8").strip()
