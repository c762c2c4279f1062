from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from journeykit.capture.context import Bound, Form, bind, bind_customer, current, unbind
from journeykit.model import Customer


def user() -> str | None:
    """Return the bound user id."""
    bound = current()
    return bound.customer.user_id if bound is not None else None


def test_nothing_is_bound_at_first() -> None:
    """Outside of any binding there is nobody."""
    assert current() is None


def test_bindings_nest() -> None:
    """An inner binding holds until its end, and then the outer one holds again."""
    with bind_customer("u1", channel="web") as outer:
        assert current() is outer
        with bind_customer(Customer(anonymous_id="a1")) as inner:
            assert current() is inner
            assert inner.channel is None
        assert current() is outer
    assert current() is None


def test_a_binding_ends_with_an_error() -> None:
    """A block that raises leaves nobody bound."""
    with pytest.raises(ValueError), bind_customer("u1"):
        raise ValueError
    assert current() is None


def test_a_binding_carries_its_surroundings() -> None:
    """Channel, context and purposes go with the customer, as copies."""
    context, purposes = {"page": "/"}, ["analytics"]
    with bind_customer("u1", channel="web", context=context, purposes=purposes) as bound:
        context["page"] = "/other"
        purposes.clear()
        assert bound.channel == "web"
        assert bound.context == {"page": "/"}
        assert bound.purposes == {"analytics"}
    with bind_customer("u1") as bound:
        assert bound.purposes is None


def test_nobody_can_be_bound() -> None:
    """None, as a web app passes where nobody has signed in, binds nobody."""
    with bind_customer(None) as bound:  # type: ignore[arg-type]
        assert not bound.customer


def test_a_new_thread_has_nobody() -> None:
    """A thread does not inherit the customer of the one that started it."""
    seen: list[str | None] = []
    with bind_customer("u1"):
        thread = threading.Thread(target=lambda: seen.append(user()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_threads_do_not_mix() -> None:
    """What one thread binds, another does not see, also at the same time."""
    barrier = threading.Barrier(4)
    seen: dict[str, str | None] = {}

    def work(name: str) -> None:
        with bind_customer(name):
            barrier.wait(5)
            seen[name] = user()
            barrier.wait(5)
        assert user() is None

    workers = [threading.Thread(target=work, args=(f"u{number}",)) for number in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert seen == {f"u{number}": f"u{number}" for number in range(4)}


def test_tasks_do_not_mix() -> None:
    """Tasks of one thread each have their own customer, across awaits; children inherit."""

    async def child() -> str | None:
        await asyncio.sleep(0)
        return user()

    async def request(name: str) -> list[str | None]:
        with bind_customer(name):
            first = user()
            await asyncio.sleep(0)
            return [first, user(), await asyncio.create_task(child())]

    async def serve() -> list[list[str | None]]:
        return await asyncio.gather(*(request(f"u{number}") for number in range(5)))

    assert asyncio.run(serve()) == [[f"u{number}"] * 3 for number in range(5)]


def test_a_request_may_end_in_another_context() -> None:
    """A server that ends a request elsewhere than it began leaves nobody bound there."""
    token = contextvars.copy_context().run(bind, Bound(Customer("u1")))
    with bind_customer("u2"):
        unbind(token)
        assert current() is None


def test_a_customer_is_found_once_and_when_needed() -> None:
    """A function that finds the customer is called at the first look, and once."""
    calls: list[int] = []

    def find() -> Customer:
        calls.append(1)
        return Customer("u1")

    bound = Bound(find)
    assert not calls
    assert bound.customer is bound.customer
    assert bound.customer == Customer("u1")
    assert len(calls) == 1


def test_signing_in_goes_on_as_that_person() -> None:
    """`rebind` changes the customer of a request, and forgets what was encoded of the first."""
    bound = Bound(lambda: Customer(anonymous_id="a1"))
    bound.forms["Viewed", None] = Form(b"columns", b"", b"", b"")
    bound.rebind(Customer("u1", "a1"))
    assert bound.customer == Customer("u1", "a1")
    assert bound.forms == {}
