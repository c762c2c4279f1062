"""A project as it is served for real: by several processes, or in a loop, to many at once."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.web.django.processes import SCRIPT, Shop

from journeykit.web.visitor import COOKIE

_SERVERS = {
    "gunicorn": ["gunicorn", "orders:wsgi", "--bind", "127.0.0.1:0", "--workers", "4"],
    "gunicorn-preload": [
        *("gunicorn", "orders:wsgi", "--bind", "127.0.0.1:0", "--workers", "4", "--preload")
    ],
    "uvicorn": ["uvicorn", "orders:asgi", "--port", "0", "--lifespan", "off"],
}
_ADDRESS = re.compile(r"(?:Listening at:|running on) (http://[\d.:]+)")
_SHOPPERS, _ORDERS = 6, 12


@contextmanager
def _served(shop: Shop, server: str) -> Iterator[tuple[str, int]]:
    """Serve *shop*; gives its address, and the number of the process."""
    log = shop.directory / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *_SERVERS[server]],
            cwd=SCRIPT.parent,
            env=shop.environment,
            stdout=file,
            stderr=file,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := _ADDRESS.search(log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def _shop_around(address: str, name: str, seed: int) -> str:
    """Look at things and order some, like one customer; returns the id of the cookie."""
    chance = random.Random(seed)
    with httpx.Client(base_url=address, timeout=30) as browser:
        while COOKIE not in browser.cookies:
            _ask(browser, "look")
        for number in range(_ORDERS):
            for path in ("look", "alook")[: chance.randint(1, 2)]:
                _ask(browser, path)
            _ask(browser, f"order/{name}-{number}")
        return str(browser.cookies.get(COOKIE)).split(".")[0]


def _ask(browser: httpx.Client, path: str) -> None:
    # Whoever serves it may be killed; whether there is an order, the shop's own table says.
    with suppress(httpx.TransportError):
        assert browser.get(path).status_code == 200, path


def _children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(each) for each in text.split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shop", "server"),
    [("sqlite", "gunicorn-preload"), ("sqlite", "uvicorn"), ("postgres", "gunicorn")],
    indirect=["shop"],
)
def test_what_is_recorded_is_what_was_ordered(
    shop: Shop, server: str, wait_until: Callable[..., None]
) -> None:
    """Of shoppers who come at once, the Log has each order that was committed, once, and as that shopper's; also if workers are killed."""
    names = [f"s{number}" for number in range(_SHOPPERS)]
    with _served(shop, server) as (address, process), ThreadPoolExecutor(_SHOPPERS) as pool:
        runs = [pool.submit(_shop_around, address, name, 8) for name in names]
        if server.startswith("gunicorn"):
            for _ in range(2):
                time.sleep(0.3)
                os.kill(random.Random(8).choice(_children(process)), 9)
        visitors = dict(zip(names, [run.result() for run in runs], strict=True))

    orders = shop.orders()
    events = shop.events("Order Completed")
    assert sorted(each.properties["order_id"] for each in events) == orders
    assert not [each for each in orders if int(each.rpartition("-")[2]) % 3 == 0]
    assert len(orders) > _SHOPPERS
    assert {each.customer.anonymous_id for each in events} <= set(visitors.values())
    for each in events:
        assert each.customer.anonymous_id == visitors[each.properties["order_id"].partition("-")[0]]
