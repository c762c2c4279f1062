"""The command that tells one customer's path, or why they are not asked: `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from journeykit.cli.app import Misconfigured, Session, common, pass_session
from journeykit.cli.output import print_json, print_table
from journeykit.model.customer import Customer
from journeykit.model.impression import Page

if TYPE_CHECKING:
    from journeykit.insight import Path


@click.command()
@common
@click.option("--customer", help="The user id of a known person.")
@click.option("--anonymous", help="The anonymous id of somebody unknown.")
@click.option("--journey", "key", help="Only the journey with this key.")
@click.option("--prompt", help="Tell what keeps this prompt from being shown, gate by gate.")
@click.option("--page", help="With --prompt: the path of the page, such as /orders/1.")
@pass_session
def explain(
    session: Session,
    config: str,
    as_json: bool,
    customer: str | None,
    anonymous: str | None,
    key: str | None,
    prompt: str | None,
    page: str | None,
) -> None:
    """
    Show one customer's path: what each event led to, and by which rule.

    With --prompt: what each gate between that prompt and the customer says, in their order.
    """
    if (customer is None) == (anonymous is None):
        msg = "name one customer, with --customer or with --anonymous"
        raise click.UsageError(msg)
    if prompt is not None:
        _explain_prompt(session, config, Customer(customer, anonymous), (prompt, page), as_json)
        return
    with session.kit(config) as kit:
        kit.catch_up()
        found = kit.explain(Customer(customer, anonymous))
    if found is None:
        raise Misconfigured(f"nobody was seen with the id {customer or anonymous!r}")
    paths = [path for path in found.paths if key in (None, path.journey)]
    if as_json:
        value = found.to_dict()
        value["paths"] = [path for path in value["paths"] if key in (None, path["journey"])]
        print_json(value)
        return
    others = [f"{name[2:]} (anonymous)" for name in found.known_as if name.startswith("a:")]
    click.echo(f"{found.customer[2:]}: {found.events:,} events")
    if found.customer.startswith("u:") and others:
        click.echo(f"also {', '.join(others)}")
    for path in paths:
        _print_path(path)
    if not paths:
        click.echo("None of them concerns a journey.")


def _print_path(path: Path) -> None:
    click.echo()
    name = f"{path.journey}@{path.version}" + (f" {path.instance}" if path.instance else "")
    states = [f"now in {path.stage}" if path.outcome is None else f"ended: {path.outcome}"]
    states += [f"furthest {path.furthest}"] if path.furthest != path.stage else []
    states += ["completed"] if path.completed else []
    states += [f"run {path.run}"] if path.run > 1 else []
    states += [f"inferred: {', '.join(path.skipped)}"] if path.skipped else []
    if path.earlier:
        click.echo(f"({path.earlier:,} earlier steps are left out)")
    rows = [
        (
            step.at.strftime("%Y-%m-%d %H:%M:%S"),
            step.event or "\N{EN DASH}",
            step.led_to or "\N{EN DASH}",
            step.because,
        )
        for step in path.steps
    ]
    print_table(
        ("when (UTC)", "event", "led to", "because"), rows, title=f"{name}: {', '.join(states)}"
    )


def _explain_prompt(
    session: Session, config: str, who: Customer, asked: tuple[str, str | None], as_json: bool
) -> None:
    prompt, path = asked
    page = None if path is None else Page(path=path)
    with session.kit(config) as kit:
        kit.catch_up()
        try:
            gates = kit.feedback.explain(who, prompt, page)
        except LookupError as error:
            raise Misconfigured(str(error.args[0])) from error
    if as_json:
        print_json([attrs.asdict(gate) for gate in gates])
        return
    said = {True: "passes", None: "depends", False: "stops"}
    print_table(
        ("gate", "", "reason", "because"),
        [(gate.name, said[gate.passes], gate.reason or None, gate.detail) for gate in gates],
        title=f"{prompt} for {who.user_id or who.anonymous_id}",
    )


COMMANDS = (explain,)
