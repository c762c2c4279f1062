from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from journeykit import Goal, Journey, PainPoint, Rule, Stage, hookimpl
from journeykit.erasing import fact
from journeykit.model import Entry
from journeykit.store.eraser import Eraser
from journeykit.store.protocol import Commit, Store

NOON = 1_772_452_800_000_000

SHOP = Journey(
    key="shop",
    version=1,
    stages=[
        Stage(key="look", enter=[Rule("Product Viewed")], stall=timedelta(seconds=40)),
        Stage(key="buy", enter=[Rule("Order Completed")]),
    ],
    goal=Goal("Order Completed", value="revenue"),
    timeout=timedelta(minutes=2),
)
ORDERS = Journey(
    key="orders",
    version=1,
    instance_by="order_id",
    stages=[Stage(key="made", enter=[Rule("Order Completed")])],
)

#: Everything that State has by customers, and what adds them up.
SPACES = (
    "instance",
    "checkpoint",
    "timer",
    "link",
    "members",
    "customer",
    "pains",
    "figures",
    "total",
)


class Plugin:
    """Finds that a refusal hurts."""

    @staticmethod
    @hookimpl
    def detect_pain_points(event: Any) -> Iterable[PainPoint]:
        """Find that a refusal hurts."""
        if event.name == "Payment Refused":
            yield PainPoint("payment.refused")


def state(store: Store) -> dict[str, dict[str, bytes]]:
    """Return State."""
    return {space: dict(store.scan(space)) for space in SPACES}


@given(data=st.data())
def test_any_erasure_leaves_what_a_rebuild_makes(
    data: st.DataObject, new_world: Callable[..., Any], make_entry: Callable[..., Entry]
) -> None:
    """However events, links, erasures and sweeps follow each other, a rebuild agrees."""
    with new_world(SHOP, ORDERS, plugins=[Plugin()], now=lambda: NOON + 10**9) as world:
        eraser = Eraser(world.store, projected=True)
        names = ["Product Viewed", "Order Completed", "Payment Refused"]
        ids = st.sampled_from([None, "a", "b", "c"])
        for number in range(data.draw(st.integers(3, 25))):
            at = float(number * 10)
            step = data.draw(st.sampled_from(["event", "event", "late", "fold", "erase", "sweep"]))
            if step in ("event", "late"):
                user, visitor = data.draw(ids), data.draw(ids)
                if user or visitor:
                    entry = make_entry(
                        data.draw(st.sampled_from(names)),
                        {"revenue": 2.5, "order_id": f"o{number % 3}"},
                        user_id=user,
                        anonymous_id=visitor,
                        at=at if step == "event" else max(0.0, at - 35),
                    )
                    world.store.commit(Commit([entry]), NOON + int(at * 1e6))
            elif step == "fold":
                world.fold()
            elif step == "sweep":
                eraser.step()
            else:
                _begin(world.store, data.draw(st.sampled_from(["user", "anonymous"])), at)
        world.fold()
        while any(not each.finished for each in world.store.erasing.pending()):
            eraser.step()
        kept = state(world.store)
        world.again().fold()
        assert state(world.store) == kept


def _begin(store: Store, kind: str, at: float) -> None:
    stated = fact("customer", "asked", {}, NOON + int(at * 1e6))
    store.erasing.begin(stated, {(kind, "a")}, (), stated.occurred_at)
