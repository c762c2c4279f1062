"""Pretend customers, who walk through a shop over HTTP as browsers do."""

from .walk import Walk, personas, send

__all__ = ["Walk", "personas", "send"]
