"""The shop as it is served for real, to many at once: what it sold and what journeykit heard."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shoppers.personas import EMPTY_CARD, GOOD_CARD, THINGS
from shoppers.visitor import Visitor

EXAMPLE = Path(__file__).resolve().parent.parent
SERVERS = {
    "gunicorn": ["gunicorn", "dawdle.wsgi", "--bind", "127.0.0.1:0", "--workers", "4"],
    "uvicorn": ["uvicorn", "dawdle.asgi:application", "--port", "0", "--lifespan", "off"],
}
ADDRESS = re.compile(r"(?:Listening at:|running on) (http://[\d.:]+)")
SHOPPERS, VISITS = 6, 3
#: Orders that go there are rolled back: see `no_way_to_nowhere`.
NOWHERE = "Nowhere"


@dataclass(frozen=True)
class Bought:
    """What a shopper knows of an order."""

    number: str
    visitor: str
    name: str
    things: tuple[tuple[str, int], ...]
    coupon: str | None


@contextmanager
def served(place: Any, server: str) -> Iterator[tuple[str, int]]:
    """Serve the shop; yields its address, and the number of the process."""
    log = place.folder / "server.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", *SERVERS[server]]
        process = subprocess.Popen(
            command, cwd=EXAMPLE, env=place.environment, stdout=file, stderr=file
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := ADDRESS.search(log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        # The workers begin when the master listens.
        httpx.get(f"{found[1]}/what-we-note-down", timeout=30)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def no_way_to_nowhere(place: Any) -> None:
    """Let the database refuse some orders at the last moment, when all of it was written."""
    place.rows(
        "CREATE TRIGGER no_way BEFORE DELETE ON shop_cart "
        f"WHEN OLD.city = '{NOWHERE}' BEGIN SELECT RAISE(ABORT, 'no way'); END"
    )


def shop_around(address: str, number: int) -> tuple[list[Bought], int, int]:
    """Buy a few times; returns the orders, how often a card was declined, and an order refused."""
    rng, bought, declined, refused = random.Random(number), [], 0, 0
    name = f"Shopper {number}"
    with Visitor(address, rng) as visitor:
        visitor.open("/")
        if number % 2:
            visitor.open("/account/sign-up")
            typed = {"email": f"s{number}@example.com", "password": "one foot after another"}
            visitor.submit("/account/sign-up", name=name, **typed)
        for visit in range(VISITS):
            things = fill_basket(visitor)
            coupon = rng.choice(("DAWDLE10", None))
            if coupon:
                visitor.submit("/basket/coupon", coupon=coupon)
            nowhere = visit == number % VISITS
            visitor.submit("/checkout")
            send_to(visitor, name, NOWHERE if nowhere else "Zürich")
            if nowhere:
                with pytest.raises(httpx.HTTPStatusError):
                    pay(visitor, GOOD_CARD)
                refused += 1
                visitor.open("/checkout/address")
                send_to(visitor, name, "Hamburg")
            if rng.random() < 0.4:
                pay(visitor, EMPTY_CARD)
                declined += 1
            pay(visitor, GOOD_CARD)
            assert visitor.path.startswith("/orders/"), visitor.text
            order = visitor.path.rpartition("/")[2]
            me = visitor.cookie("journeykit_id").split(".")[0]
            bought.append(Bought(order, me, name, things, coupon))
    return bought, declined, refused


def fill_basket(visitor: Visitor) -> tuple[tuple[str, int], ...]:
    things: Counter[str] = Counter()
    for _ in range(visitor.rng.randint(1, 2)):
        _, slug = visitor.rng.choice(THINGS)
        quantity = visitor.rng.randint(1, 3)
        visitor.open(f"/products/{slug}")
        visitor.submit(f"/basket/add/{slug}", quantity=str(quantity))
        things[slug] += quantity
    return tuple(sorted(things.items()))


def send_to(visitor: Visitor, name: str, city: str) -> None:
    where = {"street": "Footpath 1", "postcode": "8001", "city": city}
    visitor.submit("/checkout/address", name=name, email="s@example.com", **where)


def pay(visitor: Visitor, card: str) -> None:
    visitor.submit("/checkout/payment", number=card, expiry="12/39", code="123")


def wait_for_the_outbox(place: Any) -> None:
    deadline = time.monotonic() + 30
    while place.rows("SELECT 1 FROM journeykit_outbox"):
        assert time.monotonic() < deadline, "rows are left"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_what_is_recorded_is_what_was_bought(place: Any, server: str) -> None:
    """Of shoppers at once the Log has each order once, as theirs, and none that was rolled back."""
    no_way_to_nowhere(place)
    with served(place, server) as (address, _), ThreadPoolExecutor(SHOPPERS) as pool:
        runs = [pool.submit(shop_around, address, number) for number in range(SHOPPERS)]
        walks = [run.result() for run in runs]
        wait_for_the_outbox(place)

    bought = {each.number: each for orders, _, _ in walks for each in orders}
    assert len(bought) == SHOPPERS * VISITS
    assert {number for (number,) in place.rows("SELECT number FROM shop_order")} == set(bought)

    told = place.events("Order Completed")
    assert Counter(e.properties["order_id"] for e in told) == Counter(list(bought))
    ids = dict(place.rows("SELECT name, id FROM shop_customer"))
    for event in told:
        order = bought[event.properties["order_id"]]
        sold = [(each["product_id"], each["quantity"]) for each in event.properties["products"]]
        assert tuple(sorted(sold)) == order.things
        assert event.properties["coupon"] == order.coupon
        user = ids.get(order.name)
        assert event.customer.anonymous_id == order.visitor
        assert event.customer.user_id == (None if user is None else str(user))

    declined, refused = (sum(each) for each in list(zip(*walks, strict=True))[1:])
    assert refused == SHOPPERS
    assert len(place.events("Payment Declined")) == declined > 0
    # Told as they happened, so also before what was rolled back.
    entered = len(place.events("Payment Info Entered"))
    assert entered == len(bought) + declined + refused
    paid = "SELECT count(*) FROM shop_payment WHERE refused_for = ''"
    assert place.rows(paid) == [(len(bought),)]


#: Takes an order, and is killed when it is committed and journeykit has not been told.
KILLED = """
import os, signal
from django.db import transaction
from journeykit import Customer, bind_customer
from shop import orders
from shop.models import Cart, Product

