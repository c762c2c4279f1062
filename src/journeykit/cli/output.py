"""
What commands print: tables and colours on a terminal, plain text in a pipe, JSON on request.

Without rich everything is plain.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import click


class Progress(Protocol):
    """Shows how far something is."""

    def advance(self, count: int = 1) -> None:
        """Tell that *count* more are done."""

    def total(self, count: int) -> None:
        """Tell how many there are altogether."""


def print_json(value: object) -> None:
    """Print *value* as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print *rows* below *columns*; numbers stand to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [
        bool(cells) and all(_is_number(row[index]) for row in cells)
        for index in range(len(columns))
    ]
    if _is_terminal() and _print_rich(columns, cells, right, title):
        return
    if title:
        click.echo(title)
    widths = [
        max(len(column), *(len(row[index]) for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    for row in [list(columns), *cells]:
        line = "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        click.echo(line.rstrip())


@contextmanager
def progress(label: str, *, shown: bool) -> Iterator[Progress]:
    """Show a bar on a terminal while the block lasts."""
    if not shown or not sys.stderr.isatty():
        yield _Silent()
        return
    try:
        from rich import progress as bars
        from rich.console import Console
    except ImportError:
        yield _Silent()
        return
    columns = (
        bars.TextColumn("{task.description}", style="bold", markup=False),
        bars.BarColumn(),
        bars.TextColumn("{task.completed:,.0f}"),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task(label, total=None))


class _Silent:
    def advance(self, count: int = 1) -> None:
        pass

    def total(self, count: int) -> None:
        pass


class _Bar:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task

    def advance(self, count: int = 1) -> None:
        self._bar.advance(self._task, count)

    def total(self, count: int) -> None:
        self._bar.update(self._task, total=count)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _print_rich(
    columns: Sequence[str], cells: list[list[str]], right: list[bool], title: str | None
) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    # Text, not str: a name of the shop's may hold what rich takes for markup.
    heading = Text(title, style="bold") if title else None
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD)
    for column, is_right in zip(columns, right, strict=True):
        table.add_column(column, justify="right" if is_right else "left")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
    return True


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(cell: str) -> bool:
    return cell.rstrip("%").replace(",", "").replace(".", "").isdigit()
