"""Open the Flask shop, let pretend customers walk through it, and show how far they came."""

import logging
import socket
import sys
from pathlib import Path

from dawdle import create_app
from werkzeug.serving import BaseWSGIServer, make_server

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

from shoppers import demo  # noqa: E402 - next door


def make_shop(toml: Path, clock: demo.Clock) -> demo.Shop:
    app = create_app(toml=toml, now=clock)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def listen(port: int) -> BaseWSGIServer:
        # The server works on a copy of the descriptor.
        with socket.create_server((demo.HOST, port), backlog=128) as listener:
            return make_server(demo.HOST, port, app, threaded=True, fd=listener.fileno())

    return demo.Shop(app.extensions["journeykit"], listen)


if __name__ == "__main__":
    sys.exit(demo.run(HERE, make_shop))
