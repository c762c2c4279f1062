"""How far the demo is: a bar on a terminal that can, a plain line elsewhere."""

import sys
from collections.abc import Iterable, Iterator

from .walk import Walk


def show_progress(walks: Iterable[Walk], total: int) -> Iterator[Walk]:
    """Yield each walk, and show how many there were."""
    return (_bar if sys.stdout.isatty() and _has_rich() else _lines)(walks, total)


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def _bar(walks: Iterable[Walk], total: int) -> Iterator[Walk]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("Shoppers"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[latest]}"), transient=True) as progress:
        task = progress.add_task("", total=total, latest="")
        for walk in walks:
            progress.update(task, advance=1, latest=walk.persona)
            yield walk


def _lines(walks: Iterable[Walk], total: int) -> Iterator[Walk]:
    step = max(1, total // 4)
    for number, walk in enumerate(walks, 1):
        if number % step == 0:
            print(f"{number} of {total} shoppers have been through", flush=True)
        yield walk
