"""`flask journeykit …`: the same commands, on the app's own kit."""

from __future__ import annotations

import click
import flask
from flask.cli import ScriptInfo, with_appcontext

from journeykit.cli.app import Group, Misconfigured, Session, add_commands, group
from journeykit.kit import JourneyKit

add_commands()


class _AppGroup(Group):
    """Has the commands of the app's own plugins too."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.commands = dict(group.commands)
        self._asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._ask_plugins(ctx)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of this name."""
        self._ask_plugins(ctx)
        return super().get_command(ctx, name)

    def _ask_plugins(self, ctx: click.Context) -> None:
        # click wants to know the commands before it runs the group, so before there is a context.
        if self._asked:
            return
        self._asked = True
        kit = _kit(ctx.ensure_object(ScriptInfo).load_app())
        if kit is not None:
            for problem in kit.plugins.register_commands(self):
                click.echo(f"warning: {problem}", err=True)


def _kit(app: flask.Flask) -> JourneyKit | None:
    kit: JourneyKit | None = app.extensions.get("journeykit")
    return kit


@click.group("journeykit", cls=_AppGroup, help=group.help)
@with_appcontext
@click.pass_context
def command(ctx: click.Context) -> None:
    """Let the commands find the kit of the app."""
    app = flask.current_app
    kit = _kit(app)
    if kit is None:
        msg = (
            f"the app {app.name!r} has no kit; call journeykit.web.flask.init_app(app, kit) where "
            f"it is made"
        )
        raise Misconfigured(msg)
    ctx.obj = Session(kit)
