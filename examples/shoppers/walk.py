"""Sends many shoppers through the shop, a few at a time."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import httpx

from .personas import PERSONAS
from .visitor import NotOnThePage, Visitor

Persona = Callable[[Visitor], None]


@dataclass(frozen=True)
class Walk:
    """How one shopper fared. `trouble` is empty when all went well."""

    persona: str
    trouble: str = ""


def personas(count: int, rng: random.Random) -> list[Persona]:
    """So many shoppers, each kind in its share, in a random order."""
    total = sum(share for _, share in PERSONAS)
    # Bresenham's way to share: exact for every multiple of the total, and close to it elsewhere.
    slots = [persona for persona, share in PERSONAS for _ in range(share)]
    chosen = [slots[number * total // count % total] for number in range(count)]
    rng.shuffle(chosen)
    return chosen


def send(
    shop: str, count: int, *, seed: int, threads: int = 4, seconds: float = 120
) -> Iterator[Walk]:
    """Let the shoppers in, and yield each one's walk when it ends.

    After `seconds`, nobody else comes in.
    """
    rng = random.Random(seed)
    deadline = time.monotonic() + seconds
    queue = [(persona, random.Random(rng.random())) for persona in personas(count, rng)]
    with ThreadPoolExecutor(threads, thread_name_prefix="shopper") as pool:
        walks = [pool.submit(_walk, shop, persona, own, deadline) for persona, own in queue]
        try:
            for walk in as_completed(walks):
                yield walk.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _walk(shop: str, persona: Persona, rng: random.Random, deadline: float) -> Walk:
    name = persona.__name__.replace("_", " ")
    if time.monotonic() > deadline:
        return Walk(name, "the shop had closed")
    try:
        with Visitor(shop, rng) as visitor:
            persona(visitor)
    except (httpx.HTTPError, NotOnThePage) as error:
        return Walk(name, f"{type(error).__name__}: {error}")
    return Walk(name)
