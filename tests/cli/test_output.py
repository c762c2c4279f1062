from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeykit.cli import output

Terminal = Callable[[Sequence[str]], tuple[int, str]]

#: Shows a table and a bar with a name that rich would take for markup.
_SCRIPT = """
from journeykit.cli.output import print_table, progress
with progress("[/b]rows.csv", shown={shown}) as bar:
    bar.total(3)
    bar.advance()
    bar.advance(2)
print_table(("name", "count"), [("[/b]x", 1234), (None, 5)], title="[/b]Title")
"""


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers stand to the right with separators, nothing is a dash, a flag is yes or no."""
    output.print_table(
        ("name", "count", "share", "on"), [("a", 1234, "5%", True), (None, 5, "50%", False)]
    )

    assert capsys.readouterr().out == (
        "name  count  share  on\na     1,234     5%  yes\n–         5    50%  no\n"
    )


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of nothing shows its columns."""
    output.print_table(("name", "count"), [], title="Nothing")

    assert capsys.readouterr().out == "Nothing\nname  count\n"


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8")) | st.integers(), min_size=2, max_size=2)
    )
)
def test_whatever_is_in_the_cells_is_printed(rows: list[list[object]]) -> None:
    """No cell breaks a table, and each stands in it."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output.click, "echo", lines.append)
        output.print_table(("a", "b"), rows)

    assert len(lines) == len(rows) + 1
    for line, (first, _) in zip(lines[1:], rows, strict=True):
        assert (f"{first:,}" if isinstance(first, int) else str(first).rstrip()) in line


def test_on_a_terminal_tables_and_bars_are_drawn(terminal: Terminal) -> None:
    """On a terminal rich draws the table and the bar, and takes no name for its markup."""
    code, seen = terminal([sys.executable, "-c", _SCRIPT.format(shown=True)])

    assert code == 0
    assert "[/b]rows.csv" in seen
    assert "[/b]Title" in seen
    assert "[/b]x" in seen
    assert "───" in seen


def test_a_bar_that_is_not_wanted_is_not_drawn(terminal: Terminal) -> None:
    """With --json there is no bar, terminal or not."""
    code, seen = terminal([sys.executable, "-c", _SCRIPT.format(shown=False)])

    assert code == 0
    assert "rows.csv" not in seen


def test_without_rich_a_terminal_gets_plain_text(terminal: Terminal) -> None:
    """Where rich is not installed everything works, in plain text."""
    blocked = "import sys; sys.modules['rich'] = None\n" + _SCRIPT.format(shown=True)

    code, seen = terminal([sys.executable, "-c", blocked])

    assert code == 0
    assert seen.replace("\r", "") == "[/b]Title\nname   count\n[/b]x  1,234\n–          5\n"


def test_an_import_shows_its_progress_on_a_terminal(
    shop: Path, terminal: Terminal, mapping: tuple[str, ...]
) -> None:
    """While rows are read on a terminal a bar counts them; afterwards only the summary stays."""
    command = [sys.executable, "-m", "journeykit", "import", "rows.csv", *mapping]

    code, seen = terminal(command)

    assert code == 0
    assert "rows.csv" in seen.split("3 rows:")[0]
    assert "3 events added" in seen
    assert "rows.csv" not in seen.split("3 rows:")[1]


def test_json_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON is indented, keeps letters as they are, and writes what JSON has not as text."""
    output.print_json({"name": "Käse", "path": Path("a")})

    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": "Käse", "path": "a"}
    assert '  "name": "Käse"' in printed


def test_letters_that_the_terminal_does_not_have_are_no_failure(shop: Path) -> None:
    """Where standard output knows ASCII only, a report is printed all the same."""
    done = subprocess.run(
        [sys.executable, "-m", "journeykit", "check"],
        cwd=shop,
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
