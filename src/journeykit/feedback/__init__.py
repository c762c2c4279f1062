"""Feedback: which prompt a customer is shown, what becomes of it, and why not another."""

from __future__ import annotations

from journeykit.feedback.facade import Feedback
from journeykit.feedback.gates import Gate

__all__ = ["Feedback", "Gate"]
