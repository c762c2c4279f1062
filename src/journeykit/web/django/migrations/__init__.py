"""Migrations, by Django's own convention."""

from __future__ import annotations
