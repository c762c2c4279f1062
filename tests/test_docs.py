"""What the pages in docs/ must not leave out, and must not make up."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import click
import pytest

import journeykit
from journeykit import (
    Ask,
    Cap,
    Consent,
    Core,
    Exit,
    FeedbackSettings,
    Goal,
    Instance,
    Journey,
    Prompt,
    PromptStep,
    Receipt,
    Redaction,
    ReEntry,
    Rule,
    Settings,
    Stage,
    Touchpoint,
    When,
    Where,
    hookspecs,
)
from journeykit.capture.redaction import KEYS
from journeykit.cli import app as cli
from journeykit.config.loader import _LISTS, _TABLES
from journeykit.config.settings import PainPointOptions, PluginSettings, Web
from journeykit.delivery.console import ConsoleSettings
from journeykit.delivery.file import FileSettings
from journeykit.journeys.catalogue import CATALOGUE
from journeykit.journeys.templates import ECOMMERCE
from journeykit.model.extension import SinkOptions
from journeykit.model.rule import PainPointRule
from journeykit.model.vocabulary import AMBIGUOUS

DOCS = Path(__file__).parent.parent / "docs"

#: Heading in configuration.md → the class that its table is read into.
CLASSES = {
    "[journeykit]": Core,
    "[consent]": Consent,
    "[[journeys]]": Journey,
    "A stage": Stage,
    "A rule": Rule,
    "A goal": Goal,
    "An exit": Exit,
    "A re-entry": ReEntry,
    "[[touchpoints]]": Touchpoint,
    "[[prompts]]": Prompt,
    "A trigger": When,
    "A further question": PromptStep,
    "Conditions": Where,
    "How often": Ask,
    "[feedback]": FeedbackSettings,
    "[plugins]": PluginSettings,
    "[redaction]": Redaction,
    "[pain_points.NAME]": PainPointOptions,
    "[web]": Web,
    "[sinks.NAME]": SinkOptions,
    'type = "console"': ConsoleSettings,
    'type = "file"': FileSettings,
}


@cache
def sections(page: str) -> dict[str, str]:
    """Return heading → what stands below it, up to the next heading."""
    parts = re.split(r"^#+ (.+)$", (DOCS / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(section: str) -> dict[str, list[str]]:
    """Return the first column of a section's table, without backticks → the other columns."""
    table = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in table[2:]}


def signature(hook: str) -> str:
    """Return the hook's signature as hookspecs.py writes it."""
    text = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    return f"{hook}{text}"


def hooks() -> list[str]:
    """Return the names of all hooks."""
    return [name for name, value in vars(hookspecs).items() if hasattr(value, "journeykit_spec")]


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_has_a_section_headed_by_its_signature(hook: str) -> None:
    """The plugin author's page has a section for each hook, headed by the full signature."""
    assert signature(hook) in sections("plugin-author.md")


@pytest.mark.parametrize("hook", sorted(set(hooks()) - hookspecs.RESERVED))
def test_every_hook_section_has_an_example_and_says_what_a_failure_does(hook: str) -> None:
    """A hook that is asked is shown implemented, with what happens if it raises."""
    section = sections("plugin-author.md")[signature(hook)]
    assert f"def {hook}(" in section
    assert "If it raises" in section


def test_no_hook_is_made_up() -> None:
    """The plugin author's page heads no section by a hook that does not exist."""
    shown = {head for head in sections("plugin-author.md") if " -> " in head}
    assert shown == {signature(hook) for hook in hooks()}


@pytest.mark.parametrize("heading", CLASSES)
def test_every_key_of_the_configuration_is_listed(heading: str) -> None:
    """A table of the configuration page has the keys of its class, no more and no fewer."""
    fields = [field.name for field in attrs.fields(CLASSES[heading]) if field.init]
    assert list(rows(sections("configuration.md")[heading])) == fields


def defaults() -> Iterator[Any]:
    """Yield heading, key and default of every key."""
    for heading, kind in CLASSES.items():
        for field in attrs.fields(kind):
            # Those two follow from other keys.
            if field.name not in ("title", "group"):
                yield pytest.param(heading, field, id=f"{kind.__name__}.{field.name}")


@pytest.mark.parametrize(("heading", "field"), list(defaults()))
def test_every_default_of_the_configuration_is_told(
    heading: str, field: attrs.Attribute[Any]
) -> None:
    """A key is listed with the default that its class gives it."""
    told = rows(sections("configuration.md")[heading])[field.name][1].strip("`")
    assert told == _told(field.default)


def _told(default: Any) -> str:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()
    if default in (attrs.NOTHING, None):
        return "none" if default is None else "–"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, timedelta):
        return f'"{default.total_seconds():.0f}s"'
    if isinstance(default, Cap):
        fields = attrs.asdict(default).items()
        told = [f"{name} = {_told(value)}" for name, value in fields if value is not None]
        return f"{{ {', '.join(told)} }}"
    return _told_plain(default)


def _told_plain(default: Any) -> str:
    if isinstance(default, tuple):
        return f"[{', '.join(_told(item) for item in default)}]"
    if isinstance(default, str):
        return f'"{default}"'
    return "{}" if attrs.has(type(default)) else str(default)


def test_every_table_of_the_configuration_has_a_section() -> None:
    """The configuration page has a section for each table that journeykit.toml may have."""
    for name in (*_TABLES, *_LISTS):
        assert any(
            head.startswith((f"[{name}", f"[[{name}")) for head in sections("configuration.md")
        )


