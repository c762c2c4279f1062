"""How long it takes until an accepted event is visible in State, where nothing else happens."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from benchmarks import adapters, measure

_LOOK = 0.002
_PATIENCE = 10.0


def visible(directory: Path, samples: int) -> dict[str, float]:
    client = adapters.JourneyKitClient("http://127.0.0.1:9", directory, journey=True, sink=False)
    kit = client.kit
    chance = random.Random(7)
    kit.track("Product Viewed", customer="first")
    kit.flush()
    took = []
    for number in range(samples):
        # Neither in step with the ticker nor with the committer.
        time.sleep(chance.uniform(0.01, 0.08))
        customer = f"c{number}"
        started = time.perf_counter()
        assert kit.track("Product Viewed", adapters.properties(number), customer=customer)
        while kit.customers("shop", 1)[0].customer != customer:
            assert time.perf_counter() < started + _PATIENCE
            time.sleep(_LOOK)
        took.append((time.perf_counter() - started) * 1000)
    return {f"p{at}": measure.percentile(took, at) for at in (50, 99)}


if __name__ == "__main__":
    measure.answer(visible(Path(sys.argv[1]), int(sys.argv[2])))
