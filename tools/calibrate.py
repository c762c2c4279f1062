"""
Measure how often the anomaly rule finds what is there, and how often it finds what is not.

    python tools/calibrate.py
    python tools/calibrate.py --shop shop_ecom.csv.gz

Made-up shops (`made_up.py`) in which one step fails for one segment for some weeks: in how many is
that found, and how many days is it out. Then shops in which nothing is wrong, and shops in which
something is, with the segments dealt out anew among their customers: in how many is there any
alarm. With `--shop`, also the real file in random halves: do both lead with the same two problems.
Exits with 1 if a figure is not as good as it must be.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from journeykit import JourneyKit  # noqa: E402
from journeykit.insight.anomaly import LOOKS, Limits, scan  # noqa: E402
from tools import made_up  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: How many days the beginning and the end may be out.
DAYS_OUT = 2

_PROPERTIES = tuple(made_up.PROPERTIES)

#: As in a running shop, where spans are looked at again and again, and each look is paid for.
_LIMITS = Limits(looks=LOOKS)


def power(shops: int, customers: int) -> tuple[int, int, int]:
    """Return how many were found, how many of these in time, and how many alarms were others."""
    found = dated = other = 0
    for seed in range(shops):
        wrong = made_up.trouble(seed)
        trials = made_up.population(seed, wrong, customers=customers).trials()
        anomalies = scan(trials.steps, trials.properties, _LIMITS).anomalies
        hits = [each for each in anomalies if made_up.is_it(wrong, each)]
        found += bool(hits)
        dated += any(made_up.days_out(wrong, each) <= DAYS_OUT for each in hits)
        other += len(anomalies) - len(hits)
    return found, dated, other


def alarms(sets: int, customers: int, *, planted: bool) -> int:
    """Return in how many data sets with permuted labels there is any alarm."""
    found = 0
    shops: list[Any] = []
    for number in range(sets):
        if number < 20:
            seed = 1000 + number
            wrong = made_up.trouble(seed) if planted else None
            shops.append(made_up.population(seed, wrong, customers=customers).trials().steps)
        steps = made_up.permuted(shops[number % 20], random.Random(number))
        found += bool(scan(steps, _PROPERTIES, _LIMITS).anomalies)
    return found


def halves(shop: Path, splits: int) -> int:
    """Return in how many splits of the customers both halves lead with the same two problems."""
    with gzip.open(shop, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    users = sorted({row["user_id"] for row in rows})
    same = 0
    for number in range(splits):
        random.Random(number).shuffle(users)
        first = set(users[: len(users) // 2])
        leads = [
            _lead(row for row in rows if (row["user_id"] in first) is chosen)
            for chosen in (True, False)
        ]
        same += len(leads[0]) == 2 and leads[0] == leads[1]
        print(f"  split {number}: {leads[0]} | {leads[1]}")
    return same


def _lead(rows: Iterable[dict[str, str]]) -> list[tuple[Any, ...]]:
    text = (ROOT / "examples/imported_shop/journeykit.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "journeykit.toml")
        path.write_text(text.replace("sqlite:///var/journeykit.db", "memory://"))
        with JourneyKit.from_toml(path) as kit:
            for number, row in enumerate(rows):
                at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
                mapped = {"user_id", "session_id", "event", "timestamp"}
                properties = {name: value for name, value in row.items() if name not in mapped}
                kit.track_history(
                    row["event"], properties, customer=row["user_id"], at=at, id=f"row-{number}"
                )
            kit.flush(60)
            points = json.loads(json.dumps(kit.report().to_dict()))["pain_points"]
    return [(each["code"], each["stage"], str(each["segment"])) for each in points[:2]]


def main() -> int:
    """Print every figure; return 1 if one is not good enough."""
    parser = argparse.ArgumentParser(description="See how good the anomaly rule is.")
    parser.add_argument("--shops", type=int, default=30)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--customers", type=int, default=800)
    parser.add_argument("--shop", type=Path, help="the file of the imported shop")
    parser.add_argument("--splits", type=int, default=10)
    given = parser.parse_args()
    good = True

    def tell(what: str, count: int, total: int, is_good: Callable[[int], bool]) -> None:
        nonlocal good
        verdict = "" if is_good(count) else "  NOT GOOD ENOUGH"
        good = good and not verdict
        print(f"{what}: {count} of {total}{verdict}", flush=True)

    began = time.monotonic()
    shops, sets = given.shops, given.sets
    found, dated, other = power(shops, given.customers)
    tell("found", found, shops, lambda count: 10 * count >= 9 * shops)
    tell("beginning and end within two days", dated, shops, lambda count: 10 * count >= 9 * shops)
    tell("alarms about something else", other, shops, lambda count: 10 * count <= shops)
    few: Callable[[int], bool] = lambda count: 10 * count <= sets  # noqa: E731
    for planted in (False, True):
        count = alarms(sets, given.customers, planted=planted)
        what = "something" if planted else "nothing"
        tell(f"any alarm, labels permuted, {what} wrong", count, sets, few)
    if given.shop is not None:
        splits = given.splits
        count = halves(given.shop, splits)
        tell("halves that lead alike", count, splits, lambda count: 10 * count >= 9 * splits)
    print(f"{time.monotonic() - began:.0f} seconds")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
