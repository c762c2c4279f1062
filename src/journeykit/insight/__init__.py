"""Figures: what State adds up to, for people."""

from __future__ import annotations

from journeykit.insight.explain import Explanation, Path, PathStep, explain
from journeykit.insight.pains import PainPointCase, PainPointFigures, Said, cases, pain_points
from journeykit.insight.report import (
    CustomerStage,
    JourneyFigures,
    JourneyTotal,
    Report,
    StageFigures,
    customers,
    report,
)

__all__ = [
    "CustomerStage",
    "Explanation",
    "JourneyFigures",
    "JourneyTotal",
    "PainPointCase",
    "PainPointFigures",
    "Path",
    "PathStep",
    "Report",
    "Said",
    "StageFigures",
    "cases",
    "customers",
    "explain",
    "pain_points",
    "report",
]
