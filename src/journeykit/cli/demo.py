"""`journeykit demo`: made-up shoppers walk through a made-up shop, on the real path."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from journeykit.cli.looking import print_journey
from journeykit.cli.output import Progress, print_json, progress
from journeykit.cli.ranking import print_pain_points
from journeykit.config.settings import Consent, Core, Settings
from journeykit.delivery.file import FileSettings, FileSink
from journeykit.kit import JourneyKit
from journeykit.model.customer import Customer
from journeykit.model.journey import Goal, Journey, Stage

#: Stage of the walk → what happens there, and the chance of going on to the next.
_WALK = (
    ("Promotion Viewed", 0.9),
    ("Product List Viewed", 0.85),
    ("Product Viewed", 0.6),
    ("Product Added", 0.7),
    ("Checkout Started", 0.75),
    ("Payment Info Entered", 0.8),
    ("Order Completed", 0.5),
    ("Signed In", 0.6),
    ("Order Completed", 0.5),
    ("Product Reviewed", 0.6),
    ("Product Shared", 0.0),
)

_JOURNEYS = (
    Journey(key="shop", version=1, extends="ecommerce"),
    Journey(
        key="checkout",
        version=1,
        instance_by="cart_id",
        stages=(
            Stage("cart", enter=("Product Added",)),
            Stage("payment", enter=("Payment Info Entered",), expected=timedelta(minutes=5)),
        ),
        goal=Goal("Order Completed", value="revenue", within=timedelta(days=1)),
    ),
)


@click.command()
@click.option("--shoppers", type=click.IntRange(1, 100_000), default=500, show_default=True)
@click.option("--seed", type=int, default=7, show_default=True, help="Other seeds, other shoppers.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the database and the delivered events here; default a place that is removed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demo(shoppers: int, seed: int, directory: Path | None, as_json: bool) -> None:
    """
    Show in a few seconds what journeykit does: made-up shoppers, real figures.

    Their events take the whole path: capture, Log, journeys, and a file sink.
    """
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        _show(directory, shoppers, seed, as_json=as_json)
        return
    with tempfile.TemporaryDirectory(prefix="journeykit-demo-") as temporary:
        _show(Path(temporary), shoppers, seed, as_json=as_json)


def _show(directory: Path, shoppers: int, seed: int, *, as_json: bool) -> None:
    archive = directory / "events.jsonl"
    settings = Settings(
        consent=Consent("opt_out"),
        core=Core(store="sqlite:///journeykit.db", app="demo"),
        journeys=_JOURNEYS,
        base=directory,
    )
    with JourneyKit(settings, sinks=[FileSink("archive", FileSettings(archive))]) as kit:
        with progress("shoppers", shown=not as_json) as bar:
            bar.total(shoppers)
            _walk_all(kit, shoppers, random.Random(seed), bar)
        kit.flush(60)
        figures = kit.report()
        with archive.open("rb") as delivered:
            lines = sum(1 for _ in delivered)
    if as_json:
        print_json({**figures.to_dict(), "delivered": lines})
        return
    click.echo(f"{figures.events:,} events of {figures.customers:,} shoppers")
    for journey in figures.journeys:
        print_journey(journey)
    print_pain_points(figures, figures.pain_points)
    click.echo()
    click.echo(f"{lines:,} events, among them the stages found, were delivered to a file sink.")
    click.echo(
        "The same in a real shop: make demo, or make demo-django. In your own: see the README."
    )


def _walk_all(kit: JourneyKit, shoppers: int, chance: random.Random, bar: Progress) -> None:
    for number in range(shoppers):
        customer = Customer(f"shopper-{number:05d}", None, f"visit-{number:05d}")
        for name, properties, at in _walk(number, chance):
            while not kit.track(name, properties, customer=customer, at=at):
                kit.flush(1.0)
        bar.advance()


def _walk(number: int, chance: random.Random) -> Iterator[tuple[str, dict[str, Any], datetime]]:
    at = datetime.now(UTC) - timedelta(hours=chance.uniform(1, 48))
    price = round(chance.uniform(5, 80), 2)
    for step, (name, onwards) in enumerate(_WALK):
        properties: dict[str, Any] = {"cart_id": f"cart-{number}-{step // 7}", "price": price}
        if name == "Order Completed":
            properties["revenue"] = price
        yield name, properties, at
        if chance.random() > onwards:
            return
        at += timedelta(seconds=chance.expovariate(1 / 90))


COMMANDS = (demo,)
