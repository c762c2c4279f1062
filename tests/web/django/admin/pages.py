"""The addresses of the admin's pages."""

from __future__ import annotations

from typing import Any

LISTS = ("journey", "customer", "painpoint", "prompt", "answer", "case", "parkedevent")


def details(boss: Any) -> dict[str, str]:
    """Return kind → the address of one thing, of those that there are."""
    return {
        "journey": "journey/shop/change/",
        "customer": "customer/u_3A2/change/",
        "painpoint": "painpoint/payment.declined/change/",
        "prompt": "prompt/after/change/",
        "case": f"case/{complaint(boss)}/change/",
        "parkedevent": f"parkedevent/{boss.kit.parked()[0].number}/change/",
    }


def complaint(boss: Any) -> str:
    """Return the case of customer 2."""
    (case,) = boss.kit.cases.list(customer="2", everything=True)
    return str(case.id)
