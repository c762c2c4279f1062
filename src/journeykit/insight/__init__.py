"""Figures: what State adds up to, for people."""

from __future__ import annotations

from journeykit.insight.report import (
    CustomerStage,
    JourneyFigures,
    Report,
    StageFigures,
    customers,
    report,
)

__all__ = ["CustomerStage", "JourneyFigures", "Report", "StageFigures", "customers", "report"]
