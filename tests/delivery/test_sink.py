from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from journeykit.delivery import Batch, Rejection, builtin
from journeykit.model import Event, Stored

MakeStored = Callable[..., Stored]


def test_batch_is_a_sequence_of_events(make_stored: MakeStored) -> None:
    """A batch has a length, an order, indexes and slices; its items are events."""
    batch = Batch([make_stored(number, id=event) for number, event in enumerate("abc")])

    assert len(batch) == 3
    assert [event.id for event in batch] == list(batch.ids) == ["a", "b", "c"]
    assert isinstance(batch[0], Event)
    assert [event.id for event in batch[1:]] == ["b", "c"]
    assert [json.loads(line)["id"] for line in batch.lines] == ["a", "b", "c"]


def test_lines_are_made_without_decoding(make_stored: MakeStored) -> None:
    """A sink that joins lines never pays for decoding, so that even a broken body passes."""
    stored = make_stored()
    broken = stored._replace(entry=stored.entry._replace(body=b"{no json}"))

    assert Batch([broken]).lines[0].startswith(b'{no json,"recorded_at":')
    with pytest.raises(ValueError, match=r"JSON|Expecting|expected"):
        list(Batch([broken]))


def test_rejection_is_for_good_unless_it_says_so() -> None:
    """What a sink rejects is parked, if it does not say that it may be taken later."""
    assert not Rejection("a", "no").retryable


def test_core_registers_its_sinks_as_any_plugin() -> None:
    """The console and the file sink are registered by a hook."""
    assert [kind.name for kind in builtin.register_sinks()] == ["console", "file"]
