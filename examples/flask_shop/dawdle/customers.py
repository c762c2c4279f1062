"""Accounts. Nobody needs one to buy."""

import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from flask import g, session
from werkzeug.security import check_password_hash, generate_password_hash

from .database import db


@dataclass(frozen=True)
class Customer:
    """Somebody with an account."""

    id: str
    name: str
    email: str


def current_customer() -> Customer | None:
    """Who is signed in."""
    if "customer" not in g:
        g.customer = _find("id", session.get("user_id", "")) if "user_id" in session else None
    customer: Customer | None = g.customer
    return customer


def create(name: str, email: str, password: str) -> Customer | None:
    """Open an account. None if the address has one already."""
    customer = Customer(f"customer_{uuid.uuid4().hex[:12]}", name, email)
    try:
        db().execute(
            "INSERT INTO customer VALUES (?, ?, ?, ?)",
            (customer.id, name, email, generate_password_hash(password)),
        )
    except sqlite3.IntegrityError:
        return None
    return customer


def check(email: str, password: str) -> Customer | None:
    """Whose address and password these are."""
    query = "SELECT password_hash FROM customer WHERE email = ?"
    row = db().execute(query, (email,)).fetchone()
    # An unknown address takes as long as a wrong password, so the time tells nobody which it was.
    if not check_password_hash(row["password_hash"] if row else _nobody(), password) or not row:
        return None
    return _find("email", email)


def names(ids: Iterable[str]) -> dict[str, str]:
    """What the customers of these ids are called, for those who have an account."""
    wanted = list(ids)
    marks = ",".join("?" * len(wanted))
    rows = db().execute(f"SELECT id, name FROM customer WHERE id IN ({marks})", wanted)
    return {row["id"]: row["name"] for row in rows}


@cache
def _nobody() -> str:
    return generate_password_hash(uuid.uuid4().hex)


def _find(column: str, value: str) -> Customer | None:
    query = f"SELECT id, name, email FROM customer WHERE {column} = ?"
    row = db().execute(query, (value,)).fetchone()
    return Customer(**row) if row else None
