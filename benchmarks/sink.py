"""
A collector on loopback, in a process of its own: takes whatever the SDKs send, and counts.

Each event carries one marker.
Bodies are only kept while a scenario runs; they are searched when somebody asks for the count, so
that counting costs nobody's figures.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.marks import markers

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where `benchmarks` is imported from.
ROOT = Path(__file__).parent.parent

#: What all SDKs take for success; amplitude wants the code in the body as well.
_ANSWER = b'{"code":200}'

#: What Salesforce says of each record that it has written.
_WRITTEN = {"id": "a01xx0000000001AAA", "success": True, "errors": [], "created": True}


class Received:
    """What has arrived since the last reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._bodies: list[bytes] = []
            self._seen: set[bytes] = set()
            self._total = self._bytes = self._requests = 0
            self._last = 0.0

    def add(self, body: bytes) -> None:
        with self._lock:
            self._bodies.append(body)
            self._requests += 1
            self._bytes += len(body)
            self._last = time.monotonic()

    def count(self) -> dict[str, float]:
        with self._lock:
            for body in self._bodies:
                found = markers(body)
                self._seen.update(found)
                self._total += len(found)
            self._bodies.clear()
            return {
                "events": len(self._seen),
                "again": self._total - len(self._seen),
                "requests": self._requests,
                "bytes": self._bytes,
                "last": self._last,
            }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    received: ClassVar[Received] = Received()
    delay: ClassVar[float] = 0.0

    def do_POST(self) -> None:
        body = self._body()
        if self.delay:
            time.sleep(self.delay)
        if self.path.endswith("/oauth2/token"):
            host, port = self.server.server_address[:2]
            token = {"access_token": "t", "instance_url": f"http://{host!s}:{port}"}
            self._answer(json.dumps(token).encode())
            return
        self.received.add(body)
        self._answer(_ANSWER)

    def do_PATCH(self) -> None:
        body = self._body()
        self.received.add(body)
        self._answer(json.dumps([_WRITTEN] * len(json.loads(body)["records"])).encode())

    def do_GET(self) -> None:
        if self.path == "/reset":
            self.received.reset()
        self._answer(json.dumps(self.received.count()).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        # In one piece: two would meet the other side's delayed acknowledgement.
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self.wfile.write(head.encode() + b"\r\n\r\n" + body)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Keep quiet: an SDK's process that ends resets its connections."""


class Sink:
    """The collector's process, as a scenario sees it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def reset(self) -> None:
        self._get("/reset")

    def count(self) -> dict[str, float]:
        return self._get("/count")

    def wait_for(self, events: int, timeout: float) -> dict[str, float]:
        """Return the count as soon as there are so many events, or none came for *timeout* s."""
        counted = self.count()
        deadline = time.monotonic() + timeout
        while counted["events"] < events and time.monotonic() < deadline:
            time.sleep(0.05)
            before, counted = counted, self.count()
            if counted["requests"] > before["requests"]:
                deadline = time.monotonic() + timeout
        return counted

    def _get(self, path: str) -> dict[str, float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            counted: dict[str, float] = json.loads(connection.getresponse().read())
            return counted


@contextlib.contextmanager
def running(delay: float = 0.0) -> Iterator[Sink]:
    """Run a collector while the block lasts."""
    command = [sys.executable, "-m", "benchmarks.sink", "--delay", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Sink(int(process.stdout.readline()))
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink")
    parser.add_argument("--delay", type=float, default=0.0)
    Handler.delay = parser.parse_args().delay
    server = _Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
