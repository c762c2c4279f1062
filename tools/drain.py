"""
How fast sinks of plugins deliver, and whether their memory stays flat.

    python tools/drain.py salesforce --events 50000

A store in memory is filled, and a real relay delivers it to a server of its own process on this
host, which answers as the outside system does and keeps nothing.
What is told is CPU time of this process: reading the Log, decoding, encoding, HTTP.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from journeykit.testing import Delivering, make_entry

#: Events of a stretch, before and after which memory is measured.
STRETCHES = 5


class Answering(BaseHTTPRequestHandler):
    """Takes everything, and says so as the outside system would."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = json.dumps(self._answer(body)).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
        self.wfile.write(f"{head}{len(answer)}\r\n\r\n".encode() + answer)

    do_PATCH = do_POST = _serve  # noqa: N815 - the names that http.server looks for

    def _answer(self, body: bytes) -> Any:
        if self.path.endswith("/oauth2/token"):
            host, port = self.server.server_address[:2]
            return {"access_token": "t", "instance_url": f"http://{host!s}:{port}"}
        if "/composite/" in self.path:
            row = {"id": "a01xx0000000001AAA", "success": True, "errors": [], "created": True}
            return [row] * len(json.loads(body)["records"])
        return {"status": "success"}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve until the process ends."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    print(server.server_port, flush=True)
    server.serve_forever()


def salesforce(url: str) -> Any:
    """Return a sink of Salesforce with its default mapping."""
    from journeykit import Secret
    from journeykit_salesforce.settings import SalesforceSettings
    from journeykit_salesforce.sink import SalesforceSink

    os.environ["DRAIN_SECRET"] = "s"  # noqa: S105 - the server asks for none
    settings = SalesforceSettings(
        url=url, client_id="key", secret=Secret(env="DRAIN_SECRET"), every=timedelta(0)
    )
    return SalesforceSink("crm", settings)


def zapier(url: str) -> Any:
    """Return a sink of Zapier with one hook."""
    from journeykit import Secret
    from journeykit_zapier.settings import CatchHook, ZapierSettings
    from journeykit_zapier.sink import ZapierSink

    os.environ["DRAIN_HOOK"] = f"{url}/hooks/catch/1/2/"
    hook = CatchHook(url=Secret(env="DRAIN_HOOK"))
    return ZapierSink("zapier", ZapierSettings(hooks=(hook,), allow=("127.0.0.1",)))


BUILD: dict[str, Callable[[str], Any]] = {"salesforce": salesforce, "zapier": zapier}


def drain(sink: Any, events: int) -> None:
    """Deliver *events* to *sink* in stretches, and print what each has cost."""
    print(f"{'events':>8} {'events/CPU s':>13} {'events/s':>9} {'RSS MiB':>8}")
    each = events // STRETCHES
    for stretch in range(STRETCHES):
        bench = None
        # The store of the stretch before goes now, not at some time in this one.
        gc.collect()
        bench = Delivering(sink)
        bench.add(
            *(
                make_entry(
                    "Order Completed",
                    {"order_id": f"o-{number}", "revenue": 12.5, "currency": "EUR"},
                    user_id=f"u{number % 500}",
                    session_id=f"s{number}",
                )
                for number in range(each)
            )
        )
        cpu, wall = time.process_time(), time.monotonic()
        bench.run()
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        if bench.parked or not bench.done:
            sys.exit(f"not delivered: {[*bench.errors, *bench.parked.values()][:3]}")
        print(
            f"{(stretch + 1) * each:>8,} {each / cpu:>13,.0f} {each / wall:>9,.0f} "
            f"{_resident():>8.1f}"
        )


def _resident() -> float:
    """Return the memory of this process now; elsewhere than on Linux, the most it has had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Run what the arguments say."""
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("sink", choices=sorted(BUILD))
    parser.add_argument("--events", type=int, default=50_000)
    given = parser.parse_args()
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{int(next(iter(server.stdout or ())))}"
            drain(BUILD[given.sink](url), given.events)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
