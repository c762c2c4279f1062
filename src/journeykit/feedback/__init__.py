"""Feedback: which prompt a customer is shown, what becomes of it, and who follows up on it."""

from __future__ import annotations

from journeykit.feedback.case_figures import CaseFigures
from journeykit.feedback.casework import Casework
from journeykit.feedback.facade import Feedback
from journeykit.feedback.gates import Gate

__all__ = ["CaseFigures", "Casework", "Feedback", "Gate"]
