"""Figures: what State adds up to, for people."""

from __future__ import annotations

from journeykit.insight.explain import Explanation, Path, PathStep, explain
from journeykit.insight.pains import Watch
from journeykit.insight.ranking import RankedPain
from journeykit.insight.report import (
    CustomerStage,
    JourneyFigures,
    Report,
    StageFigures,
    customers,
    report,
)

__all__ = [
    "CustomerStage",
    "Explanation",
    "JourneyFigures",
    "Path",
    "PathStep",
    "RankedPain",
    "Report",
    "StageFigures",
    "Watch",
    "customers",
    "explain",
    "report",
]
