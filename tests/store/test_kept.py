from __future__ import annotations

from journeykit.store.kept import Kept
from journeykit.store.protocol import Store


def test_what_is_kept_is_each_owners(store: Store) -> None:
    """Pieces are kept, replaced and removed under their keys, and no owner sees another's."""
    mine, other = Kept(store, "sink:crm"), Kept(store, "sink:crm2")
    mine.put("a", b"1")
    mine.put("a", b"2")
    mine.put("\U0001f45f %_*", b"3")
    other.put("a", b"4")
    mine.put("b", b"5")
    mine.remove("b")
    mine.remove("never there")

    assert mine.all() == {"a": b"2", "\U0001f45f %_*": b"3"}
    assert other.all() == {"a": b"4"}


def test_what_is_kept_outlives_a_rebuild(store: Store) -> None:
    """Nothing of it follows from the Log, so that forgetting State leaves it alone."""
    Kept(store, "sink:crm").put("a", b"1")
    store.tell_status("sink:crm", b"{}")
    store.forget_state({})

    assert Kept(store, "sink:crm").all() == {"a": b"1"}
    assert store.told_status("sink:crm") == b"{}"
