"""Figures: what State adds up to, for people."""

from __future__ import annotations

from journeykit.insight.explain import Explanation, Path, PathStep, explain
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
    "Path",
    "PathStep",
    "Report",
    "StageFigures",
    "customers",
    "explain",
    "report",
]