cart = Cart(name="Ada", email="a@e.com", street="1", postcode="1", city="Zürich")
cart.save()
cart.put(Product.objects.get(slug="soup-mug"), 2)
with bind_customer(Customer(anonymous_id="v-1")), transaction.atomic():
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    print(orders.place(cart.id, None, {"step": 2}).number, flush=True)
    if os.environ.get("ROLL_BACK"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_an_order_is_told_once_though_its_process_is_killed(place: Any) -> None:
    """Killed behind the commit, the next process tells of the order, once; before it, none does."""
    runs = [
        place.manage("shell", "-c", KILLED, **more)
        for more in ({"ROLL_BACK": "1"}, {}, {"ROLL_BACK": "1"})
    ]
    assert [run.returncode for run in runs] == [-signal.SIGKILL] * 3, runs
    number = runs[1].stdout.split()[-1]
    assert place.rows("SELECT number FROM shop_order") == [(number,)]
    assert place.events("Order Completed") == []

    with served(place, "gunicorn") as (address, _), Visitor(address, random.Random(1)) as visitor:
        visitor.open("/")
        wait_for_the_outbox(place)
    [event] = place.events("Order Completed")
    assert event.properties["order_id"] == number
    assert event.customer.anonymous_id == "v-1"


@pytest.mark.slow
def test_workers_that_are_killed_lose_no_order(place: Any) -> None:
    """While workers are killed, the Log has each order that was committed, once, and no other."""
    with served(place, "gunicorn") as (address, process), ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(keep_buying, address, number) for number in range(4)]
        for _ in range(3):
            time.sleep(0.8)
            os.kill(random.choice(children(process)), signal.SIGKILL)
        seen = [number for run in runs for number in run.result()]
        # Whoever is left looks after what the killed ones have left.
        Visitor(address, random.Random(1)).open("/")
        wait_for_the_outbox(place)
    orders = {number for (number,) in place.rows("SELECT number FROM shop_order")}
    assert orders >= set(seen)
    assert seen
    told = Counter(e.properties["order_id"] for e in place.events("Order Completed"))
    assert told == Counter(orders)


def keep_buying(address: str, number: int) -> list[str]:
    """Buy until some time is over, whatever happens; returns the orders whose page was seen."""
    seen, deadline = [], time.monotonic() + 4
    while time.monotonic() < deadline:
        with Visitor(address, random.Random(number)) as visitor:
            try:
                fill_basket(visitor)
                visitor.submit("/checkout")
                send_to(visitor, "Ada", "Zürich")
                pay(visitor, GOOD_CARD)
            except httpx.TransportError:
                continue
            seen.append(visitor.path.rpartition("/")[2])
    return seen


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(each) for each in text.split()]
