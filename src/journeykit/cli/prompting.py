"""Commands for the product team's questions: `prompts list`, `on`, `off`, `set`, `history`, …"""

from __future__ import annotations

import json
import sys
import webbrowser
from typing import TYPE_CHECKING, Any

import click

from journeykit.cli.app import FAILED, Failure, Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.cli.running import until_told
from journeykit.exceptions import EventRejected, StoreError
from journeykit.feedback.wording import policy_of, trigger_of
from journeykit.model.language import ANY, is_language
from journeykit.model.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journeykit.feedback.overrides import Change
    from journeykit.kit import JourneyKit


@click.group()
def prompts() -> None:
    """Feedback questions: which there are, switch them on and off, see who changed what."""


def changing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that change something."""
    reason = click.option("--reason", required=True, help="Why, for those who read it later.")
    actor = click.option("--actor", default="operator", show_default=True, help="Who changes it.")
    timeout = click.option(
        "--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait."
    )
    return reason(actor(timeout(command)))


@prompts.command("list")
@common
@pass_session
def list_prompts(session: Session, config: str, as_json: bool) -> None:
    """List the prompts as they are now, with what was changed since they were declared."""
    with session.kit(config) as kit:
        kit.catch_up()
        found = kit.feedback.prompts
        ignored = dict(kit.feedback.ignored)
        changed = {
            change.path.split(".")[1] for change in kit.feedback.changes() if _is_now(change)
        }
    if as_json:
        print_json({"prompts": [_as_json(each) for each in found], "ignored": ignored})
        return
    if not found:
        click.echo("No prompt is declared; see docs/prompts.md.")
    else:
        columns = ("prompt", "kind", "on", "asked", "when", "changed", "text")
        print_table(columns, [_row(each, changed=each.key in changed) for each in found])
    for path, why in ignored.items():
        click.echo(f"not applied: {path}: {why}")


def _is_now(change: Change) -> bool:
    return change.path.startswith("prompts.") and change.new is not None


def _row(prompt: Prompt, *, changed: bool) -> tuple[object, ...]:
    return (
        prompt.key,
        prompt.kind.value,
        "yes" if prompt.on else "no",
        policy_of(prompt),
        trigger_of(prompt),
        "yes" if changed else None,
        next(iter(prompt.text.by_language.values())),
    )


def _as_json(prompt: Prompt) -> dict[str, Any]:
    texts = prompt.text.by_language
    return {
        "key": prompt.key,
        "kind": prompt.kind.value,
        "on": prompt.on,
        "priority": prompt.priority,
        "sample": prompt.ask.sample,
        "asked": policy_of(prompt),
        "limit": prompt.ask.limit,
        "when": trigger_of(prompt),
        "text": {"*" if language == ANY else language: text for language, text in texts.items()},
        "version": prompt.version,
    }


@prompts.command("on")
@click.argument("key")
@common
@changing
@pass_session
def switch_on(session: Session, /, key: str, **options: Any) -> None:
    """Ask the prompt KEY from now on, in every process of the shop."""
    _change(session, f"prompts.{key}.on", True, **options)


@prompts.command("off")
@click.argument("key")
@common
@changing
@pass_session
def switch_off(session: Session, /, key: str, **options: Any) -> None:
    """Ask the prompt KEY no more, in every process of the shop."""
    _change(session, f"prompts.{key}.on", False, **options)


@prompts.command("set")
@click.argument("key")
@click.argument("name")
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Go back to what is declared.")
@common
@changing
@pass_session
def set_value(
    session: Session, /, key: str, name: str, value: str | None, unset: bool, **options: Any
) -> None:
    """
    Set NAME of the prompt KEY to VALUE; of what holds for all prompts, where KEY is `feedback`.

    Where KEY is `cases`, NAME is `owner` or `RULE.owner`: whose the cases to come are.

    VALUE is JSON, or a text as it stands: `ask.sample 0.2`, `ask.every 30d`, `text.de "Und?"`.
    """
    if (value is None) != unset:
        raise click.UsageError("write a value, or --unset")
    path = f"{key}.{name}" if key in ("feedback", "cases") else f"prompts.{key}.{name}"
    _change(session, path, None if value is None else _parsed(value), **options)


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _change(
    session: Session,
    path: str,
    value: Any,
    *,
    config: str,
    as_json: bool,
    reason: str,
    actor: str,
    timeout: float,
) -> None:
    with session.kit(config) as kit:
        kit.catch_up(timeout)
        kit.start(worker=True)
        receipt = _set(kit, path, value, actor, reason)
        done = kit.catch_up(timeout)
    if as_json:
        print_json({"path": path, "new": value, "fact": receipt, "done": done})
    elif value is None:
        click.echo(f"{path} is as declared again")
    else:
        click.echo(f"{path} is {json.dumps(value, ensure_ascii=False)} now")
    if not done:
        click.echo("it is recorded, and not in force yet", err=True)
    click.get_current_context().exit(0 if done else FAILED)


def _set(kit: JourneyKit, path: str, value: Any, actor: str, reason: str) -> str | None:
    try:
        receipt = kit.feedback.set(path, value, actor=actor, reason=reason)
    except (LookupError, ValueError, TypeError) as error:
        raise Misconfigured(f"{path}: {error.args[0]}") from error
    except EventRejected as error:
        raise Failure(error.reason) from error
    if not receipt:
        raise Failure(f"{receipt.reason}: {receipt.detail}")
    return receipt.id


@prompts.command("history")
@click.argument("key", required=False)
@common
@pass_session
def show_history(session: Session, config: str, as_json: bool, key: str | None) -> None:
    """Show who has changed what and why, the latest first; of the prompt KEY, or of all."""
    with session.kit(config) as kit:
        kit.catch_up()
        found = kit.feedback.changes(key)
    if as_json:
        print_json([_change_json(change) for change in found])
        return
    if not found:
        click.echo("Nothing was changed.")
        return
    rows = [
        (
            f"{change.at:%Y-%m-%d %H:%M:%S}",
            change.path,
            _told(change.old),
            "as declared" if change.new is None else _told(change.new),
            change.actor,
            change.reason,
        )
        for change in found
    ]
    print_table(("when (UTC)", "key", "from", "to", "by", "because"), rows)


@prompts.command("preview")
@click.argument("key")
@common
@click.option("--language", help="The language to begin with, such as `de`.")
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@pass_session
def preview_prompt(
    session: Session, config: str, as_json: bool, key: str, language: str | None, opens: bool
) -> None:
    """
    Show the prompt KEY in a page, light, dark, from right to left, and as a plain form.

    The page is served to this machine only, until Ctrl-C ends it.
    Answers go nowhere, and nothing is recorded.
    """
    from journeykit.web.preview import Preview, serving

    with session.kit(config) as kit:
        prompt, settings = _prompt_now(kit, key), kit.settings
    if language is not None and not is_language(language):
        raise Misconfigured(f"{language!r} is no language; write a tag such as de or pt-BR")
    with serving(Preview(prompt, settings, language)) as address, until_told() as ended:
        if as_json:
            print_json({"prompt": key, "address": address})
        else:
            click.echo(f"{key} is shown at {address}")
            click.echo("answers go nowhere; Ctrl-C ends it")
        sys.stdout.flush()
        if opens:
            webbrowser.open(address)
        ended.wait()


def _prompt_now(kit: JourneyKit, key: str) -> Prompt:
    """Return a prompt with what was changed laid over; makes no store where there is none."""
    found: Sequence[Prompt] = kit.settings.prompts
    if any(kit.store.sizes().values()):
        try:
            found = kit.feedback.prompts
        except StoreError as error:
            click.echo(f"shown as it is declared: {error}", err=True)
    for prompt in found:
        if prompt.key == key:
            return prompt
    known = ", ".join(prompt.key for prompt in found) or "none"
    raise Misconfigured(f"there is no prompt {key!r}; there are: {known}")


def _told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "old": change.old,
        "new": change.new,
        "at": change.at.isoformat(),
        "actor": change.actor,
        "reason": change.reason,
    }


COMMANDS = (prompts,)
