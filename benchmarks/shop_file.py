"""A file of events of the shape of an imported shop, the same for the same seed."""

from __future__ import annotations

import csv
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "user_id",
    "session_id",
    "event",
    "timestamp",
    "platform",
    "acquisition_channel",
    "user_cohort",
    "user_lifecycle",
)

#: Event → how often it comes, after a real shop's file.
EVENTS = {
    "product_view": 6851,
    "catalog": 6521,
    "search": 4011,
    "home": 2762,
    "filter_results": 2610,
    "add_to_cart": 1346,
    "cart": 1204,
    "shipping_details": 958,
    "wishlist_add": 812,
    "promo_page": 796,
    "payment_details": 709,
    "account_page": 659,
    "purchase": 470,
    "review_page": 406,
    "support_chat": 277,
    "error_page": 276,
    "compare": 275,
    "payment_error": 119,
    "checkout_bug": 44,
}

#: Events a customer, as in that file.
_EVENTS_A_CUSTOMER = 52


def write_shop_file(path: Path, rows: int, seed: int = 7) -> None:
    """Write *rows* events over half a year, in order of time, to the CSV file *path*."""
    chance = random.Random(seed)
    names, weights = list(EVENTS), list(EVENTS.values())
    customers = max(1, rows // _EVENTS_A_CUSTOMER)
    at = datetime(2024, 1, 1)  # noqa: DTZ001 - such files say no zone
    gap = timedelta(days=180) / rows
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in chance.choices(names, weights, k=rows):
            at += gap * chance.uniform(0, 2)
            who = chance.randrange(customers)
            platform = chance.choice(("desktop", "mobile", "app"))
            channel = chance.choice(("email", "organic", "ads", "direct"))
            writer.writerow(
                (
                    f"user_{who:06d}",
                    f"sess_{who:06d}_{at:%j}",
                    name,
                    f"{at:%Y-%m-%d %H:%M:%S}",
                    platform,
                    channel,
                    "2024-01",
                    "returning",
                )
            )
