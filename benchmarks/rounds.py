"""One round: every scenario once, one subject after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from benchmarks import imports, measure, start
from benchmarks import plugins as delivering

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.raw import Raw
    from benchmarks.sink import Sink


@attrs.frozen
class Sizes:
    """How much of each thing."""

    burst: int = 10_000
    beside: int = 500
    drain: int = 20_000
    flood: int = 30_000
    memory: int = 10_000
    commit: int = 5_000
    project: int = 100_000
    visible: int = 60
    requests: int = 2_500
    plugins: int = 5_000


QUICK = Sizes(
    burst=3_000,
    beside=200,
    drain=4_000,
    flood=4_000,
    memory=4_000,
    commit=1_000,
    project=20_000,
    visible=20,
    requests=500,
    plugins=1_000,
)


@attrs.frozen
class Round:
    """
    What a round needs.

    `peers` are the installed ones; `slow` is a collector 50 ms away.
    """

    raw: Raw
    sizes: Sizes
    peers: tuple[str, ...]
    sink: Sink
    slow: Sink
    directory: Path
    file: Path
    number: int

    @property
    def first(self) -> bool:
        return self.number == 0

    def only(self, *subjects: str) -> list[str]:
        """Return those of *subjects* that are ours, or installed."""
        return [
            one for one in subjects if one in self.peers or one.startswith(("journey", "floor"))
        ]


def burst(this: Round) -> None:
    for subject in ("floor", "journeykit", "journeykit-json", *this.peers):
        found = measure.scenario("caller", "burst", subject, this.sink.url, this.sizes.burst)
        this.raw.note_all(f"burst {subject}", found)
    for peer in ("otel", "segment", "posthog"):
        this.raw.ratio(f"caller CPU ÷ {peer}", "burst journeykit: cpu", f"burst {peer}: cpu")
    this.raw.ratio("caller CPU ÷ floor", "burst journeykit: cpu", "burst floor: cpu")
    this.raw.ratio("caller CPU, json ÷ otel", "burst journeykit-json: cpu", "burst otel: cpu")
    this.raw.ratio("burst p99 ÷ otel", "burst journeykit: p99", "burst otel: p99")


def beside(this: Round) -> None:
    for subject in this.only("floor", "journeykit", "otel", "segment"):
        found = measure.scenario("caller", "beside", subject, this.sink.url, this.sizes.beside)
        this.raw.note_all(f"beside {subject}", found)
    for peer in ("otel", "segment"):
        this.raw.ratio(f"beside p99 ÷ {peer}", "beside journeykit: p99", f"beside {peer}: p99")


def drain(this: Round) -> None:
    for subject in ("journeykit", "journeykit-json", "journeykit-journey", *this.peers):
        found = measure.scenario("drain", "drain", subject, this.sink.port, this.sizes.drain)
        this.raw.note_all(f"drain {subject}", found)
    if not this.peers:
        return
    fastest = max(this.peers, key=lambda peer: this.raw.values(f"drain {peer}: rate")[-1])
    for figure in ("rate", "cpu"):
        ours, theirs = f"drain journeykit: {figure}", f"drain {fastest}: {figure}"
        this.raw.ratio(f"drain {figure} ÷ fastest peer", ours, theirs)


def commit(this: Round) -> None:
    for subject in ("raw", "journeykit", "journeykit-shared"):
        found = measure.scenario("commit", subject, this.sizes.commit)
        this.raw.note_all(f"commit {subject}", found)
    this.raw.ratio("commit ÷ raw", "commit journeykit: rate", "commit raw: rate")


def project(this: Round) -> None:
    for subject in ("journeys", "rules"):
        found = measure.scenario("project", this.sizes.project, subject)
        this.raw.note_all(f"project {subject}", found)
        decoding = f"project {subject}: unit"
        this.raw.ratio(f"project {subject} ÷ decoding", f"project {subject}: cpu", decoding)


def visible(this: Round) -> None:
    this.raw.note_all("visible", measure.scenario("visible", this.sizes.visible))


def flood(this: Round) -> None:
    # The peers' losses are counts, no times: once is enough.
    # Not snowplow's, whose requests of ten events would take minutes.
    peers = this.only("otel", "segment", "posthog", "amplitude") if this.first else []
    for subject in ("journeykit", *peers):
        found = measure.scenario("drain", "flood", subject, this.slow.port, this.sizes.flood)
        this.raw.note_all(f"flood {subject}", found)
        this.raw.note(f"flood {subject}: refused or lost", found["refused"] + found["lost"])


def request(this: Round) -> None:
    for subject in ("plain", "journeykit"):
        found = measure.scenario("request", subject, this.sink.url, this.sizes.requests)
        this.raw.note_all(f"request {subject}", found)
    this.raw.ratio("request p99 ÷ plain", "request journeykit: p99", "request plain: p99")


def starting(this: Round) -> None:
    for subject in ("journeykit", "base"):
        this.raw.note(f"import {subject}: CPU ms", start.importing(subject))
    this.raw.ratio("import ÷ base", "import journeykit: CPU ms", "import base: CPU ms")
    for subject in this.only("journeykit", "segment"):
        this.raw.note(f"first call {subject}: ms", start.first_call(subject))
    this.raw.ratio("first call ÷ segment", "first call journeykit: ms", "first call segment: ms")


def memory(this: Round) -> None:
    for subject in this.only("journeykit", "journeykit-journey", *this.peers):
        found = measure.scenario("memory", subject, this.sink.url, this.sizes.memory)
        this.raw.note_all(f"memory {subject}", found)
    for figure in ("started", "used"):
        ours, theirs = f"memory journeykit: {figure}", f"memory amplitude: {figure}"
        this.raw.ratio(f"memory {figure} ÷ amplitude", ours, theirs)


def plugins(this: Round) -> None:
    for subject in delivering.BUILD:
        found = measure.scenario("plugins", subject, this.sink.port, this.sizes.plugins)
        this.raw.note_all(f"plugin {subject}", found)


def importing(this: Round) -> None:
    imports.note(this.raw, this.file, this.directory / f"round{this.number}")


SCENARIOS: dict[str, Callable[[Round], None]] = {
    "burst": burst,
    "beside": beside,
    "drain": drain,
    "commit": commit,
    "project": project,
    "visible": visible,
    "flood": flood,
    "request": request,
    "start": starting,
    "memory": memory,
    "plugins": plugins,
    "import": importing,
}
