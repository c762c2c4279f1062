from __future__ import annotations

from pathlib import Path

import pytest

from journeykit.exceptions import ConfigError
from journeykit.store import open_store
from journeykit.store.memory import MemoryStore
from journeykit.store.sqlite import SQLiteStore


def test_url_names_the_store(tmp_path: Path) -> None:
    """A relative path starts from the base, an absolute one does not; nothing is opened."""
    relative = open_store("sqlite:///var/shop.db", str(tmp_path))
    absolute = open_store(f"sqlite:///{tmp_path}/other.db", "/nowhere")

    assert isinstance(relative, SQLiteStore)
    assert relative.name == str(tmp_path / "var/shop.db")
    assert absolute.name == str(tmp_path / "other.db")
    assert isinstance(open_store("memory://"), MemoryStore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["", "sqlite:///", "sqlite://x.db", "shop.db", "mysql://h/d"])
def test_unknown_store_is_a_mistake(url: str) -> None:
    """Anything else is named, with what is expected."""
    with pytest.raises(ConfigError) as caught:
        open_store(url)

    (problem,) = caught.value.problems
    assert problem.startswith(f"journeykit.store: is {url!r}; expected ")
