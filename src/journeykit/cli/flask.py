"""`flask journeykit …`: the same commands, on the app's own kit."""

from __future__ import annotations

import click
import flask
from flask.cli import with_appcontext

from journeykit.cli.app import Group, Session, add_commands, add_plugin_commands, group

add_commands()


@click.group("journeykit", cls=Group, commands=group.commands, help=group.help)
@with_appcontext
@click.pass_context
def command(ctx: click.Context) -> None:
    """Let the commands find the kit of the app."""
    kit = flask.current_app.extensions.get("journeykit")
    if kit is None:
        raise click.UsageError(
            f"the app {flask.current_app.name!r} has no kit; call "
            f"journeykit.web.flask.init_app(app, kit) where it is made"
        )
    add_plugin_commands(kit)
    ctx.obj = Session(kit)
