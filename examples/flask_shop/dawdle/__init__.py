"""Dawdle & Daughters: a small Flask shop that embeds journeykit."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, session

from journeykit import JourneyKit
from journeykit.web.flask import init_app

from . import database, money, security, views

HERE = Path(__file__).resolve().parent.parent


def microseconds() -> int:
    """The time, as journeykit counts it."""
    return time.time_ns() // 1000


def create_app(
    *,
    toml: Path | str | None = None,
    database_file: Path | None = None,
    now: Callable[[], int] = microseconds,
) -> Flask:
    """Build the shop. Data lies in `var/` next to the journeykit.toml unless told otherwise."""
    toml = Path(toml or HERE / "journeykit.toml")
    database_file = database_file or toml.parent / "var" / "shop.db"

    app = Flask(__name__)
    app.config.update(SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=64 * 1024)
    database.init_app(app, database_file)
    app.secret_key = os.environ.get("SHOP_SECRET_KEY") or database.secret_key(database_file)

    kit = JourneyKit.from_toml(toml, now=now)
    init_app(app, kit, user_id=lambda: session.get("user_id"))

    security.init_app(app)
    money.init_app(app)
    views.init_app(app)
    return app
