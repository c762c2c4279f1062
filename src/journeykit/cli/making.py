"""`new-plugin`: a plugin that works, to be made into another one."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from journeykit.cli.app import Failure, Misconfigured
from journeykit.delivery import builtin
from journeykit.hookspecs import PROJECT

#: The plugin that the others are made from: it stands in the wheel, and runs as it is.
TEMPLATE: Final = Path(__file__).parent / "template"

#: What the template is called, in each of its spellings.
_WORDS: Final = re.compile(r"journeykit-acme|acme|Acme|ACME")

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 40

#: Plugins of journeykit's own; their names are taken, installed or not.
STANDARD: Final = frozenset({"salesforce", "webhook", "zapier"})


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The directory in which the plugin's folder is made.",
)
def new_plugin(name: str, into: Path) -> None:
    """
    Make the plugin journeykit-NAME, with a sink, a rule and their tests.

    It installs, is found, and passes its tests and its type check as it is.
    Reaches no network.
    Exit code 2: the name will not do; 1: the folder cannot be made.
    """
    plain = name.removeprefix(f"{PROJECT}-")
    if problem := name_problem(plain):
        raise Misconfigured(problem)
    folder = into / f"{PROJECT}-{plain}"
    if folder.exists() or folder.is_symlink():
        raise Failure(f"{folder} is there already; choose another name, or another --into")
    try:
        make_plugin(plain, folder)
    except OSError as error:
        raise Failure(f"{folder} cannot be made: {error.strerror or error}") from error
    click.echo(f"made {folder}; next:")
    click.echo(f"  cd {folder}")
    click.echo("  pip install -e '.[test]'")
    click.echo("  pytest && mypy")
    click.echo("README.md shows what goes into journeykit.toml; journeykit plugins lists it then")


def name_problem(name: str) -> str | None:
    """Return why no plugin can be called *name*, or None."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        rule = (
            f"a plugin's name has lower-case letters, digits and single hyphens, begins with a "
            f"letter and has {_LONGEST} characters at most"
        )
        better = _better(name)
        return f"{name!r} will not do: {rule}" + (f"; how about {better!r}?" if better else "")
    return _taken(name)


def _better(name: str) -> str | None:
    """Return *name* in the form that names have, if it can be brought into it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    better = re.sub(r"[^a-z0-9]+", "-", words).strip("-")
    better = better.removeprefix(f"{PROJECT}-")
    return better if _NAME.fullmatch(better) and len(better) <= _LONGEST else None


def _taken(name: str) -> str | None:
    """Return who has *name* already, or None."""
    plugin = name.replace("-", "_")
    if plugin in {kind.name for kind in builtin.register_sinks()}:
        return f"{name!r} is taken: journeykit has a sink of this type; choose another name"
    if name == "http":
        return "'http' will not do: its sink would be called as the class that it is made from"
    if name in STANDARD:
        return f"{name!r} is taken: journeykit-{name} is one of journeykit's own plugins"
    for point in importlib.metadata.entry_points(group=PROJECT):
        if point.name == plugin:
            where = f" by {point.dist.name} {point.dist.version}" if point.dist else ""
            return f"{name!r} is taken: a plugin of this name is installed{where}"
    return None


def make_plugin(name: str, folder: Path) -> None:
    """
    Write the template to *folder* under another name, all of it or nothing.

    Args:
        name: As in the distribution's name, without `journeykit-`.

        folder: Must not be there; the directory above it must.
    """
    words = spellings(name)
    with tempfile.TemporaryDirectory(prefix=".journeykit-new-", dir=folder.parent) as directory:
        made = Path(directory) / folder.name
        for path in template_files():
            target = made / _renamed(str(path.relative_to(TEMPLATE)), words)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            target.write_text(_renamed(text, words), encoding="utf-8")
        made.rename(folder)


def template_files() -> Iterator[Path]:
    """Yield the files of the template, without what running it has left there."""
    for path in sorted(TEMPLATE.rglob("*")):
        parts = path.relative_to(TEMPLATE).parts
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in parts):
            yield path


def spellings(name: str) -> dict[str, str]:
    """Return what each spelling of the template's name becomes."""
    module = name.replace("-", "_")
    return {
        "journeykit-acme": f"{PROJECT}-{name}",
        "acme": module,
        "Acme": "".join(word.capitalize() for word in name.split("-")),
        "ACME": module.upper(),
    }


def _renamed(text: str, words: dict[str, str]) -> str:
    return _WORDS.sub(lambda match: words[match[0]], text)


COMMANDS = (new_plugin,)
