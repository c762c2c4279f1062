from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from journeykit.delivery import Batch
from journeykit.delivery.console import CONSOLE, ConsoleSettings, ConsoleSink
from journeykit.model import Kind, Stored

MakeStored = Callable[..., Stored]


def test_line_for_people(make_stored: MakeStored) -> None:
    """Each event is a line with its time, kind, name, stage, journey and customer."""
    stream = io.StringIO()
    sink = ConsoleSink("dev", ConsoleSettings(), stream)
    sink.deliver(
        Batch(
            [
                make_stored(1, "Product Viewed", at=61),
                make_stored(2, "Page Viewed", user_id=None, anonymous_id="cookie"),
                make_stored(3, "stage.entered", kind=Kind.DERIVED, stage="buy", journey="shop"),
            ]
        )
    )
    sink.close()

    assert stream.getvalue().splitlines() == [
        "12:01:01 touchpoint Product Viewed  u1",
        "12:00:00 touchpoint Page Viewed  cookie",
        "12:00:00 derived    stage.entered → buy [shop]  u1",
    ]


def test_wire_form(make_stored: MakeStored, capsys: pytest.CaptureFixture[str]) -> None:
    """With `json` each event is a line of its wire form, on the standard error of that moment."""
    sink = CONSOLE.build("dev", ConsoleSettings(json=True))
    stored = make_stored(1, "Product Viewed", {"ü": 1})
    sink.deliver(Batch([stored]))

    out, err = capsys.readouterr()
    assert out == ""
    assert [json.loads(line) for line in err.splitlines()] == [json.loads(stored.wire())]
