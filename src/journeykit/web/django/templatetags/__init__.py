"""Template tags, by Django's own convention."""

from __future__ import annotations
