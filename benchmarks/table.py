"""The table: what has to hold, what was measured, and what misses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from benchmarks import measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.raw import Raw

#: By how much a row may miss before `make bench-check` fails.
LEEWAY = 0.15


@attrs.frozen
class Row:
    """
    One bound.

    Args:
        what: For people.

        figure: The name of what is measured.

        hold: The bound.

        least: Whether it is the least, instead of the most.

        worst: Take the worst of all rounds instead of the median: a count of what was lost.

        unit: `×` is a ratio to what is measured beside it.
    """

    what: str
    figure: str
    hold: float
    least: bool = False
    worst: bool = False
    unit: str = "×"

    def measured(self, raw: Raw) -> float | None:
        if not raw.has(self.figure):
            return None
        return max(raw.values(self.figure)) if self.worst else raw.median(self.figure)

    def holds(self, value: float, leeway: float = 0.0) -> bool:
        if self.least:
            return value >= self.hold * (1 - leeway)
        return value <= self.hold * (1 + leeway)


ROWS = (
    Row("caller CPU per track, orjson ÷ otel logs", "caller CPU ÷ otel", 0.5),
    Row("  ÷ segment", "caller CPU ÷ segment", 0.2),
    Row("  ÷ posthog", "caller CPU ÷ posthog", 0.12),
    Row("  with the standard library's json ÷ otel logs", "caller CPU, json ÷ otel", 0.9),
    Row("burst p99 in the caller ÷ otel logs", "burst p99 ÷ otel", 0.4),
    Row("p99 beside a CPU-bound thread ÷ otel logs", "beside p99 ÷ otel", 0.9),
    Row("  ÷ segment", "beside p99 ÷ segment", 0.05),
    Row("drained, events/s ÷ the fastest peer", "drain rate ÷ fastest peer", 1.8, least=True),
    Row("  CPU per 1,000 ÷ that peer's", "drain cpu ÷ fastest peer", 0.5),
    Row("4 processes, State folded ÷ raw reduce", "commit ÷ raw", 0.6, least=True),
    Row("projected, two journeys ÷ one decoding", "project journeys ÷ decoding", 35),
    Row("  with every pain-point rule ÷ one decoding", "project rules ÷ decoding", 45),
    Row("accepted → visible in State, p99", "visible: p99", 150, unit="ms"),
    Row(
        "sink 50 ms away: refused or lost",
        "flood journeykit: refused or lost",
        0,
        worst=True,
        unit="",
    ),
    Row("journeykit-webhook, events per CPU ms", "plugin webhook: per ms", 5, least=True, unit=""),
    Row("  memory grown in ten rounds", "plugin webhook: grown", 1.0, worst=True, unit="MiB"),
    Row("journeykit-zapier, events per CPU ms", "plugin zapier: per ms", 5, least=True, unit=""),
    Row("  memory grown in ten rounds", "plugin zapier: grown", 1.0, worst=True, unit="MiB"),
    Row(
        "journeykit-salesforce, events per CPU ms",
        "plugin salesforce: per ms",
        5,
        least=True,
        unit="",
    ),
    Row("  memory grown in ten rounds", "plugin salesforce: grown", 1.0, worst=True, unit="MiB"),
    Row("Flask p99 at 500 events/s ÷ without journeykit", "request p99 ÷ plain", 1.2),
    Row("import journeykit ÷ sqlite3, json, attrs", "import ÷ base", 1.3),
    Row("import + from_toml + first track ÷ segment", "first call ÷ segment", 1.0),
    Row("memory after the start ÷ amplitude", "memory started ÷ amplitude", 1.0),
    Row("memory after 10,000 events ÷ amplitude", "memory used ÷ amplitude", 1.0),
)


def missed(raw: Raw, leeway: float) -> list[Row]:
    """Return the rows that were measured and do not hold, be it with *leeway*."""
    return [
        row
        for row in ROWS
        if (value := row.measured(raw)) is not None and not row.holds(value, leeway)
    ]


def lines(raw: Raw) -> Iterator[str]:
    """Yield the table."""
    yield f"{'':<46}{'hold':>10}{'measured':>14}{'rounds':>18}"
    for row in ROWS:
        value = row.measured(raw)
        sign = "≥" if row.least else "≤"
        hold = f"{sign} {row.hold:g} {row.unit}".strip()
        if value is None:
            yield f"{row.what:<46}{hold:>10}{'not measured':>14}"
            continue
        values = raw.values(row.figure)
        span = f"{min(values):.2f} – {max(values):.2f}"
        verdict = "pass" if row.holds(value) else "MISS"
        yield f"{row.what:<46}{hold:>10}{value:>14.2f}{span:>18}  {verdict}"


def details(raw: Raw) -> Iterator[str]:
    """Yield what the rows are made of."""
    for title, figures in _DETAILS:
        subjects = [
            name.removeprefix(f"{title} ").partition(":")[0]
            for name in raw.names(f"{title} ")
            if name.endswith(f": {figures[0][0]}")
        ]
        if not subjects:
            continue
        yield ""
        yield f"{title:<24}" + "".join(f"{label:>16}" for _, label in figures)
        for subject in subjects:
            names = [f"{title} {subject}: {figure}" for figure, _ in figures]
            yield f"  {subject:<22}" + "".join(_cell(raw, name) for name in names)
    yield from _parts(raw)
    yield from _noise(raw)


def _cell(raw: Raw, name: str) -> str:
    return f"{raw.median(name):>16,.1f}" if raw.has(name) else f"{'':>16}"


_DETAILS = (
    ("burst", (("cpu", "CPU µs"), ("p50", "p50 µs"), ("p99", "p99 µs"))),
    ("beside", (("p50", "p50 µs"), ("p99", "p99 µs"))),
    (
        "drain",
        (
            ("rate", "events/s"),
            ("cpu", "CPU ms/1,000"),
            ("bytes", "bytes/event"),
            ("requests", "requests"),
            ("lost", "lost"),
        ),
    ),
    ("commit", (("rate", "events/s"), ("cpu", "CPU µs/event"))),
    (
        "project",
        (
            ("cpu", "CPU µs/event"),
            ("last", "of the last"),
            ("unit", "decoding µs"),
            ("peak", "peak MB"),
        ),
    ),
    (
        "plugin",
        (
            ("rate", "events/CPU s"),
            ("least", "worst round"),
            ("bytes", "bytes/event"),
            ("requests", "requests"),
            ("after 2", "MiB after 2"),
            ("after 6", "after 6"),
            ("memory", "after 10"),
        ),
    ),
    ("flood", (("refused", "refused"), ("lost", "lost"))),
    (
        "request",
        (
            ("p50", "p50 ms"),
            ("p99", "p99 ms"),
            ("threads", "threads"),
            ("descriptors", "descriptors"),
            ("memory", "memory MiB"),
            ("disk", "disk MiB"),
        ),
    ),
    ("import", (("CPU ms", "CPU ms"),)),
    ("first call", (("ms", "ms"),)),
    ("memory", (("started", "started MiB"), ("used", "10,000 sent MiB"))),
)


def _parts(raw: Raw) -> Iterator[str]:
    for subject in ("journeykit", "journeykit-journey"):
        prefix = f"drain {subject}: part "
        parts = {name.removeprefix(prefix): raw.median(name) for name in raw.names(prefix)}
        if parts:
            whole = raw.median(f"drain {subject}: cpu")
            yield ""
            yield f"drain {subject}: where its CPU goes"
            for name, used in parts.items():
                yield f"  {name:<22}{used:>16.1f}{used / whole:>16.0%}"


def _noise(raw: Raw) -> Iterator[str]:
    yield ""
    for figure in ("burst floor: cpu", "burst floor: p99", "commit raw: rate"):
        if raw.has(figure):
            varied = measure.spread(raw.values(figure))
            yield f"noise: {figure} varied by {varied:.0%} over the rounds"
    for name in raw.names("import of"):
        yield f"{name}: {raw.median(name):,.1f}"
