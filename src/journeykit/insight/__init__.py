"""Figures: what State adds up to, for people."""

from __future__ import annotations

from journeykit.insight.browse import Browsing, CustomerPage, CustomerRun, CustomerRuns
from journeykit.insight.explain import explain
from journeykit.insight.pains import (
    FoundWhere,
    PainPointCase,
    PainPointFigures,
    Said,
    cases,
    pain_points,
)
from journeykit.insight.path import Explanation, Path, PathStep
from journeykit.insight.ranking import RankedPain
from journeykit.insight.report import (
    CustomerStage,
    JourneyFigures,
    JourneyTotal,
    Report,
    StageFigures,
    customers,
    report,
)
from journeykit.insight.watch import Watch, watching

__all__ = [
    "Browsing",
    "CustomerPage",
    "CustomerRun",
    "CustomerRuns",
    "CustomerStage",
    "Explanation",
    "FoundWhere",
    "JourneyFigures",
    "JourneyTotal",
    "PainPointCase",
    "PainPointFigures",
    "Path",
    "PathStep",
    "RankedPain",
    "Report",
    "Said",
    "StageFigures",
    "Watch",
    "cases",
    "customers",
    "explain",
    "pain_points",
    "report",
    "watching",
]
