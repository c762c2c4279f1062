"""The shop as it is served for real: by several processes, to many at once."""

import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

import shoppers
from shoppers.personas import guest_purchase
from shoppers.visitor import Visitor

EXAMPLE = Path(__file__).resolve().parent.parent
QUESTION = "How satisfied are you with your visit?"
RUNS = 100


@pytest.fixture
def workers(toml: Path, tmp_path: Path) -> Iterator[str]:
    """Return the address of a shop that four worker processes serve."""
    if find_spec("gunicorn") is None:
        pytest.skip("gunicorn is not installed")
    log = tmp_path / "gunicorn.log"
    command = [sys.executable, "-m", "gunicorn", f"dawdle:create_app(toml='{toml}')"]
    command += ["--bind", "127.0.0.1:0", "--workers", "4", "--chdir", str(EXAMPLE)]
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        yield _address(log)
    finally:
        server.terminate()
        server.wait(20)


def _address(log: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = re.search(r"Listening at: (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    pytest.fail(log.read_text())


def test_who_has_paid_is_asked_on_the_next_page(workers: str) -> None:
    """Of a hundred customers each sees the question on the first page after checkout, under load.

    The page is made by whichever process is free, milliseconds after the order, and before anybody
    has folded it.
    """
    enough = threading.Event()

    def crowd() -> None:
        for seed in range(1000):
            for _ in shoppers.send(workers, 30, seed=seed, threads=3):
                if enough.is_set():
                    return

    load = threading.Thread(target=crowd)
    load.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            asked = list(pool.map(lambda seed: _is_asked(workers, seed), range(RUNS)))
    finally:
        enough.set()
        load.join(60)
    assert asked == [True] * RUNS


def _is_asked(shop: str, seed: int) -> bool:
    with Visitor(shop, random.Random(seed)) as visitor:
        guest_purchase(visitor)
        assert visitor.path.startswith("/orders/")
        return QUESTION in visitor.text