def test_every_setting_has_a_table() -> None:
    """Settings that come from a file are those that the configuration page has sections for."""
    from_file = {field.name for field in attrs.fields(Settings)} - {"core", "base", "origin"}
    assert {*from_file, "journeykit"} == {*_TABLES, *_LISTS}


def test_every_key_that_is_always_redacted_is_listed() -> None:
    """The configuration page lists the keys whose values are redacted in every shop."""
    section = sections("configuration.md")["[redaction]"].partition("Always redacted")[2]
    assert tuple(re.findall(r"`(\w+)`", section.partition(":\n")[2])) == KEYS


class Shown(NamedTuple):
    """A command and the words that call it."""

    words: str
    command: click.Command


def commands() -> list[Shown]:
    """Return every command, groups included."""
    cli.add_commands()

    def walk(words: str, command: click.Command) -> Iterator[Shown]:
        yield Shown(words, command)
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from walk(f"{words} {name}", inner)

    return [shown for shown in walk("journeykit", cli.group) if shown.words != "journeykit"]


#: Taken before any test lets a plugin add its own.
COMMANDS = commands()


@pytest.mark.parametrize("shown", COMMANDS, ids=lambda shown: shown.words)
def test_every_command_has_a_section_with_its_options(shown: Shown) -> None:
    """The command-line page has a section for each command, with each option of `--help`."""
    page = sections("command-line.md")
    told = f"{page[shown.words]}\n{page['Options of all commands']}"
    listed = [line for line in told.splitlines() if line.startswith("| `-")]
    for parameter in shown.command.params:
        if isinstance(parameter, click.Option):
            for option in parameter.opts:
                assert any(f"`{option}" in line for line in listed), option


def test_no_command_and_no_option_is_made_up() -> None:
    """The command-line page has no section, and no option in a table, that does not exist."""
    page = sections("command-line.md")
    known = {shown.words: shown.command for shown in COMMANDS}
    assert {head for head in page if head.startswith("journeykit ")} == set(known)
    for words, command in known.items():
        options = {option for parameter in command.params for option in parameter.opts}
        listed = {row.split("`")[0].split()[0] for row in rows(page[words]) if row.startswith("-")}
        assert listed <= options


def test_every_public_name_is_in_the_reference() -> None:
    """The reference has every name of `journeykit.__all__`."""
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    documented = set(re.findall(r":: journeykit\.(\w+)$", page, flags=re.MULTILINE))
    assert documented == set(journeykit.__all__)


def test_every_reason_of_a_receipt_is_explained() -> None:
    """The shop developer's page explains the reasons that the receipt's docstring names."""
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)?)`", inspect.getdoc(Receipt) or "")) - {"detail"}
    assert set(rows(sections("shop-developer.md")["Receipts"])) == named


def test_the_template_is_shown_as_it_is() -> None:
    """The product team's page lists what leads to each stage of the template."""
    shown = rows(sections("product-team.md")["Names"])
    for stage in ECOMMERCE.stages:
        events = [
            f"{rule.event} after an {rule.after}" if rule.after else rule.event
            for rule in stage.enter
        ]
        assert shown[stage.key] == [" ".join(", ".join(events).split())]


def test_the_ambiguous_names_are_told() -> None:
    """The product team's page names every alias that does not decide."""
    section = sections("product-team.md")["Names"]
    assert all(f"`{name}`" in section for name in AMBIGUOUS)


def test_the_glossary_has_the_words_of_the_public_names() -> None:
    """The glossary has an entry for each public thing that is a word of the design."""
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = {kind.__name__ for kind in (Goal, Instance, Journey, Receipt, Rule, Stage, Touchpoint)}
    words |= {
        "Event",
        "Customer",
        "Sink",
        "Redaction",
        "Tail",
        "Spool",
        "Entry",
        "Run",
        "Trail",
        "Plan",
        "Prompt",
        "Impression",
        "Answer",
        "Claim",
        "Score",
        "Gate",
    }
    for word in words:
        assert f"\n{word}\n" in glossary


def test_every_page_is_reachable() -> None:
    """Each page and each decision stands in a table of contents."""
    for index in (DOCS / "index.md", DOCS / "decisions" / "index.md"):
        text = index.read_text(encoding="utf-8")
        for page in index.parent.glob("*.md"):
            assert page == index or f"\n{page.stem}\n" in text


def test_no_page_uses_a_path_of_one_machine() -> None:
    """No page has a home directory, or a chain of em-dashes, in it."""
    for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"/(home|root|work|Users)/", text)
        assert "—" not in text


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
def test_every_rule_has_a_section_with_its_keys(rule: PainPointRule) -> None:
    """The page of pain points has each rule with a picture, its source, its keys and defaults."""
    section = sections("pain-points.md")[rule.code]
    assert "```text\n" in section
    assert "Default: " in section
    assert f"`[pain_points.{rule.name}]`" in section
    fields = {field.name: field for field in attrs.fields(type(rule)) if field.init}
    told = rows(section)
    assert list(told) == list(fields)
    for name in fields:
        assert told[name][0].strip("`") == _parameter(getattr(rule, name))
        assert told[name][1]


def _parameter(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_parameter(item) for item in value)}]"
    if not isinstance(value, timedelta):
        return f'"{value}"' if isinstance(value, str) else str(value)
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1))):
        if value % size == timedelta(0):
            return f'"{value // size}{unit}"'
    seconds = value.total_seconds()
    if seconds % 1:
        return f'"{round(seconds * 1000)}ms"'
    return f'"{round(seconds)}s"' if seconds % 60 else f'"{round(seconds / 60)}m"'
