"""The group of commands, the options that they share, and how errors end them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from journeykit.cli.output import print_json
from journeykit.exceptions import (
    ConfigError,
    ImportFailed,
    JourneykitError,
    PluginError,
    StoreError,
)
from journeykit.kit import JourneyKit

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: Exit codes besides 0.
FAILED, MISCONFIGURED = 1, 2


class Failure(click.ClickException):
    """Ends a command with one line on standard error; `exit_code` is 1."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"error: {self.format_message()}", err=True)


class Misconfigured(Failure):
    """The same, with exit code 2."""

    exit_code = MISCONFIGURED


class Group(click.Group):
    """A group whose commands end journeykit's own errors with a line, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except (ConfigError, PluginError) as error:
            raise Misconfigured(str(error)) from error
        except (StoreError, ImportFailed) as error:
            raise Failure(str(error)) from error


class Session:
    """
    What the commands of one call share.

    Args:
        given: The app's kit, where the command line belongs to an app.
    """

    def __init__(self, given: JourneyKit | None = None) -> None:
        self.given = given

    def is_without_shop(self, config: str) -> bool:
        """Return whether there is no app, and nobody has named a *config*, nor is there one."""
        source = click.get_current_context().get_parameter_source("config")
        chosen = source is not None and source is not ParameterSource.DEFAULT
        return self.given is None and not chosen and not Path(config).exists()

    @contextlib.contextmanager
    def kit(self, config: str) -> Iterator[JourneyKit]:
        """Open the app's kit, or the one that *config* declares."""
        if self.given is not None:
            yield self.given
            return
        kit = JourneyKit.from_toml(config)
        try:
            yield kit
        finally:
            kit.close(1.0)


pass_session = click.make_pass_decorator(Session, ensure=True)


def common(command: _Command) -> _Command:
    """Add the options that every command has: `--config` and `--json`."""
    config = click.option(
        "-c",
        "--config",
        default="journeykit.toml",
        show_default=True,
        envvar="JOURNEYKIT_CONFIG",
        help="The file with the declarations.",
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    return config(as_json(command))


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="journeykit", prog_name="journeykit")
def group() -> None:
    """Customer journeys of a web shop: check, import, and see where customers are."""


def add_commands() -> None:
    """Add the core's commands."""
    from journeykit.cli import (
        cases,
        demo,
        erasing,
        explaining,
        identity,
        importing,
        looking,
        making,
        pains,
        parked,
        prompting,
        running,
        versions,
    )

    looks = (looking, versions, explaining, pains, prompting, cases)
    modules = (*looks, importing, identity, erasing, parked)
    for module in (*modules, running, demo, making):
        for command in module.COMMANDS:
            group.add_command(command)


def run(
    arguments: Sequence[str],
    *,
    make_kit: Callable[[], JourneyKit] | None = None,
    name: str = "journeykit",
) -> int:
    """
    Run the command line; returns the exit code.

    Args:
        make_kit: Returns the kit of the app that the command line belongs to, if it does.

        name: How it is called.
    """
    # What went wrong is told in one line at the end, not as it happens in some thread.
    logging.getLogger("journeykit").addHandler(logging.NullHandler())
    add_commands()
    try:
        kit = None if make_kit is None else _made(make_kit, arguments)
        if make_kit is None:
            _add_installed_commands()
        elif kit is not None:
            _warn(kit.plugins.register_commands(group))
        result = group.main(
            list(arguments), prog_name=name, standalone_mode=False, obj=Session(kit)
        )
    except click.ClickException as error:
        with contextlib.suppress(BrokenPipeError):
            _show(error, arguments)
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except JourneykitError as error:
        click.echo(f"error: {error}", err=True)
        return FAILED
    return result if isinstance(result, int) else 0


def _show(error: click.ClickException, arguments: Sequence[str]) -> None:
    cause = error.__cause__
    if "--json" in arguments and isinstance(cause, ConfigError):
        print_json({"ok": False, "source": cause.source, "problems": list(cause.problems)})
    elif "--json" in arguments:
        print_json({"ok": False, "error": error.format_message()})
    error.show()


def _add_installed_commands() -> None:
    """Let installed plugins add commands; those of an app come with its own command line."""
    from journeykit.plugins import Plugins

    try:
        problems = Plugins().register_commands(group)
    except PluginError as error:
        problems = [str(error)]
    _warn(problems)


def _made(make_kit: Callable[[], JourneyKit], arguments: Sequence[str]) -> JourneyKit | None:
    """Return the kit of the app; help there is also where that has mistakes."""
    try:
        return make_kit()
    except (ConfigError, PluginError) as error:
        if not {"-h", "--help"}.isdisjoint(arguments):
            return None
        raise Misconfigured(str(error)) from error


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
