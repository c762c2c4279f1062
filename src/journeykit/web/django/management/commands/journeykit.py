"""`manage.py journeykit …`: the same commands as everywhere, on the project's own kit."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.management.base import handle_default_options as use_default_options
from django.db import connections

from journeykit.cli import run_on
from journeykit.web.django.project import get_kit


class Command(BaseCommand):
    """Hands the arguments to journeykit's own command line."""

    help = "Customer journeys: check, import, and see where customers are (see journeykit --help)."
    # Looking at a shop must be possible while something is wrong with it.
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django has it

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command line that follows `manage.py journeykit`, and exit with its code."""
        parser = self.create_parser(argv[0], argv[1])
        options, arguments = _split(argv[2:])
        use_default_options(parser.parse_args(options))
        try:
            code = run_on(get_kit, arguments, name="manage.py journeykit")
        finally:
            connections.close_all()
        sys.exit(code)

    def add_arguments(self, parser: Any) -> None:
        """Take all arguments as they are, for `call_command`."""
        parser.add_argument("arguments", nargs="*")

    def handle(self, *_: Any, arguments: list[str], **options: Any) -> None:
        """Run the arguments of `call_command("journeykit", …)`."""
        out = options.get("stdout")
        with contextlib.redirect_stdout(out) if out else contextlib.nullcontext():
            code = run_on(get_kit, arguments, name="manage.py journeykit")
        if code:
            msg = f"journeykit {' '.join(arguments)} ended with {code}"
            raise CommandError(msg, returncode=code)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return Django's own options, which may stand anywhere, and the rest."""
    own, rest, given = [], [], iter(arguments)
    for each in given:
        if each in {"--settings", "--pythonpath"}:
            own += [each, *([value] if (value := next(given, None)) is not None else [])]
        elif each.startswith(("--settings=", "--pythonpath=")):
            own.append(each)
        else:
            rest.append(each)
    return own, rest
