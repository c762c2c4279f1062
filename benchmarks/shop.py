"""A small Flask shop: one page, made from its own SQLite file; with journeykit or without."""

from __future__ import annotations

import sqlite3
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import flask
from werkzeug.serving import WSGIRequestHandler, make_server

from benchmarks import adapters, memory

if TYPE_CHECKING:
    from journeykit import JourneyKit

PRODUCTS = 12

_PAGE = """
<title>{{ product.name }}</title>
<h1>{{ product.name }}</h1><p>{{ "%.2f" | format(product.price) }} EUR</p>
<ul>{% for other in others %}
<li><a href="/products/{{ other.id }}">{{ other.name }}</a>
{% endfor %}</ul>
"""


def create_app(directory: Path, kit: JourneyKit | None) -> flask.Flask:
    app = flask.Flask(__name__)
    database = directory / "products.db"
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, price REAL)")
        rows = [(number, f"Tea number {number}", number + 0.5) for number in range(PRODUCTS)]
        db.executemany("INSERT INTO product VALUES (?, ?, ?)", rows)
    db.close()
    local = threading.local()
    page = app.jinja_env.from_string(_PAGE)

    def products() -> list[sqlite3.Row]:
        if not hasattr(local, "db"):
            local.db = sqlite3.connect(database)
            local.db.row_factory = sqlite3.Row
        return local.db.execute("SELECT * FROM product").fetchall()

    @app.get("/products/<int:number>")
    def product(number: int) -> str:
        found = products()
        one = found[number % PRODUCTS]
        if kit is not None:
            kit.track("Product Viewed", adapters.properties(number))
        return page.render(product=one, others=found)

    @app.get("/about")
    def about() -> dict[str, float]:
        return footprint(directory)

    return app


def footprint(directory: Path) -> dict[str, float]:
    """Return what this process holds; the disk's share is what lies in *directory*."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    descriptors = Path("/proc/self/fd")
    return {
        "threads": threading.active_count(),
        "descriptors": sum(1 for _ in descriptors.iterdir()) if descriptors.exists() else 0,
        "memory": memory.resident(),
        "disk": sum(path.stat().st_blocks for path in files) * 512 / 2**20,
    }


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: object) -> None:
        pass


def main(directory: str, subject: str, url: str) -> None:
    kit = None
    if subject == "journeykit":
        kit = adapters.JourneyKitClient(url, Path(directory), journey=True).kit
    app = create_app(Path(directory), kit)
    if kit is not None:
        from journeykit.web.flask import init_app

        init_app(app, kit)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
