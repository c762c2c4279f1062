"""How long a Flask request takes at a steady rate, seen from a client in another process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

from benchmarks import measure

#: Requests a second in all, from so many clients.
RATE = 500
CLIENTS = 4

_WARM_UP = 100


def serve(directory: str, subject: str, url: str, calls: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.shop", directory, subject, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        _ask(port, _WARM_UP, 0.0, [])
        took = _load(port, calls)
        about = json.loads(_get(port, "/about"))
        process.kill()
    return {**{f"p{at}": measure.percentile(took, at) * 1000 for at in (50, 99)}, **about}


def _load(port: int, calls: int) -> list[float]:
    took: list[float] = []
    threads = [
        threading.Thread(target=_ask, args=(port, calls // CLIENTS, number / RATE, took))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def _ask(port: int, calls: int, offset: float, took: list[float]) -> None:
    """Ask when it is time, whether or not the last answer was quick."""
    begun = time.perf_counter() + offset
    for number in range(calls):
        due = begun + number * CLIENTS / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        _get(port, f"/products/{number}")
        took.append(time.perf_counter() - started)


def _get(port: int, path: str) -> bytes:
    """Return the body of a page; the server ends each connection, 10 ms behind its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        received, length = b"", None
        while length is None or len(received) < length:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
            head, found, _ = received.partition(b"\r\n\r\n")
            if found and length is None:
                assert head.startswith(b"HTTP/1.1 200"), head
                said = head.lower().partition(b"content-length:")[2].split()[0]
                length = len(head) + len(found) + int(said)
    return received[len(head) + len(found) :]


def main(directory: str, subject: str, url: str, calls: str) -> None:
    measure.answer(serve(directory, subject, url, int(calls)))


if __name__ == "__main__":
    main(*sys.argv[1:])
