from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from journeykit import JourneyKit

LISTS = ("journey", "customer", "painpoint", "prompt", "answer", "case", "parkedevent")


@pytest.mark.parametrize("page", LISTS)
def test_every_list_shows_what_there_is(boss: Any, page: str) -> None:
    """Every list of a shop where something has happened has a table."""
    assert "<table>" in boss.text(f"{page}/")


@pytest.mark.parametrize("page", LISTS)
def test_an_empty_shop_is_told_what_to_do(
    make_kit: Callable[..., JourneyKit], sign_in: Any, page: str
) -> None:
    """Every list of a shop with nothing in it says so, and what to do next."""
    kit = make_kit("")
    kit.track("Product Viewed", customer=None)
    assert kit.flush()
    text = sign_in(name="boss", is_superuser=True).text(f"{page}/")
    assert "<table>" not in text
    assert 'class="help"' in text
